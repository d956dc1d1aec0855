"""From what the lanes measured to the rows of the decode benchmark. Nothing here measures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from engine.evaluation import DivergenceStats
from engine.models.sources.gguf_file import GgufTensor
from engine.types import Backend
from tests.benchmarks.peers.contract import Facts
from tests.benchmarks.table import Row
from tests.benchmarks.timing import spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one lane did in one round."""

    decode_tps: float
    prefill_tps: float
    ttft_s: float


@dataclass(slots=True, kw_only=True)
class LaneFigures:
    """All that is known of one lane."""

    engine: str
    """``local``, ``reference``, or a peer's name."""
    precision: str
    samples: list[Sample] = field(default_factory=list)
    """One a round."""
    facts: Facts | None = None
    divergence: DivergenceStats | None = None
    """From the 16-bit model; ``None`` where it could not be had."""
    error: str | None = None
    """What kept the lane from finishing; its other figures are then left out."""

    @property
    def finished(self) -> bool:
        """Whether it has figures of every round."""
        return self.error is None and bool(self.samples)

    def median(self, figure: Callable[[Sample], float]) -> float:
        """Over the rounds."""
        return statistics.median(map(figure, self.samples))


def decode_rows(model: str, lanes: Sequence[LaneFigures], bandwidth: float) -> list[Row]:
    """One row a lane, its ratios from medians over the rounds.

    Args:
        model: its name.
        lanes: in the order of the rows.
        bandwidth: memory reads in bytes/s, median over the same rounds.
    """
    best_decode, best_prefill = best_peer(lanes, _decode_tps), best_peer(lanes, _prefill_tps)
    reference = next((lane for lane in lanes if lane.engine == Backend.REFERENCE), None)
    return [
        {
            "model": model,
            "engine": lane.engine,
            "precision": lane.precision,
            "decode_tps": _median(lane, _decode_tps),
            "ratio_to_best_peer": _ratio(lane, best_decode, _decode_tps),
            "decode_ratio": _ratio(lane, reference, _decode_tps),
            "spread": spread([sample.decode_tps for sample in lane.samples]) if lane.finished else None,
            "prefill_tps": _median(lane, _prefill_tps),
            "prefill_ratio_to_best_peer": _ratio(lane, best_prefill, _prefill_tps),
            "prefill_ratio": _ratio(lane, reference, _prefill_tps),
            "ttft_s": _median(lane, lambda sample: sample.ttft_s),
            "kld_mean": lane.divergence.kld_mean if lane.divergence else None,
            "top1_agreement": lane.divergence.same_top if lane.divergence else None,
            **_memory(lane, bandwidth),
            "threads": lane.facts.threads if lane.facts else None,
            "kernel": lane.facts.kernel if lane.facts else None,
            "error": lane.error,
        }
        for lane in lanes
    ]


def best_peer(lanes: Iterable[LaneFigures], figure: Callable[[Sample], float]) -> LaneFigures | None:
    """The lane not of our own with the highest median; transformers counts among the peers."""
    others = [lane for lane in lanes if lane.engine != Backend.LOCAL and lane.finished]
    return max(others, key=lambda lane: lane.median(figure), default=None)


def gguf_bytes_per_token(tensors: Iterable[GgufTensor]) -> int:
    """Bytes of a GGUF file's tensors that one decode step reads.

    All but the embedding table, of which a step looks one row up; where the file has no head of its
    own (``output.weight``), the table is the head and is read whole.
    """
    sizes = {tensor.name: tensor.entry.bytes for tensor in tensors}
    looked_up = sizes.get("token_embd.weight", 0) if "output.weight" in sizes else 0
    return sum(sizes.values()) - looked_up


def _memory(lane: LaneFigures, bandwidth: float) -> Row:
    if lane.facts is None:
        return dict.fromkeys(("bytes_per_token", "limit_tps", "bandwidth_share", "weights_bytes"))
    limit_tps = bandwidth / lane.facts.bytes_per_token
    return {
        "bytes_per_token": lane.facts.bytes_per_token,
        "limit_tps": limit_tps,
        "bandwidth_share": lane.median(_decode_tps) / limit_tps if lane.finished else None,
        "weights_bytes": lane.facts.weights_bytes,
    }


def _decode_tps(sample: Sample) -> float:
    return sample.decode_tps


def _prefill_tps(sample: Sample) -> float:
    return sample.prefill_tps


def _median(lane: LaneFigures, figure: Callable[[Sample], float]) -> float | None:
    return lane.median(figure) if lane.finished else None


def _ratio(lane: LaneFigures, other: LaneFigures | None, figure: Callable[[Sample], float]) -> float | None:
    if not lane.finished or other is None or not other.finished:
        return None
    return lane.median(figure) / other.median(figure)
