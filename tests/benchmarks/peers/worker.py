"""``python -m tests.benchmarks.peers.worker PEER GGUF THREADS PIPE``: one peer, answering over a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from tests.benchmarks.peers.contract import Peer, TokenizingPeer


def main() -> None:
    """Load the peer, then answer calls ``(method, arguments)`` until the pipe is closed.

    Every answer is ``(whether it went well, the result or what went wrong)``; the first is for loading.
    """
    name, gguf, threads, pipe = sys.argv[1:]
    with Connection(int(pipe)) as calls:
        done, peer = _try(lambda: _load(name, Path(gguf), int(threads)))
        calls.send((done, None if done else peer))
        while done:
            try:
                method, arguments = calls.recv()
            except EOFError:
                return
            calls.send(_try(lambda: getattr(peer, method)(*arguments)))  # noqa: B023 (called at once)


def _load(name: str, gguf: Path, threads: int) -> Peer | TokenizingPeer:
    match name:
        case "llama.cpp":
            from tests.benchmarks.peers.llama_cpp import LlamaCpp

            return LlamaCpp(gguf, threads)
        case "llama.cpp-vocabulary":
            from tests.benchmarks.peers.llama_cpp_vocabulary import LlamaCppVocabulary

            return LlamaCppVocabulary(gguf, threads)
        case "openvino-genai":
            from tests.benchmarks.peers.openvino_genai import OpenVinoGenAi

            return OpenVinoGenAi(gguf, threads)
        case _:
            raise LookupError(f"there is no peer {name}")


def _try(call: Callable[[], object]) -> tuple[bool, object]:
    """What both libraries raise where they refuse something; anything else ends the process."""
    try:
        return True, call()
    except (RuntimeError, ValueError, OSError) as error:
        return False, f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
