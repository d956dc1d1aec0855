"""A peer in a process of its own, asked over a pipe."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import psutil

from tests.benchmarks.peers.contract import Facts, Logits, LongTiming, Timing

REPOSITORY = Path(__file__).parents[3]
PATIENCE_S = 600
"""Longest wait for an answer: the largest model's loading takes a fraction of it."""


class PeerError(Exception):
    """A peer refused, crashed, or did not answer."""


class PeerProcess:
    """Starts the peer; it is ready, its model loaded, when this returns."""

    def __init__(self, name: str, gguf: Path, threads: int) -> None:
        """
        Args:
            name: one of ``PEERS``.
            gguf: the model's file.
            threads: for its model work.

        Raises:
            PeerError: it cannot load the model.
        """
        self.name = name
        self._pipe, theirs = multiprocessing.Pipe()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", name, str(gguf), str(threads), str(theirs.fileno())],
            cwd=REPOSITORY,
            pass_fds=(theirs.fileno(),),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        theirs.close()
        try:
            self._receive()
        except PeerError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def facts(self) -> Facts:
        """See :meth:`Peer.facts`. Raises PeerError, as the next two do."""
        return self._call("facts")  # type: ignore[no-any-return]  # the contract's types cross the pipe

    def answers(self, prompts_ids: Sequence[Sequence[int]], max_tokens: int) -> list[Timing]:
        """See :meth:`BatchingPeer.answers`; the peer must be one. Raises PeerError too."""
        return self._call("answers", prompts_ids, max_tokens)  # type: ignore[no-any-return]

    def behind(self, tokens: int, new_tokens: int, kv: str) -> LongTiming:
        """See :meth:`LongContextPeer.behind`; the peer must be one. Raises PeerError too."""
        return self._call("behind", tokens, new_tokens, kv)  # type: ignore[no-any-return]

    def answer(self, prompt_ids: Sequence[int], max_tokens: int) -> Timing:
        """See :meth:`Peer.answer`."""
        return self._call("answer", prompt_ids, max_tokens)  # type: ignore[no-any-return]

    def logits(self, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> Logits:
        """See :meth:`Peer.logits`."""
        return self._call("logits", prompt_ids, answer_ids)  # type: ignore[no-any-return]

    def written(self, prompt_ids: Sequence[int], max_tokens: int) -> list[int]:
        """See :meth:`WritingPeer.written`; the peer must be one. Raises PeerError too."""
        return self._call("written", prompt_ids, max_tokens)  # type: ignore[no-any-return]

    def tokens(self, texts: Sequence[str], controls: bool) -> list[list[int]]:
        """See :meth:`TokenizingPeer.tokens`; the peer must be one. Raises PeerError too."""
        return self._call("tokens", texts, controls)  # type: ignore[no-any-return]

    def cpu_s(self) -> float:
        """Processor seconds used so far; of a process that has ended, 0."""
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _call(self, method: str, *arguments: object) -> Any:
        try:
            self._pipe.send((method, arguments))
        except OSError as error:
            raise PeerError(self._obituary()) from error
        return self._receive()

    def _receive(self) -> Any:
        if not self._pipe.poll(PATIENCE_S):
            self._process.kill()
            raise PeerError(f"{self.name} did not answer within {PATIENCE_S} s")
        try:
            done, result = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise PeerError(self._obituary()) from error
        if not done:
            raise PeerError(" ".join(str(result).split()))
        return result

    def _obituary(self) -> str:
        """How the process ended, with the last line it wrote."""
        code = self._process.wait(timeout=10)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{self.name} {how}{': ' if last else ''}{last}"
