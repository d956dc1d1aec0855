"""The top of the page, which answers whether all is well: a verdict with its reason, and the figures that bear it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import streamlit as st

from app import resources, units
from app.literal import literal
from app.operations.wellbeing import Concern, Grade, concerns, of_servers, worst
from app.store import AlertState, Missing, Overview, RunStore
from app.views.shared.clock import now, reader_zone

_ICONS = {Grade.WELL: ":material/check_circle:", Grade.WATCH: ":material/warning:", Grade.BAD: ":material/error:"}
_COLOURS = {Grade.WELL: "green", Grade.WATCH: "orange", Grade.BAD: "red"}
_MOST_REASONS = 3


def show_top(store: RunStore, seen: Overview, lately: Overview) -> None:
    """The verdict, and a row of figures where there are runs. What else decides whether all is well adds its concerns
    here.

    Args:
        store: as the viewer sees it.
        seen: of the span that is chosen.
        lately: of the last hour, whatever span is.

    Raises:
        StoreError: the database cannot be used.
    """
    found = [*_of_alerts(store), *_of_the_server(store), *_of_the_last_hour(seen, lately)]
    found += [*concerns(seen.totals, seen.latency, seen.work), *_of_the_clock(seen)]
    found.sort(key=lambda each: -each.grade)
    if found or seen.totals.runs:
        _show_verdict(found, seen)
    if seen.missing:
        _show_missing(seen.missing)
    if seen.totals.runs:
        _show_figures(seen)


def _of_alerts(store: RunStore) -> list[Concern]:
    at = now()
    grades = {AlertState.FIRING: Grade.BAD, AlertState.ACKNOWLEDGED: Grade.WATCH}
    states = [(alert, alert.state(at)) for alert in store.alerts.open()]
    return [Concern(grades[state], f"Alert: {alert.title}.") for alert, state in states if state in grades]


def _of_the_last_hour(seen: Overview, lately: Overview) -> list[Concern]:
    """What a longer or another span does not show."""
    if (lately.totals, lately.latency) == (seen.totals, seen.latency):
        return []
    found = concerns(lately.totals, lately.latency, lately.work)
    return [replace(each, words=f"In the last hour: {each.words}") for each in found]


def _of_the_server(store: RunStore) -> list[Concern]:
    """What holds whatever span is looked at."""
    found = of_servers(resources.get_engine().remote_status())
    status = resources.get_engine().status()
    if status.queued > status.running:
        words = f"{units.counted(status.queued, 'request')} wait while {int(status.running):,} run: more comes than is "
        found.append(Concern(Grade.WATCH, f"{words}answered."))
    if waiting := store.waiting:
        words = (
            f"{units.counted(waiting.results, 'result')} cannot be stored yet: nothing is lost while the server runs."
        )
        found.append(Concern(Grade.BAD, words))
    if mismatches := resources.get_engine().cache_status().mismatches:
        words = f"Since the server started, reused KV gave other logits in {units.counted(mismatches, 'run')}, "
        found.append(Concern(Grade.BAD, f"{words}which were answered from KV anew."))
    return found


def _of_the_clock(seen: Overview) -> list[Concern]:
    ahead = sum(each.totals.runs for each in seen.over_time if each.start > now() + timedelta(minutes=1))
    if not ahead:
        return []
    words = f"{units.counted(ahead, 'run')} began later than now, by this machine's clock: it was set back."
    return [Concern(Grade.WATCH, words)]


def _show_verdict(found: Sequence[Concern], seen: Overview) -> None:
    grade = worst(found)
    reasons = " ".join(literal(each.words) for each in found[:_MOST_REASONS])
    if not found:
        over = seen.totals.runs - seen.totals.running
        which = f"{units.counted(over, 'run')}{' that are summed up already' if seen.missing else ''}"
        reasons = f"{which} answered as they should be." if over else "No run has ended yet."
    word = {Grade.WELL: "All is well", Grade.WATCH: "Worth a look", Grade.BAD: "Not well"}[grade]
    st.markdown(f":{_COLOURS[grade]}[{_ICONS[grade]} **{word}.**] {reasons}")


def _show_missing(missing: Missing) -> None:
    share = 1 - missing.share
    st.progress(
        share,
        f":material/hourglass_top: **Incomplete: {units.percent(share)} of the runs of this time are summed up.** The "
        f"background goes from the newest back; those before {units.moment(missing.until, reader_zone())[:-3]} still "
        "have to come, and all figures below are without them.",
    )


def _show_figures(seen: Overview) -> None:
    totals, latency, work = seen.totals, seen.latency, seen.work
    least = "≥ " if seen.missing else ""
    busy_s = (min(seen.edges[-1], max(now(), seen.edges[0])) - seen.edges[0]).total_seconds()
    with st.grid(min_column_width=130, gap="small"):
        _metric(
            "Runs",
            least + units.count(totals.runs),
            f"{least}{_per_second(totals.runs, busy_s)} requests/s",
            help="Started in this time; requests a second are the mean over all of it.",
        )
        _metric(
            "Answer tokens",
            least + units.count(totals.completion_tokens),
            f"{least}{_per_second(totals.completion_tokens, busy_s)} tok/s",
            help="Tokens that models wrote, and their mean over all of this time.",
        )
        _metric(
            "Error rate",
            units.percent(totals.error_rate, 1),
            f"{least}{units.count(totals.failed + totals.interrupted)} failed",
            help="Failed and interrupted runs over all that are over.",
        )
        for name, known, words in (
            ("TTFT", latency.ttft_s, "Time to first token, queueing included."),
            ("TPOT", latency.tpot_s, "Time per output token after the first."),
            ("E2E", latency.e2e_s, "From arrival to the last token."),
        ):
            tail = _tail(units.seconds(known.p90), units.seconds(known.p99))
            to = "" if seen.is_exact else " Right to 1 %: there are more than 5,000 runs."
            _metric(f"{name} p50", units.seconds(known.p50), tail, help=f"{words} Finished runs only.{to}")
    small = [
        f"queue p90 {units.seconds(latency.queue_s.p90)}",
        f"batch size {units.mean(work.mean_batch_size)}",
        f"prefix hit rate {units.percent(totals.hit_rate)}",
    ]
    if totals.drafted_tokens:
        length = 1 + totals.accepted_tokens / work.verification_steps if work.verification_steps else None
        small.append(f"acceptance length {units.tokens(length)}")
    if work.cascades:
        small.append(f"sent up {units.percent(work.escalation_share)}")
    if totals.disturbed:
        how = "left out of" if latency.left_out else "included in"
        small.append(f"{units.counted(totals.disturbed, 'disturbed run')} {how} TTFT, TPOT and E2E")
    st.caption(" · ".join(small))


def _tail(p90: str, p99: str) -> str:
    """Both, the unit written once where it is the same."""
    (amount, _, unit), (_, _, other) = p90.partition(" "), p99.partition(" ")
    return f"p90 {amount if unit == other else p90} · p99 {p99}"


def _per_second(amount: int, seconds: float) -> str:
    return f"{amount / seconds:.3g}" if seconds > 0 else units.MISSING


def _metric(label: str, value: str, detail: str, *, help: str) -> None:
    st.metric(label, value, detail, delta_color="off", delta_arrow="off", help=help)
