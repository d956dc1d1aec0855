"""What judges said of an experiment, as its page has it, and what is kept of how that is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import streamlit as st

from app.experiments.judging import hearing
from app.experiments.judging.audit import Audit, Limits
from app.experiments.judging.hearing import Heard, Hearing, Judging
from app.experiments.judging.opinions import Opinions, judge_words
from app.experiments.results.arrays import Results
from app.session.identity import known_person
from app.store import Judgement, JudgementKind, RunStore
from app.views.shared.errors import errors_shown

_SHORT = {JudgementKind.SCORE: "grades", JudgementKind.PAIR: "compares"}
_LIMITS = {
    "silent": ("Without a verdict, % at most", 100.0, 1.0),
    "flips": ("Swayed by order, % at most", 100.0, 5.0),
    "length": ("Longer answer preferred, % more often at most", 100.0, 5.0),
    "kappa": ("Agreement, κ at least", 1.0, 0.05),
}
"""By the field of `Limits`: its label, the most it can be, a step. Shares are shown in percent, but for κ."""


def hear(store: RunStore, results: Results) -> Hearing:
    """The verdicts of the judge that counts beside an experiment's results."""
    id = results.kept.id
    stamp, person = store.experiments.judged_until(id), known_person()
    said = _said(store, id, stamp, person) if stamp[0] else ()
    thumbs = store.experiments.thumbs(id) if said else {}
    state = (id, len(results.cells), stamp, person, tuple(sorted(thumbs.items())))
    return hearing.hear(
        results, said, thumbs, read=lambda results, said, thumbs, heard: _audited(state, heard, results, said, thumbs)
    )


def choose_whose(store: RunStore, heard: Hearing) -> None:
    """Whose verdicts count, for everybody who opens the experiment."""
    now, names = heard.judges[0], _named(heard.judges)
    chosen = st.selectbox(
        "Whose verdicts count",
        list(names),
        key=f"experiments-judge-{heard.results.kept.id}-{now}",
        help="Of those who were asked. Under Decision and in the report they score the prompts without a checker, "
        "whoever opens the experiment.",
    )
    if names[chosen] != now:
        _keep(store, heard, replace(heard.judging, counts=names[chosen]))


def choose_limits(store: RunStore, heard: Hearing) -> None:
    """Beyond which a judge fails its audit, for everybody who opens the experiment."""
    now = heard.judging.limits
    with st.form(f"experiments-limits-{heard.results.kept.id}-{now}", border=False):
        given = {
            name: st.number_input(
                label,
                min_value=0.0,
                max_value=most,
                value=round(getattr(now, name) * _scale(name), 6),
                step=step,
                key=f"experiments-limit-{name}-{heard.results.kept.id}-{now}",
            )
            / _scale(name)
            for name, (label, most, step) in _LIMITS.items()
        }
        st.caption(
            "A judge beyond one of these fails its audit, and the decision and the report say so. They are kept with "
            "the experiment, for everybody."
        )
        pressed = st.form_submit_button("Keep", key="experiments-limits-keep", type="primary", icon=":material/check:")
    if pressed:
        _keep(store, heard, replace(heard.judging, limits=Limits(**given)))


def _scale(name: str) -> float:
    return 1.0 if name == "kappa" else 100.0


def _keep(store: RunStore, heard: Hearing, judging: Judging) -> None:
    with errors_shown():
        store.experiments.set_judging(heard.results.kept.id, judging.to_dict())
        st.rerun()


def _named(judges: Sequence[Heard]) -> dict[str, Heard]:
    """What judges are called where one is chosen, each otherwise."""
    names = [f"{judge_words(judge)} · {_SHORT[kind]}" for judge, kind in judges]
    return {
        name
        if names.count(name) == 1
        else f"{name} · prompts {judge.version}, weights {judge.weights_sha256[:8]}": each
        for name, each in zip(names, judges, strict=True)
        for judge in (each[0],)
    }


@st.cache_resource(show_spinner=False, max_entries=8)
def _said(_store: RunStore, id: str, stamp: tuple[int, datetime | None], person: str | None) -> tuple[Judgement, ...]:
    return _store.experiments.judgements(id)


@st.cache_resource(show_spinner=False, max_entries=8)
def _audited(
    state: tuple[object, ...],
    heard: Heard,
    _results: Results,
    _said: Sequence[Judgement],
    _thumbs: Mapping[str, int],
) -> tuple[Opinions, Audit]:
    return hearing.audited(_results, _said, _thumbs, heard)
