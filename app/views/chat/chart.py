"""TTFT by turn: the branch on view as it was answered, and as it would be in the other cache modes, measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st

from app import resources, units
from app.chat.replay import answered_turns, config_in, measure_turns, own_mode, setting_of, timings_here
from app.store import ChatStore, Conversation, RunRecord
from app.views.reports.disturbance import ICON, disturbed_mark
from app.views.reports.metrics import cached_tokens, reused_words
from app.views.runs.naming import config_name
from app.views.shared import charts
from app.views.shared.background_job import BackgroundJob
from engine.types import Backend, CacheMode, RunConfig

_FEWEST_TURNS = 2  # one point is no line
_CHEAPEST_FIRST = (CacheMode.PREFIX, CacheMode.KV, CacheMode.OFF)


@dataclass(frozen=True, slots=True)
class _Point:
    """One turn on the chart."""

    ttft_s: float
    """Queueing left out."""
    cached_tokens: int | None
    """``None`` where a server answered that does not tell."""
    prompt_tokens: int
    settings: str
    disturbed: str | None = None
    """What held it up, for the user."""

    @property
    def details(self) -> str:
        """What the reader sees on hover."""
        return "<br>".join(
            (
                f"TTFT {units.seconds(self.ttft_s)}",
                *reused_words(self.prompt_tokens, self.cached_tokens),
                charts.plain(self.settings),
                *([f"Disturbed: {charts.plain(self.disturbed)}"] if self.disturbed else []),
            )
        )


def show_ttft(conversation: Conversation, runs: Mapping[str, RunRecord], chats: ChatStore, *, busy: bool) -> None:
    """The chart, once there are turns to compare, and the way to measure the other cache modes.

    Args:
        conversation: all of it.
        runs: the runs of its answers, by id, as far as they are still there.
        chats: where measurements are kept.
        busy: a turn is about to be streamed; the chart stands still meanwhile.
    """
    turns = answered_turns(conversation)
    if len(turns) < _FEWEST_TURNS:
        return
    job = BackgroundJob(f"chat ttft {conversation.id}", title="Measuring the TTFT of a chat")
    missing = _show_chart(conversation, runs, chats)
    if busy:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if missing and job.start_button(
            "Measure the other settings",
            icon=":material/speed:",
            key="chat-measure",
            main=False,
            help=f"Replays these turns in cache mode {' and '.join(missing)}, one token each, and draws their TTFT "
            "beside this chat's own. Measured once and kept.",
        ):
            job.start(partial(measure_turns, resources.get_engine(), chats, conversation, missing))
        st.caption(
            "One run a point.",
            width="content",
            help="Waiting for other runs and loading are left out, so a point may lie below the TTFT told under its "
            "answer. A replayed turn reads the very messages of this branch; in cache mode prefix it finds kept what "
            "the turns before it had left.",
        )
    job.follow(lambda: len(chats.timings(conversation.id)))


def _show_chart(conversation: Conversation, runs: Mapping[str, RunRecord], chats: ChatStore) -> tuple[CacheMode, ...]:
    """Draw it, and return the cache modes in which a turn was not measured yet."""
    turns = answered_turns(conversation)
    config = RunConfig.from_dict(conversation.config)
    own_runs = [runs.get(turn.answer.run_id or "") for turn in turns]
    mode = own_mode(config, [run for run in own_runs if run])
    known = timings_here(chats, conversation.id, resources.get_engine().status().device)
    lines = [_line(f"this chat, {mode}" if mode else "this chat", [_own_point(run) for run in own_runs])]
    missing = []
    # a replay asks one model, and reads answers in its tokens
    cascaded = config.optimization.cascade or any(run and run.cascade for run in own_runs)
    for other in () if cascaded or config.backend is Backend.REMOTE else _CHEAPEST_FIRST:
        if other is mode:
            continue
        its = config_in(other, config)
        setting, summary = setting_of(its, conversation.system), config_name(its)
        timings = [known.get((turn.asked.id, setting)) for turn in turns]
        if not all(timings):
            missing.append(other)
        if any(timings):
            points = [
                _Point(t.ttft_s, t.cached_tokens, t.prompt_tokens, summary, t.environment.get("disturbed"))
                if t
                else None
                for t in timings
            ]
            lines.append(_line(f"{other}, replayed", points))
    charts.show(charts.by_number(lines, title="TTFT by turn, measured", x="Turn", y="TTFT, ms"), key="chat-ttft")
    if any(any(line.doubtful) for line in lines):
        st.caption(f"{ICON} Hollow: the run was disturbed. Hover to see by what.")
    return tuple(missing)


def _own_point(run: RunRecord | None) -> _Point | None:
    """A turn as it ran."""
    measured = run.metrics if run else None
    if run is None or measured is None or measured.ttft_s is None:
        return None
    its = config_name(RunConfig.from_dict(run.config))
    why = disturbed_mark(run.disturbance)
    cached, prompt_tokens = cached_tokens(run), measured.prompt_tokens
    return _Point(measured.ttft_s - measured.queue_s, cached, prompt_tokens, its, why)


def _line(name: str, points: Sequence[_Point | None]) -> charts.Line:
    return charts.Line(
        name,
        x=list(range(1, len(points) + 1)),
        y=[point.ttft_s * 1000 if point else None for point in points],
        details=[point.details if point else "" for point in points],
        doubtful=[bool(point and point.disturbed) for point in points],
    )
