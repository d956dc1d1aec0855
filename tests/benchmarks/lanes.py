"""Who takes part in a benchmark: our own engine at each precision, the reference, and the peers."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Protocol

from engine import Engine, machine_environment
from engine.models import CATALOG
from engine.types import (
    CPU_PRECISIONS,
    Backend,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFinished,
    SamplingParams,
)
from tests.benchmarks.figures import Sample
from tests.benchmarks.peers.contract import Facts
from tests.benchmarks.peers.process import PeerError, PeerProcess

MODELS = tuple(CATALOG)
SMALL_MODELS = MODELS[:2]
LANES: dict[str, tuple[Backend, Precision]] = {
    "reference": (Backend.REFERENCE, Precision.BF16),
    **{str(precision): (Backend.LOCAL, precision) for precision in CPU_PRECISIONS},
}
LANE_NAMES = tuple(LANES)
NEW_TOKENS = 64


class LaneError(Exception):
    """A lane could not answer."""


class Lane(Protocol):
    """One who answers the two prompts of a round."""

    def measure(self) -> Sample:
        """Decode after the short prompt, and read the long one. Raises LaneError."""
        ...

    def facts(self) -> Facts:
        """What its figures hold for; known after the first round. Raises LaneError."""
        ...


class EngineLane:
    """Our own decoder at a precision, or the reference."""

    def __init__(
        self, engine: Engine, model: str, lane: tuple[Backend, Precision], prompts: tuple[str, str], lookup_bytes: int
    ) -> None:
        """
        Args:
            engine: all of its lanes share it.
            model: catalogue name.
            lane: backend and precision.
            prompts: a short and a long one.
            lookup_bytes: weights that a step does not read: the embedding table, unless it is the head.
        """
        self._engine = engine
        self._model = model
        self._lane = lane
        self._short, self._long = prompts
        self._lookup_bytes = lookup_bytes
        self._last: RunFinished | None = None

    def measure(self) -> Sample:
        short = self._last = ask(self._engine, self._model, self._lane, self._short, NEW_TOKENS)
        long = ask(self._engine, self._model, self._lane, self._long, 1)
        if short.metrics is None or long.metrics is None or short.metrics.ttft_s is None:
            raise LaneError("the run was cancelled")
        rate = short.metrics.tokens_per_second
        if rate is None:
            raise LaneError("the model ended its answer after one token")
        return Sample(
            decode_tps=rate,
            prefill_tps=long.metrics.prompt_tokens / long.metrics.prefill_s,
            ttft_s=short.metrics.ttft_s,
        )

    def facts(self) -> Facts:
        if self._last is None or self._last.metrics is None:
            raise LaneError("nothing has run yet")
        weights_bytes = self._last.metrics.weights_bytes
        environment = self._last.environment
        # what the run says of its kernels is whatever it says beyond the machine and the weights
        said = machine_environment().keys() | {"threads", "weights", "weights_sha256"}
        return Facts(
            weights_bytes=weights_bytes,
            bytes_per_token=weights_bytes - self._lookup_bytes,
            threads=environment["threads"],
            kernel="; ".join(
                str(value) if key == "kernel" else f"{key} {value}"
                for key, value in environment.items()
                if key not in said
            ),
        )


class PeerLane:
    """A peer, given the very token ids that our own tokenizer makes of the prompts."""

    def __init__(self, peer: PeerProcess, prompts_ids: tuple[Sequence[int], Sequence[int]]) -> None:
        """
        Args:
            peer: its process, the model loaded.
            prompts_ids: a short and a long one.
        """
        self._peer = peer
        self._short, self._long = prompts_ids
        self._left_at: tuple[float, float] | None = None
        self.idle_share = 0.0
        """Highest share of a core that its process used while others had their turn."""

    def measure(self) -> Sample:
        self._look_at_idling()
        try:
            short = self._peer.answer(self._short, NEW_TOKENS)
            long = self._peer.answer(self._long, 1)
        except PeerError as error:
            raise LaneError(str(error)) from error
        self._left_at = perf_counter(), self._peer.cpu_s()
        if short.tpot_s is None:
            raise LaneError("it wrote a single token")
        return Sample(
            decode_tps=1 / short.tpot_s,
            prefill_tps=len(self._long) / long.ttft_s,
            ttft_s=short.ttft_s,
        )

    def facts(self) -> Facts:
        try:
            return self._peer.facts()
        except PeerError as error:
            raise LaneError(str(error)) from error

    def _look_at_idling(self) -> None:
        if self._left_at is not None:
            since, cpu_s = self._left_at
            self.idle_share = max(self.idle_share, (self._peer.cpu_s() - cpu_s) / (perf_counter() - since))


def ask(engine: Engine, model: str, lane: tuple[Backend, Precision], prompt: str, max_tokens: int) -> RunFinished:
    """One greedy run to its end.

    Raises:
        LaneError: the run failed.
    """
    backend, precision = lane
    config = RunConfig(
        model=model,
        backend=backend,
        optimization=OptimizationConfig.at(precision),
        sampling=SamplingParams(max_tokens=max_tokens),
    )
    last = list(engine.generate(GenerationRequest(messages=(Message("user", prompt),), config=config)))[-1]
    if not isinstance(last, RunFinished):
        raise LaneError(getattr(last, "error", str(last)))
    return last
