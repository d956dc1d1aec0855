"""What a lane of the playground shows: its progress, its answer, its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import resources, units
from app.cascade.words import escalation
from app.costs.runs import RunPrice, run_price
from app.literal import literal
from app.quantization.degradation import Alarms
from app.remote.prices import ListPrice
from app.runs.invariants import Measured, run_faults
from app.runs.live_run import Phase
from app.runs.race import LaneRun
from app.runs.repetition import repetition_warning
from app.store import RunStatus
from app.views.reports import metrics
from app.views.reports.alarm import show_alarm
from app.views.reports.cascade_receipt import answered_by, show_cascade_notices, show_receipt
from app.views.reports.disturbance import show_disturbed
from app.views.reports.losslessness import show_losslessness, show_speculation_notice
from app.views.runs.naming import config_name, link_to_run, status_badge
from app.views.shared.errors import show_error
from app.views.shared.faults import show_faults
from engine.errors import GearboxError
from engine.types import CacheMode, OptimizationConfig, RunMetrics

_FIGURES = (
    metrics.TTFT,
    metrics.DECODE_RATE,
    metrics.TPOT,
    metrics.E2E,
    metrics.PROMPT_TOKENS,
    metrics.CACHED_TOKENS,
    metrics.COMPLETION_TOKENS,
    metrics.WEIGHTS,
    metrics.KV,
)
_WORTH_TELLING_S = 0.05
"""Finding a model that is in memory takes less, and is no loading."""
_ENDINGS = {
    "stop": "ended by itself",
    "length": "reached its max tokens or the end of the context",
}


class LaneView:
    """The place on the page where one lane's answer grows, and where its figures stand in the end.

    Its three slots are emptied by every script run, so that nothing of an earlier answer is left
    standing beside the next one.
    """

    def __init__(
        self,
        *,
        price_per_hour: float,
        prices: Mapping[str, ListPrice],
        currency: str,
        start_warm: Callable[[], None] | None,
    ) -> None:
        """
        Args:
            price_per_hour: of the machine.
            prices: list prices of servers' models.
            currency: of all prices.
            start_warm: lets the lane's next run reuse what earlier ones kept; ``None`` where it does.
        """
        self._start_warm = start_warm
        self._price_per_hour = price_per_hour
        self._prices = prices
        self._currency = currency
        self._state = st.empty()
        self._answer = st.empty()
        self._figures = st.empty()
        self._has_ended = False

    def draw(self, lane: LaneRun, *, settled: bool = False) -> None:
        """Show how far the lane is, or how it ended. Always puts something on the page.

        ``settled`` says that nothing is drawn after it: widgets can be drawn but once.
        """
        if lane.phase is Phase.OVER:
            self._draw_ended(lane, settled=settled)
            self._has_ended = True
        else:
            if self._has_ended:  # the next round begins
                self._answer.empty()
                self._figures.empty()
                self._has_ended = False
            draw_progress(self._state, lane)
            draw_written(self._answer, lane)

    def _draw_ended(self, lane: LaneRun, *, settled: bool) -> None:
        with self._state.container(horizontal=True, vertical_alignment="center", gap="small"):
            status_badge(lane.status)
            if lane.reports.cascade:
                answered_by(lane.reports.cascade)
            show_disturbed(lane.reports.disturbance)
            st.caption(literal(_how_it_ended(lane)), width="content")
        with self._answer.container():
            if lane.error:
                show_error(lane.error)
            if lane.waits:
                st.warning(
                    f"{literal(lane.waits)} The run is kept meanwhile, and written as soon as that is possible.",
                    title="This run waits to be written",
                    icon=":material/hourglass_empty:",
                )
            if lane.not_saved:
                st.warning(literal(lane.not_saved), title="This run could not be saved", icon=":material/save:")
            _show_alarm(lane)
            if warning := repetition_warning(lane.metrics, lane.request.config):
                st.warning(warning, icon=":material/repeat:")
            if lane.reports.speculation and lane.metrics:
                show_speculation_notice(lane.reports.speculation, lane.metrics, lane.request.config)
            if lane.reports.cascade:
                request = lane.request
                show_cascade_notices(
                    lane.reports.cascade, lane.reports.speculation, lane.metrics, None, request.config, request.messages
                )
            if lane.text:
                st.text(lane.text)
            elif lane.status is RunStatus.FINISHED:
                st.caption("The model answered with nothing.")
        with self._figures.container():
            if measured := Measured.of_lane(lane):
                show_faults(run_faults(measured))
                self._draw_figures(lane, measured.metrics)
                if lane.remote:
                    metrics.show_server_notes(lane.remote)
                if settled:
                    self._draw_reuse(lane, measured.metrics)
            if lane.run_id and not lane.not_saved:
                if settled and (lane.reports.speculation or lane.reports.cascade):
                    with suppress(GearboxError):
                        self._draw_evidence(lane, lane.run_id)
                link_to_run(lane.run_id)

    @staticmethod
    def _draw_evidence(lane: LaneRun, run_id: str) -> None:
        """What can be looked into: how the answer came about, and whether gears changed it."""
        store = resources.get_store()
        run = store.get(run_id)
        if lane.reports.speculation:
            show_losslessness(run)
        if lane.reports.cascade:
            with st.expander("What the cascade did", icon=":material/stairs:"):
                show_receipt(run, lane.reports.cascade, store)

    def _draw_figures(self, lane: LaneRun, measured: RunMetrics) -> None:
        remote = lane.remote
        with st.grid(3, min_column_width=128, gap="xsmall"):
            for figure in (*_FIGURES, *metrics.gear_metrics(measured)):
                st.metric(figure.label, figure.text(measured, remote), help=figure.hint(remote))
            if remote:
                metrics.show_network(remote)
            price = run_price(
                lane.request.config,
                measured,
                per_hour=self._price_per_hour,
                prices=self._prices,
                cascade=lane.reports.cascade,
                remote=remote,
            )
            if price is None:
                st.metric(
                    "Cost",
                    metrics.NOT_TOLD,
                    help="A server has no list price on the Models page, or did not count the prompt.",
                )
            else:
                label = "Cost, list price" if price.listed else "Cost"
                st.metric(label, units.money(price.amount, self._currency), help=self._how_priced(price))

    def _how_priced(self, price: RunPrice) -> str:
        here = (
            f"{self._currency}{self._price_per_hour:g} per hour × E2E, waiting left out. Change the price under "
            "'Machine price'."
        )
        if not price.listed:
            return f"Derived: {here}"
        listed = "List price: the server's tokens × its prices on the Models page."
        return f"{listed} Of tiers on this machine, {here}" if price.machine_s else listed

    def _draw_reuse(self, lane: LaneRun, measured: RunMetrics) -> None:
        """Beside a zero in reused tokens: why, and one click to change it. A lane without any gear is meant so."""
        request, gears = lane.request, lane.request.config.optimization
        if measured.cached_tokens or gears == OptimizationConfig() or lane.remote:
            return
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if gears.cache_mode is CacheMode.PREFIX and not request.cold:
                st.caption(
                    "0 reused: nothing that was kept begins like this prompt. This run is kept for the next.",
                    width="content",
                )
                return
            st.caption(
                f"0 reused: this run started cold.{'' if self._start_warm else ' The next one starts warm.'}",
                width="content",
                help="It computed its whole prompt, so that asking twice fakes no gain. Started warm, a run reuses the "
                "keys and values of the beginning that its prompt shares with an earlier one of yours; the first warm "
                "run keeps them, the next one reuses them.",
            )
            if self._start_warm:
                st.button(
                    "Start warm",
                    icon=":material/local_fire_department:",
                    key=f"start-warm-{lane.run_id}",
                    type="tertiary",
                    on_click=self._start_warm,
                    help="Turns on KV caching across runs, and Start warm, in this lane's settings. The next run "
                    "counts.",
                )


def draw_progress(place: DeltaGenerator, lane: LaneRun) -> None:
    """How far a lane is, in one place that is written over."""
    if lane.phase is Phase.LOADING and lane.loading:
        place.progress(min(max(lane.loading.fraction, 0.0), 1.0), text=f"{literal(lane.loading.stage)} (not timed)")
    else:
        place.caption("  \n".join([_progress(lane), *_went_up(lane)]))


def draw_written(place: DeltaGenerator, lane: LaneRun) -> None:
    """The answer so far; what was thrown away goes."""
    if lane.text:
        place.text(lane.text)
    elif lane.escalated:
        place.empty()


def _went_up(lane: LaneRun) -> list[str]:
    cascade = lane.request.config.optimization.cascade
    if lane.escalated is None or cascade is None:
        return []
    return [f":material/stairs: {literal(escalation(lane.escalated, cascade.router))}"]


def _show_alarm(lane: LaneRun) -> None:
    """What the lab says of the precision; a run database that cannot be read is told of elsewhere."""
    config = lane.request.config
    with suppress(GearboxError):
        show_alarm(Alarms.read(resources.get_store().lab).of_model(config.model, config.backend, config.precision))


def _how_it_ended(lane: LaneRun) -> str:
    config = lane.request.config
    parts = [config_name(config)]
    if not lane.run_id:
        parts.append("not started")
    elif lane.finish_reason in _ENDINGS:
        parts.append(_ENDINGS[lane.finish_reason])
    if lane.metrics and lane.metrics.load_s >= _WORTH_TELLING_S:
        parts.append(f"loaded in {units.seconds(lane.metrics.load_s)}, not timed")
    return " · ".join(parts)


def _progress(lane: LaneRun) -> str:
    match lane.phase:
        case Phase.WAITING:
            return ":material/hourglass_empty: Waits its turn"
        case Phase.QUEUED:
            ahead = units.counted(lane.queue_position, "request")
            return f":material/group: In the queue, {ahead} ahead · {lane.elapsed_s:.1f} s · {lane.queue_reason}"
        case Phase.WRITING:
            written = units.counted(len(lane.tokens), "token")
            left_s = lane.at_most_left_s
            left = f" · at most {left_s:.1f} s left" if left_s else ""
            return f":material/bolt: Writing · {written} · {lane.elapsed_s:.1f} s{left}"
        case Phase.OVER:
            return ":material/check: Done"
        case Phase.LOADING:
            return f":material/hourglass_top: Getting the engine ready (not timed) · {lane.elapsed_s:.1f} s"
        case Phase.READING:
            return f":material/menu_book: Reading the prompt · {lane.elapsed_s:.1f} s"
