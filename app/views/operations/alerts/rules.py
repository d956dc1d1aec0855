"""The rules: which there are, which are on, and the dialog that changes one or makes one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import streamlit as st

from app.literal import literal
from app.operations.alerts.looking import window_words
from app.operations.alerts.rules import CONDITIONS, FIGURES, LATENCIES, all_rules, as_shipped
from app.operations.alerts.runbooks import RUNBOOKS
from app.operations.objectives.words import scope_name
from app.store import AlertStore, Condition, Facets, Figure, Rule, Scope
from app.store.alerts.repository import NAME_CHARACTERS, RUNBOOK_CHARACTERS
from app.store.database.identity import new_id
from app.views.operations.alerts.scope import choose_scope
from app.views.shared.desk import show_read_only, show_switch
from app.views.shared.errors import errors_shown

_UNITS = {
    Figure.BURN: ("×", 1.0),
    Figure.TTFT: ("s", 1.0),
    Figure.TPOT: ("ms", 1e-3),
    Figure.E2E: ("s", 1.0),
    Figure.ACCEPTANCE: ("tokens a step", 1.0),
    Figure.STALE: ("runs", 1.0),
}
"""And how much one of them is; of others percent."""
_MINUTES = 60
_NEW = Rule(
    key="",
    name="",
    figure=Figure.ERRORS,
    condition=Condition.ABOVE,
    limit=0.05,
    window=timedelta(hours=1),
    reference=timedelta(days=1),
    least=30,
    runbook=RUNBOOKS[Figure.ERRORS],
)


def show_rules(alerts: AlertStore, facets: Facets, *, may_change: bool) -> None:
    """A list, with what changes them if the viewer may.

    Raises:
        StoreError: the run database cannot be read.
    """
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.subheader("Rules", anchor=False, width="content")
        if may_change and st.button("New rule", icon=":material/add:", type="primary", key="new-rule"):
            edit_rule(alerts, facets, None)
    if not may_change:
        show_read_only("rules")
    st.caption(
        "Looked at every 30 s by one server. Few runs raise no alarm: a limit must be passed, and a change be there, "
        "beyond what chance would do."
    )
    for rule in all_rules(alerts.rules()):
        with st.container(border=True), st.container(horizontal=True, vertical_alignment="center"):
            _switch(alerts, rule, may_change=may_change)
            name = f"**{literal(rule.name)}**{literal(scope_name(rule.scope))}"
            st.markdown(f"{name}  \n:small[:gray[{literal(window_words(rule))}]]", width="stretch")
            edit = f"edit-rule-{rule.key}"
            if may_change and st.button("Edit", icon=":material/edit:", type="tertiary", key=edit):
                edit_rule(alerts, facets, rule)


def _switch(alerts: AlertStore, rule: Rule, *, may_change: bool) -> None:
    def keep(on: bool) -> None:
        alerts.switch_rule(rule.key, on=on, shipped=as_shipped(rule.key))

    show_switch(f"rule-on-{rule.key}", on=rule.is_on, keep=keep if may_change else None)


@st.dialog("Alert rule", icon=":material/rule:", on_dismiss="rerun")
def edit_rule(alerts: AlertStore, facets: Facets, rule: Rule | None) -> None:
    """Ask for a rule, and keep it. ``None`` makes a new one."""
    known = rule or _NEW
    name = st.text_input("Name", known.name, max_chars=NAME_CHARACTERS, key="rule-name")
    figures = list(Figure)
    figure = Figure(
        st.selectbox(
            "Figure",
            figures,
            index=figures.index(known.figure),
            format_func=FIGURES.__getitem__,
            disabled=bool(rule and as_shipped(rule.key)),
            key="rule-figure",
        )
    )
    conditions = CONDITIONS[figure]
    condition = Condition(
        st.selectbox(
            "Fires where it",
            conditions,
            index=conditions.index(known.condition) if known.condition in conditions else 0,
            format_func=lambda each: (
                each if each in (Condition.RISES, Condition.FALLS, Condition.DRIFTS) else f"is {each}"
            ),
            key=f"rule-condition-{figure}",
        )
    )
    changed = replace(known, figure=figure, condition=condition, name=name)
    changed = _choose_numbers(changed, same=known.figure is figure)
    if figure not in (Figure.BURN, Figure.DISK):
        changed = replace(changed, scope=choose_scope(facets, known.scope, key="rule"))
    else:
        changed = replace(changed, scope=Scope())
    runbook = known.runbook if rule or figure is known.figure else RUNBOOKS[figure]
    changed = replace(
        changed,
        runbook=st.text_area(
            "Runbook",
            runbook,
            max_chars=RUNBOOK_CHARACTERS,
            height=140,
            help="What to do first. It stands in the alert, and in what channels are told.",
            key=f"rule-runbook-{figure}",
        ),
    )
    with st.container(horizontal=True):
        if st.button("Keep", type="primary", key="keep-rule"):
            with errors_shown():
                alerts.keep_rule(replace(changed, key=known.key or new_id()))
                st.rerun()
        if rule is not None:
            _offer_to_drop(alerts, rule)


def _choose_numbers(rule: Rule, *, same: bool) -> Rule:
    """Limit, windows and how many runs are needed.

    Args:
        rule: as it is so far.
        same: whether its numbers are those of its figure.
    """
    figure, first, second = rule.figure, *st.columns(2)
    unit, per_unit = ("%", 0.01) if rule.condition.is_change else _UNITS.get(figure, ("%", 0.01))
    what = "By more than" if rule.condition.is_change else "Limit"
    limit = rule.limit / per_unit if same else 10.0
    given = first.number_input(
        f"{what}, {unit}", 0.0, None, round(limit, 6), format="%g", key=f"rule-limit-{figure}-{rule.condition}"
    )
    changed = replace(rule, limit=given * per_unit)
    if figure is Figure.DISK:
        return changed
    least = second.number_input(
        "With at least so many runs", 1, None, rule.least, help="With fewer nothing is said.", key="rule-least"
    )
    if figure in LATENCIES:
        percentile = st.number_input(
            "At percentile", 0.0, 100.0, round(100 * rule.percentile, 6), format="%g", key="rule-percentile"
        )
        changed = replace(changed, percentile=round(percentile / 100, 8))
    window = _minutes(first, "Window, minutes", rule.window, "rule-window")
    changed = replace(changed, least=int(least), window=window)
    if figure is Figure.BURN:
        return replace(changed, reference=_minutes(second, "Short window, minutes", rule.reference, "rule-short"))
    if rule.condition.is_change:
        before = rule.reference or timedelta(days=1)
        return replace(changed, reference=_minutes(second, "Against the minutes before", before, "rule-reference"))
    return changed


def _minutes(place: st.delta_generator.DeltaGenerator, label: str, kept: timedelta, key: str) -> timedelta:
    given = place.number_input(label, 1, None, max(1, int(kept.total_seconds()) // _MINUTES), key=key)
    return timedelta(minutes=int(given))


def _offer_to_drop(alerts: AlertStore, rule: Rule) -> None:
    shipped = as_shipped(rule.key)
    if shipped is None:
        if st.button("Delete", icon=":material/delete:", key="drop-rule"):
            with errors_shown():
                alerts.drop_rule(rule.key)
                st.rerun()
    elif shipped != rule and st.button("As it was", icon=":material/undo:", key="drop-rule"):
        with errors_shown():
            alerts.drop_rule(rule.key)
            st.rerun()
