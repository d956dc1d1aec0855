"""Stand-ins for what drafts: a scripted report, and an engine whose drafted runs end with it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from engine.errors import GearboxError
from engine.models.sources.progress import Progress, silent
from engine.types import (
    ControllerNote,
    Drafter,
    DrafterChoice,
    DraftRound,
    GenerationRequest,
    Losslessness,
    Precision,
    SpeculationConfig,
    SpeculationReport,
)
from tests.support.fakes import FakeEngine


def make_report(rounds: Sequence[DraftRound] | None = None, **changed: Any) -> SpeculationReport:
    """A plausible report of two rounds of n-gram drafts, all of the first accepted and none of the second."""
    found = (
        DraftRound(
            at=1, drafter="ngram", token_ids=(101, 102), accepted=2, match_length=3, texts=(" sky", " scatters")
        ),
        DraftRound(at=4, drafter="ngram", token_ids=(9, 8), accepted=0, match_length=2, texts=(" red", " dust")),
    )
    figures: dict[str, Any] = {
        "rounds": found if rounds is None else tuple(rounds),
        "notes": (
            ControllerNote(
                at=4, drafter="ngram", kind="match of 2 or more", state="paused", acceptance=0.12, speedup=0.85
            ),
        ),
        "drafting_s": 0.001,
        "verification_s": 0.02,
        "plain_s": 0.01,
        "choosing_s": 0.002,
        "plain_steps": 1,
        "step_s": {1: 0.01, 3: 0.012},
        "draft_step_s": {},
    }
    return SpeculationReport(**{**figures, **changed})


IDENTICAL = Losslessness(tokens=6, checked=6, near_ties=0, divergence=None)


class SpeculatingEngine(FakeEngine):
    """An engine whose runs with the speculation gear on are ``speedup`` times as fast, and end with a scripted report.

    Args:
        lossless: what every check of an answer shows.
        report: of the runs that draft.
        speedup: how much faster they are.
        gate, failure: as for `FakeEngine`.
    """

    WEIGHTS = "cd" * 32

    def __init__(
        self,
        *,
        lossless: Losslessness = IDENTICAL,
        report: SpeculationReport | None = None,
        speedup: float = 1.5,
        failure: GearboxError | None = None,
        gate: threading.Event | None = None,
    ) -> None:
        super().__init__(failure=failure, gate=gate)
        self.lossless = lossless
        self.report = report or make_report()
        self.speedup = speedup
        self.checked: list[tuple[int, ...]] = []

    def weights_sha256(self, model: str) -> str:
        """The same for every model."""
        return self.WEIGHTS

    def check_losslessness(
        self,
        request: GenerationRequest,
        token_ids: Sequence[int],
        progress: Progress = silent,
    ) -> Losslessness:
        """As scripted."""
        progress("Loading the fake model", 1.0)
        self.checked.append(tuple(token_ids))
        return self.lossless

    def drafters(self, model: str, precision: Precision) -> tuple[DrafterChoice, ...]:
        """N-grams, a 4-bit copy unless the model is in 4 bits itself, and a model that has another tokenizer."""
        copy = DrafterChoice(
            name=f"{model} int4",
            speculation=SpeculationConfig.with_self(),
            relative_cost=0.4,
            expected_acceptance=0.8,
            expected_speedup=1.3,
            expected_gamma=3,
        )
        if precision is Precision.INT4:
            copy = DrafterChoice(name=f"{model} int4", speculation=None, why_not="A copy would draft no faster.")
        return (
            DrafterChoice(name="ngram", speculation=SpeculationConfig(drafter=Drafter.NGRAM), relative_cost=0),
            copy,
            DrafterChoice(name="qwen2.5-coder-0.5b", speculation=None, why_not="qwen cannot draft: other tokenizer."),
        )
