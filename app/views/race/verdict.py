"""What came of a race: the verdict, its chart, and the times of every round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import streamlit as st

from app import units
from app.costs.runs import Costs, RunPrice, run_price
from app.literal import literal
from app.remote.prices import ListPrice
from app.runs.invariants import Measured, pair_fault
from app.runs.race import Race
from app.runs.verdict import Figure, Noise, Rounds, Verdict, judge
from app.session import playground
from app.views.race.cost import show_costs
from app.views.race.noise import machine_noise
from app.views.shared import charts
from app.views.shared.faults import show_faults

_TONES = {
    "better": (st.success, ":material/trending_up:"),
    "worse": (st.warning, ":material/trending_down:"),
    "even": (st.info, ":material/trending_flat:"),
    "none": (st.info, ":material/help:"),
}
_MIB = 2**20


def show_verdict(
    race: Race, *, price_per_hour: float, prices: Mapping[str, ListPrice], currency: str, prompts_per_day: int
) -> None:
    """Lane B against lane A in words, bars and money, and what to do where the comparison is not a fair one. Figures
    that cannot be are no verdict."""
    measured = [Measured.of_lane(lane) for lane in race.lanes.values()]
    fault = pair_fault(measured[0], measured[1]) if measured[0] and measured[1] else None
    first, other = (
        [lanes[letter].outcome(playground.lane_title(letter)) for lanes in race.rounds] for letter in race.lanes
    )
    noise = machine_noise(without=race.group_id)
    verdict = judge(first, other, noise)
    if fault:
        show_faults([fault])
    else:
        show_words(verdict)
    with st.container(horizontal=True, vertical_alignment="center"):
        if verdict.is_disturbed:
            st.button(
                "Run again",
                key="playground-again",
                icon=":material/replay:",
                on_click=playground.start_race,
                help="With the settings below.",
            )
        if verdict.is_of_two_backends:
            st.button(
                "Compare like with like",
                key="playground-like",
                icon=":material/balance:",
                on_click=playground.compare_like_with_like,
                help="Runs again, the reference lane replaced: Gearbox's own kernels in 16 bits with all gears off, "
                "the model and the sampling of the other lane.",
            )
        if len(race.run_ids) > 1:
            st.page_link(
                "pages/compare.py",
                label="Compare the two runs",
                icon=":material/compare_arrows:",
                query_params={"compare": ",".join(race.run_ids)},
            )
    if fault:
        return
    if not verdict.pairs:
        return
    costs = {
        name: [Costs.of(price, prompts_per_day) for price in found if price]
        for name, found in _prices(verdict, price_per_hour, prices).items()
        if all(found)
    }
    _show_bars(verdict, noise, costs, currency)
    if len(verdict.pairs) > 1:
        _show_rounds(verdict, noise)
    if costs:
        listed = not all(run.is_all_here for run in verdict.pairs[-1])
        show_costs(
            costs, per_hour=price_per_hour, currency=currency, prompts_per_day=prompts_per_day, has_list_prices=listed
        )


def _prices(verdict: Verdict, per_hour: float, prices: Mapping[str, ListPrice]) -> dict[str, list[RunPrice | None]]:
    """What the rounds of each lane cost, by its name."""
    found: dict[str, list[RunPrice | None]] = {}
    for pair in verdict.pairs:
        for run in pair:
            assert run.metrics is not None  # only measured runs are compared
            price = run_price(
                run.config, run.metrics, per_hour=per_hour, prices=prices, cascade=run.cascade, remote=run.remote
            )
            found.setdefault(run.name, []).append(price)
    return found


def show_words(verdict: Verdict) -> None:
    """The verdict's sentences in the colour of its tone; first of all, what makes its speeds unreliable."""
    if verdict.disturbance:
        st.warning(literal(verdict.disturbance), icon=":material/vibration:")
    alert, icon = _TONES[verdict.tone]
    if body := verdict_body(verdict):
        alert(body, title=literal(verdict.summary), icon=icon)
    else:
        alert(literal(verdict.summary), icon=icon)


def verdict_body(verdict: Verdict) -> str:
    """What stands below a verdict's summary, as a list in Markdown; empty where there is nothing to say."""
    return "\n".join(f"- {literal(sentence)}" for sentence in (verdict.doubt, *verdict.details) if sentence)


def _show_bars(verdict: Verdict, noise: Noise, costs: Mapping[str, Sequence[Costs]], currency: str) -> None:
    """TTFT, TPOT, memory and cost of both lanes, a small chart each; they wrap where there is no room."""
    bars: dict[tuple[str, str], list[charts.Bar]] = {}
    for lane, name in enumerate(run.name for run in verdict.pairs[-1]):
        for figure in (Figure.TTFT, Figure.TPOT):
            if times := verdict.rounds(figure, lane, noise):
                text = units.seconds(times.median, times.spread)
                bar = charts.Bar.over(name, [1000 * value for value in times.values], text)
                bars.setdefault((figure.name, "ms"), []).append(bar)
        if verdict.pairs[-1][lane].is_all_here:
            metrics = verdict.metrics(lane)
            size = float(metrics[-1].weights_bytes + metrics[-1].kv_bytes)
            bar = charts.Bar(name, size / _MIB, units.memory(size))
            bars.setdefault(("Weights and KV", "MiB"), []).append(bar)
        if name in costs:
            thousand = [each.thousand for each in costs[name]]
            bar = charts.Bar.over(name, thousand, units.money(median(thousand), currency))
            bars.setdefault(("Cost of 1,000 prompts", currency), []).append(bar)
    with st.grid(len(bars), min_column_width=220):
        for (title, unit), both in bars.items():
            charts.show(charts.horizontal_bars(both, title=title, unit=unit), key=f"playground-bars-{title}")


def _show_rounds(verdict: Verdict, noise: Noise) -> None:
    """Median and range of each time, a row a lane."""
    lanes = [run.name for run in verdict.pairs[-1]]
    times = {
        figure.name: [_written(verdict.rounds(figure, lane, noise)) for lane in range(len(lanes))] for figure in Figure
    }
    st.dataframe(
        {f"Median of {len(verdict.pairs)} rounds (range)": lanes, **times},
        hide_index=True,
        width="content",
        alt="Times of the lanes over the rounds",
    )


def _written(rounds: Rounds | None) -> str:
    if rounds is None:
        return units.MISSING
    low, middle, high = (units.seconds(value, rounds.spread) for value in (rounds.low, rounds.median, rounds.high))
    return middle if low == high else f"{middle} ({low} to {high})"
