"""What a session remembers of the Router lab: the step, what is looked at, and each router's threshold. All of it but
what was shown before stands in the page's address too."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

import streamlit as st

from app.router.choosing.study import Study
from app.router.way import Step
from app.session.address import named_anew, put
from app.session.options import ChosenOption
from engine.cascade import NEVER, Curve, Promise

DATA_SET = ChosenOption("router-data-set")
WEAK, STRONG = ChosenOption("router-weak", "router-weak"), ChosenOption("router-strong", "router-strong")
CHOICE = ChosenOption("router-choice", "router-choice")
"""Of the router between two tiers."""
SECTION = ChosenOption("router-section", "router-section")
"""The way in which thresholds are looked at."""
THRESHOLD = "router-threshold "
"""Begins the keys of the sliders."""
PROFILE = ChosenOption("router-profile")
WATCHED = ChosenOption("router-watched")
"""The profile in use that is watched."""
COMPARED = ChosenOption("router-drift-data")
"""Whose scores are looked at for drift."""
HIGHEST = 1.0
"""The threshold slider's end: past every score but those that go up whatever the threshold."""
STEP_QUERY, DATA_QUERY, THRESHOLD_QUERY = "step", "data", "threshold"
"""Query parameters: of the step, of the data set, of the threshold of the router on view."""

_STEP = "router-step"
_SHORT = 12
_PROMISES = "router-promises"
_SEEN = "router-threshold-seen"
_FIRST_SHARE = 0.4


def step(first: Step) -> Step:
    """The step on view: the one that the address names, else the one shown last, else ``first``."""
    named = named_anew(STEP_QUERY)
    if named in list(Step):
        turned = Step(named)
    elif named is None and STEP_QUERY not in st.query_params and SECTION.parameter in st.query_params:
        turned = Step.CHOOSE  # an address that names a way to look at thresholds alone
    else:
        turned = Step(st.session_state.get(_STEP, first))
    st.session_state[_STEP] = turned
    put(STEP_QUERY, turned)
    return turned


def turn_to(step: Step) -> None:
    """Show a step from now on; called before the page is drawn, or before it is drawn again."""
    st.session_state[_STEP] = step


def prepare_data_set(ids: Collection[str]) -> str | None:
    """Before the data set is chosen: take the one that the address names, else the one chosen last.

    Returns:
        The one that is meant but not there; ``None`` where there is no such.
    """
    named = named_anew(DATA_QUERY)
    found = next((id for id in ids if named and short_id(id) == named), None)
    if found:
        DATA_SET.turn_to(found)
    gone = DATA_SET.prepare(ids)
    return named if named and not found else gone and short_id(gone)


def prepare_tiers(tiers: Sequence[str], small: str, large: str) -> None:
    """Before the tiers are chosen: where not both that were chosen last are among these, take ``small`` and ``large``
    instead: a pair is kept whole."""
    kept = [st.session_state.get(f"{tier.key}-next", st.session_state.get(tier.key)) for tier in (WEAK, STRONG)]
    named = [st.query_params.get(tier.parameter) for tier in (WEAK, STRONG)]
    if not (set(kept) <= set(tiers) or set(named) <= set(tiers)):
        WEAK.turn_to(small)
        STRONG.turn_to(large)


def short_id(id: str) -> str:
    """A data set's id as an address names it: a hash is cut."""
    return id if ":" in id else id[:_SHORT]


def threshold_key(study: Study) -> str:
    """The key of a router's slider: each router between two tiers has its own threshold."""
    return f"{THRESHOLD}{study.weak} {study.strong} {study.choice}"


def prepare_threshold(study: Study) -> None:
    """Give a router the threshold that the address names, else where it has none a first one, which sends two prompts
    of five up or as close to that as it can."""
    if named := named_anew(THRESHOLD_QUERY):
        put(THRESHOLD_QUERY, named)  # of the router on view, not of the next one
        with suppress(ValueError):
            if 0 <= (value := float(named)) <= HIGHEST:
                set_threshold(study, value)
    if threshold_key(study) in st.session_state:
        return
    curve = Curve.of(study.data)
    at = int(abs(curve.share - _FIRST_SHARE).argmin())
    set_threshold(study, float(curve.thresholds[at]))


def threshold(study: Study) -> float:
    """The threshold that a router is set to, 0 to 1."""
    prepare_threshold(study)
    return float(st.session_state[threshold_key(study)])


def set_threshold(study: Study, value: float, promise: Promise | None = None) -> None:
    """Set it, with what it was chosen to promise; :data:`~engine.types.NEVER` becomes the slider's end."""
    exact, value = value, min(value, HIGHEST)
    st.session_state[threshold_key(study)] = value
    st.session_state.setdefault(_PROMISES, {})[threshold_key(study)] = (value, promise, _answers_of(study), exact)


def use_threshold(study: Study, value: float, promise: Promise | None = None) -> None:
    """Set it, and go on to using it."""
    set_threshold(study, value, promise)
    turn_to(Step.USE)


def promise(study: Study) -> Promise | None:
    """What the threshold that a router is set to was chosen to promise; ``None`` for one set by hand, or chosen on
    other answers, other scores of theirs or other costs."""
    value, made, chosen_on, _ = _chosen(study)
    return made if value == threshold(study) and chosen_on == _answers_of(study) else None


def exact_threshold(study: Study) -> float:
    """The threshold that the slider stands for: at its end the one that was picked there, else
    :data:`~engine.types.NEVER`, unless scores are as high as that. Those of a hybrid are where prompts go up at once.
    """
    value = threshold(study)
    picked, made, _, exact = _chosen(study)
    if made is not None and picked == value:
        return exact
    return NEVER if value >= HIGHEST and not (study.data.router_score >= HIGHEST).any() else value


def chosen_before_a_change(study: Study) -> bool:
    """Whether the threshold was chosen to promise something, and answers, scores or costs have changed since."""
    value, made, chosen_on, _ = _chosen(study)
    return made is not None and value == threshold(study) and chosen_on != _answers_of(study)


def _chosen(study: Study) -> tuple[float | None, Promise | None, int, float]:
    """How the threshold was last set but by the slider: where the slider stood then, the promise, on which answers, and
    the threshold itself."""
    chosen: dict[str, tuple[float, Promise | None, int, float]] = st.session_state.get(_PROMISES, {})
    return chosen.get(threshold_key(study), (None, None, 0, NEVER))


def _answers_of(study: Study) -> int:
    """Tells what a promise is about from all else."""
    data = study.data
    told = (data.router_score, data.weak_score, data.strong_score, data.weak_cost, data.strong_cost)
    return hash((data.ids, *(each.tobytes() for each in told)))


def threshold_before(study: Study) -> float:
    """What the threshold was when the prompts that changed sides were last shown."""
    seen: dict[str, float] = st.session_state.setdefault(_SEEN, {})
    return seen.get(threshold_key(study), threshold(study))


def threshold_seen(study: Study) -> None:
    """Remember the threshold as shown, and put it into the address."""
    st.session_state.setdefault(_SEEN, {})[threshold_key(study)] = threshold(study)
    put_threshold_into_address(study)


def put_threshold_into_address(study: Study) -> None:
    """Let the page's address name the threshold of the router on view."""
    put(THRESHOLD_QUERY, f"{threshold(study):.3f}")
