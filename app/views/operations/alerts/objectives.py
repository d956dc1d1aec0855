"""What is promised, how far it is kept, and the dialog that promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import streamlit as st

from app import units
from app.literal import literal
from app.operations.objectives.attainment import BURN_WINDOWS, Attainment, attainment, budget_over_time, goodput
from app.operations.objectives.words import METRICS, objective_name, share, stretch
from app.store import Facets, Metric, Objective, ObjectiveStore, RunStore, Scope
from app.store.objectives.repository import LONGEST_DAYS
from app.views.operations.alerts.scope import choose_scope
from app.views.shared import charts
from app.views.shared.clock import now, reader_zone
from app.views.shared.desk import show_read_only
from app.views.shared.errors import errors_shown

_HOUR = timedelta(hours=1)
_MS = 1e-3
_FIRST_TARGETS = {Metric.ERRORS: 1.0, Metric.QUALITY: 90.0}
_FIRST_LIMITS = {Metric.TTFT: 1.0, Metric.TPOT: 100.0, Metric.E2E: 30.0}


def show_objectives(store: RunStore, facets: Facets) -> None:
    """Goodput, each objective, and how the error budgets went.

    Raises:
        StoreError: the run database cannot be read.
    """
    at, objectives = now(), store.objectives.all()
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.subheader("Service level objectives", anchor=False, width="content")
        if store.may_administer and st.button("New SLO", icon=":material/add:", type="primary", key="new-slo"):
            edit_objective(store.objectives, facets, None)
    if not store.may_administer:
        show_read_only("SLOs")
    if not objectives:
        st.info(
            "Nothing is promised yet. An SLO says which share of requests meets a limit, such as 95 % with a TTFT of "
            "at most 1 s, over the last 28 days."
        )
        return
    _show_goodput(store.objectives, objectives, at)
    for objective in objectives:
        _show(store, facets, attainment(store.objectives, objective, at))
    _show_budgets(store.objectives, objectives, at)


def _show_goodput(store: ObjectiveStore, objectives: Sequence[Objective], at: datetime) -> None:
    good = goodput(store, objectives, _HOUR, at)
    st.metric(
        "Goodput, last hour",
        f"{good.per_second:.3g} requests/s",
        f"{units.percent(good.share, 1)} of {units.counted(good.requests, 'request')}",
        delta_color="off",
        delta_arrow="off",
        help="Requests that meet every SLO they come under. Failed and interrupted ones meet none.",
    )


def _show(store: RunStore, facets: Facets, found: Attainment) -> None:
    objective = found.objective
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            _badge(found)
            st.markdown(f"**{literal(objective_name(objective))}**", width="stretch")
            if store.may_administer:
                _offer_changes(store.objectives, facets, objective)
        bad, total = found.counted.bad, found.counted.total
        with st.grid(min_column_width=130, gap="medium"):
            _metric(
                f"Attainment, {stretch(objective.window)}",
                _precise(found.share),
                f"target {share(objective.target)}",
                f"{bad:,} of {units.counted(total, 'request')} missed it."
                + (" Requests with a thumb, or else a judge's verdict." if objective.metric is Metric.QUALITY else ""),
            )
            _metric(
                "Error budget left",
                units.percent(found.budget_left),
                _left(total * (1 - objective.target) - bad) if total else "no request yet",
                f"Of {total:,} requests {share(1 - objective.target)} may miss it.",
            )
            for length, rate in zip(BURN_WINDOWS, found.burn, strict=True):
                _metric(
                    f"Burn rate, {stretch(length)}",
                    units.MISSING if rate is None else f"{rate:.2g}×",
                    "1× is sustainable",
                    "The share that missed it over the share that may. At 1× the budget lasts as long as the window.",
                )


def _offer_changes(store: ObjectiveStore, facets: Facets, objective: Objective) -> None:
    if st.button("Edit", icon=":material/edit:", type="tertiary", key=f"edit-slo-{objective.id}"):
        edit_objective(store, facets, objective)
    if st.button("Remove", icon=":material/delete:", type="tertiary", key=f"remove-slo-{objective.id}"):
        confirm_removal(store, objective)


def _left(requests: float) -> str:
    return f"{requests:,.1f} requests left" if requests >= 0 else f"{-requests:,.1f} requests too many"


def _badge(found: Attainment) -> None:
    match found.verdict:
        case "kept":
            st.badge("Kept", icon=":material/check:", color="green")
        case "broken":
            st.badge("Broken", icon=":material/error:", color="red")
        case _:
            st.badge("No runs", icon=":material/hourglass_empty:", color="gray")


def _metric(label: str, value: str, detail: str, help: str) -> None:
    st.metric(label, value, detail, delta_color="off", delta_arrow="off", help=help)


def _precise(value: float | None) -> str:
    """With a digit more the closer to all it is: 99.95 % is not 100 %."""
    if value is None:
        return units.MISSING
    digits = 1 if value < 0.99 else 2 if value < 0.999 else 3
    return "100 %" if value == 1 else units.percent(value, digits)


def _show_budgets(store: ObjectiveStore, objectives: Sequence[Objective], at: datetime) -> None:
    zone = reader_zone()
    lines = []
    for objective in objectives:
        points = budget_over_time(store, objective, at)
        x = [moment.astimezone(zone).replace(tzinfo=None) for moment, _ in points]
        y = [None if left is None else 100 * left for _, left in points]
        if any(left is not None for left in y):
            lines.append(charts.Line(objective_name(objective), x, y))
    if lines:
        charts.show(charts.lines_over_time(lines, title="Error budget left", unit="%"), key="slo-budgets")


@st.dialog("SLO", icon=":material/flag:", on_dismiss="rerun")
def edit_objective(store: ObjectiveStore, facets: Facets, objective: Objective | None) -> None:
    """Ask for a target, and keep it. ``None`` makes a new one."""
    kinds = list(Metric)
    metric = st.selectbox(
        "Of what",
        kinds,
        index=kinds.index(objective.metric) if objective else 0,
        format_func=METRICS.__getitem__,
        key="slo-metric",
    )
    limit_s, target = _choose_target(Metric(metric), objective if objective and objective.metric == metric else None)
    days = st.number_input(
        "Over how many days", 1, LONGEST_DAYS, objective.window_days if objective else 28, key="slo-days"
    )
    scope = choose_scope(facets, objective.scope if objective else Scope(), key="slo")
    if not st.button("Keep", type="primary", key="keep-slo"):
        return
    with errors_shown():
        if objective is None:
            store.add(Metric(metric), target, limit_s=limit_s, window_days=int(days), scope=scope)
        else:
            changed = replace(
                objective, metric=Metric(metric), target=target, limit_s=limit_s, window_days=int(days), scope=scope
            )
            store.change(changed)
        st.rerun()


def _choose_target(metric: Metric, objective: Objective | None) -> tuple[float | None, float]:
    """Limit in seconds, and share of requests."""
    first, second = st.columns(2)
    if not metric.is_latency:
        label = "At most so many fail, %" if metric is Metric.ERRORS else "At least so many right, %"
        kept = None if objective is None else objective.target
        shown = _FIRST_TARGETS[metric] if kept is None else 100 * (1 - kept if metric is Metric.ERRORS else kept)
        given = first.number_input(label, 0.0, 100.0, round(shown, 6), format="%g", key=f"slo-target-{metric}")
        part = round(given / 100, 8)
        return None, 1 - part if metric is Metric.ERRORS else part
    unit, per_unit = ("ms", _MS) if metric is Metric.TPOT else ("s", 1.0)
    limit = _FIRST_LIMITS[metric] if objective is None else (objective.limit_s or 0.0) / per_unit
    asked = first.number_input(f"At most, {unit}", 0.0, None, round(limit, 6), format="%g", key=f"slo-limit-{metric}")
    percentile = second.number_input(
        "At percentile",
        0.0,
        100.0,
        round(100 * (objective.target if objective else 0.95), 6),
        format="%g",
        help="95: of 100 requests 95 are at most so long.",
        key=f"slo-target-{metric}",
    )
    return asked * per_unit, round(percentile / 100, 8)


@st.dialog("Remove this SLO?", icon=":material/delete:")
def confirm_removal(store: ObjectiveStore, objective: Objective) -> None:
    """Ask before an objective is forgotten."""
    st.write(f"“{literal(objective_name(objective))}” is no longer promised. Runs stay as they are.")
    if st.button("Remove SLO", type="primary", key="confirm-remove-slo"):
        with errors_shown():
            store.remove(objective.id)
            st.rerun()
