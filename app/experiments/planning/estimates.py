"""How long an experiment will take, before it is begun."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.estimates import AnswerTime
from app.experiments.planning.design import Design
from app.experiments.planning.divergence import no_kld
from app.store import Pass
from engine.types import RunConfig

_SHARE = 0.6
"""Of the tokens allowed that an answer takes."""
_CHARACTERS_A_TOKEN = 4


def seconds_of(design: Design, times: Callable[[str], Mapping[str, AnswerTime]], sooner: float) -> float | None:
    """Seconds of all its answers, and of reading them again for their KLD, loading included once a model; ``None``
    where nothing was measured of a model that takes part. A cascade counts as its largest model, speculation for
    nothing.

    Args:
        design: the experiment.
        times: by precision, what answers of a model take here.
        sooner: how many times sooner answers come together than one after the other.
    """
    total, loaded = 0.0, set[tuple[str, str]]()
    for place, each in enumerate(design.configurations):
        known = _of(each.config, times)
        if known is None:
            return None
        once = sum(known.seconds(task.transcript, _SHARE * _most(design, task.max_tokens)) for task in design.prompts)
        if Pass.QUALITY in design.passes:
            total += once * design.answered(place) / sooner
        if Pass.SPEED in design.passes:
            total += once * design.repeats
        key = each.config.model, str(each.config.precision)
        total += 0.0 if key in loaded else known.load_s or 0.0
        loaded.add(key)
    return total + _comparing_s(design, times)


def _comparing_s(design: Design, times: Callable[[str], Mapping[str, AnswerTime]]) -> float:
    """Seconds in which the baseline's answers are read again: by the baseline, and by each that is held against it. Of
    all of them something was measured."""
    places = [place for place in range(len(design.configurations)) if no_kld(design, place) is None]
    known = [_of(design.configurations[place].config, times) for place in (design.baseline, *places) if places]
    tokens = sum(
        len(task.transcript) / _CHARACTERS_A_TOKEN + _SHARE * _most(design, task.max_tokens) for task in design.prompts
    )
    return design.answered(design.baseline) * tokens * sum(each.read_s for each in known if each)


def _of(config: RunConfig, times: Callable[[str], Mapping[str, AnswerTime]]) -> AnswerTime | None:
    return times(config.model).get(str(config.precision))


def _most(design: Design, max_tokens: int) -> int:
    return max_tokens if design.max_tokens is None else min(max_tokens, design.max_tokens)
