"""What of RouteLLM's calibration is carried over: the share, and never its threshold."""

from __future__ import annotations

import pytest

from app.router.choosing.routellm import read_share, threshold_for
from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from engine.errors import InvalidRequestError
from engine.types import NEVER
from tests.support.cascade import STRONG, WEAK, recorded


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("For 20.0% strong model calls, calibrated threshold for mf: 0.1881028115749359", 0.2),
        ("> python -m routellm.calibrate_threshold --task calibrate --routers mf --strong-model-pct 0.35", 0.35),
        (" 20 % ", 0.2),
        ("For 5.0% strong model calls, … mf: 0.3\nFor 5.0% strong model calls, … bert: 0.7", 0.05),
    ],
)
def test_the_share_is_read_from_what_the_calibration_says(text: str, share: float) -> None:
    assert read_share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("router-mf-0.1881", "scores of its own router"),
        ("calibrated threshold for mf: 0.2", "scores of its own router"),
        ("", "Give one share"),
        ("For 5.0% strong model calls\nFor 6.0% strong model calls", "Give one share"),
        ("120%", "between 0 and 100"),
        ("1.2.3%", "no number"),
    ],
)
def test_anything_else_says_what_is_needed(text: str, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        read_share(text)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9, 1.0])
def test_the_threshold_sends_as_nearly_that_share_up_as_scores_allow(share: float) -> None:
    study = Study.of(recorded(300), WEAK, STRONG, Choice.ESCALATE)
    sent = float(study.data.up(threshold_for(study, share)).mean())
    shares = [float(study.data.up(score).mean()) for score in (*study.data.router_score, NEVER)]
    assert abs(sent - share) == pytest.approx(min(abs(each - share) for each in shares))
