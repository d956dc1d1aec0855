"""What judges said of an experiment, as its page has it: whose verdicts count, and the limits of their audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import streamlit as st

from app.experiments.judging.audit import Audit, Limits
from app.experiments.judging.auditing import audit_of
from app.experiments.judging.judged import judged
from app.experiments.judging.opinions import Opinions, judge_words, judges_of
from app.experiments.results.arrays import Results
from app.session import experiments as session
from app.session.identity import known_person
from app.store import JudgeId, Judgement, JudgementKind, RunStore

_SHORT = {JudgementKind.SCORE: "grades", JudgementKind.PAIR: "compares"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What judges said of an experiment, and whose verdicts count."""

    results: Results
    """With these."""
    said: tuple[Judgement, ...]
    judges: Mapping[str, tuple[JudgeId, JudgementKind]]
    """All who have judged it, by what they are called here."""
    opinions: Opinions | None = None
    """Of the one that counts; ``None`` where there is none."""
    kind: JudgementKind = JudgementKind.SCORE
    """How it judges."""
    audit: Audit | None = None


def hear(store: RunStore, results: Results) -> Heard:
    """The verdicts of the judge that is chosen, or of the one that was asked most, beside an experiment's results."""
    id = results.kept.id
    count, latest = store.experiments.judged_until(id)
    if not count:
        return Heard(results=results, said=(), judges={})
    stamp, person = (count, latest), known_person()
    said = _said(store, id, stamp, person)
    judges = _named(judges_of(said))
    session.JUDGE.prepare(list(judges))
    judge, kind = judges[st.session_state[session.JUDGE.key]]
    thumbs = tuple(sorted(store.experiments.thumbs(id).items()))
    opinions, audit = _audited(results, said, (id, len(results.cells), stamp, person, thumbs), judge, kind)
    results = replace(results, judged=judged(results, opinions, kind, audit, limits()))
    return Heard(results=results, said=said, judges=judges, opinions=opinions, kind=kind, audit=audit)


def limits() -> Limits:
    """Beyond which a judge fails, as they are set now."""
    usual = Limits()
    given = {
        name: st.session_state.get(key, _shown(usual, name)) / (1 if name == "kappa" else 100)
        for name, key in session.LIMITS.items()
    }
    return Limits(**given)


def choose_limits() -> None:
    usual = Limits()
    labels = {
        "silent": ("Without a verdict, % at most", 100.0, 1.0),
        "flips": ("Swayed by order, % at most", 100.0, 5.0),
        "length": ("Longer answer preferred, % more often at most", 100.0, 5.0),
        "kappa": ("Agreement, κ at least", 1.0, 0.05),
    }
    for name, (label, most, step) in labels.items():
        st.session_state.setdefault(session.LIMITS[name], _shown(usual, name))
        st.number_input(
            label, min_value=0.0, max_value=most, step=step, key=session.LIMITS[name], persist_state="session"
        )
    st.caption("A judge beyond one of these fails its audit, and the decision says so.")


def _shown(limits: Limits, name: str) -> float:
    value = float(getattr(limits, name))
    return value if name == "kappa" else 100 * value


def _named(judges: Sequence[tuple[JudgeId, JudgementKind]]) -> dict[str, tuple[JudgeId, JudgementKind]]:
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
    _results: Results, _said: Sequence[Judgement], stamp: tuple[object, ...], judge: JudgeId, kind: JudgementKind
) -> tuple[Opinions, Audit]:
    thumbs: Mapping[str, int] = dict(stamp[-1])  # type: ignore[call-overload]
    opinions = Opinions.of(judge, _said)
    others = [Opinions.of(each, _said) for each in dict.fromkeys(each for each, _ in judges_of(_said)) if each != judge]
    return opinions, audit_of(_results, opinions, kind, thumbs, others)
