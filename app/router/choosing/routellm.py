"""What RouteLLM's calibration says, carried over: the strong-call share, for its thresholds count in its own scores.

https://github.com/lm-sys/RouteLLM: ``python -m routellm.calibrate_threshold --strong-model-pct 0.2`` prints "For 20.0%
strong model calls, calibrated threshold for mf: 0.188…", and requests then name the model ``router-mf-0.188``.
"""

from __future__ import annotations

import re

from app.router.choosing.study import Study
from engine.cascade import Curve
from engine.errors import InvalidRequestError

_SAYS = re.compile(r"for\s+([\d.]+)\s*%\s+strong\s+model\s+calls", re.IGNORECASE)
_OPTION = re.compile(r"strong-model-pct[\s=]+([\d.]+)", re.IGNORECASE)
_ALONE = re.compile(r"([\d.]+)\s*%")
_MODEL = re.compile(r"router-\w+-([\d.]+)|threshold", re.IGNORECASE)
_LONGEST = 10_000


def read_share(text: str) -> float:
    """The strong-call share, 0 to 1, that a calibration was for.

    Args:
        text: what the calibration printed, its command, or the share itself such as "20 %".

    Raises:
        InvalidRequestError: it names none, several, or a threshold alone, which says nothing of other scores.
    """
    text = text.strip()[:_LONGEST]
    found = {_number(each) / 100 for each in _SAYS.findall(text)} or {_number(each) for each in _OPTION.findall(text)}
    if not found and (alone := _ALONE.fullmatch(text)):
        found = {_number(alone[1]) / 100}
    if not found and _MODEL.search(text):
        raise InvalidRequestError(
            "A threshold of RouteLLM counts in the scores of its own router and says nothing of these. Give the share "
            "of strong model calls that it was calibrated for."
        )
    if len(found) != 1:
        raise InvalidRequestError(
            "Give one share: what calibrate_threshold printed (“For 20.0% strong model calls, …”), or “20 %”."
        )
    share = found.pop()
    if not 0 <= share <= 1:
        raise InvalidRequestError("A strong-call share lies between 0 and 100 %.")
    return share


def threshold_for(study: Study, share: float) -> float:
    """The threshold that sends as nearly this share of the study's prompts to the large model as its scores allow."""
    curve = Curve.of(study.data)
    return float(curve.thresholds[int(abs(curve.share - share).argmin())])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequestError(f"“{text[:20]}” is no number.") from None
