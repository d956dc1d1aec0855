"""Figures of a run on a server: what it keeps to itself is said, and never a 0."""

from __future__ import annotations

from dataclasses import replace

from app.views.reports import metrics
from engine.types import RemoteReport
from tests.support.fakes import make_metrics

MEASURED = replace(make_metrics(), cached_tokens=0, weights_bytes=0, kv_bytes=0)
SILENT = RemoteReport(server="h:1", served_name="m", counted=False, prompt_counted=False)
TELLING = RemoteReport(server="h:1", served_name="m", cached_tokens=0)


def test_what_a_server_does_not_tell_is_no_0() -> None:
    for figure in (metrics.CACHED_TOKENS, metrics.WEIGHTS, metrics.KV, metrics.RUN_MEMORY, metrics.PROMPT_TOKENS):
        assert figure.text(MEASURED, SILENT) == metrics.NOT_TOLD
        assert "does not tell it" in figure.hint(SILENT)
    assert metrics.TTFT.text(MEASURED, SILENT) == metrics.TTFT.text(MEASURED)


def test_what_it_tells_is_shown_a_0_too() -> None:
    assert metrics.CACHED_TOKENS.text(MEASURED, TELLING) == "0"
    assert metrics.CACHED_TOKENS.hint(TELLING) == metrics.CACHED_TOKENS.help
    assert metrics.WEIGHTS.text(MEASURED, TELLING) == metrics.NOT_TOLD


def test_a_prompt_that_nobody_told_the_reuse_of_is_neither_reused_nor_computed() -> None:
    assert metrics.reused_words(30, None) == ("30 prompt tokens, reused: not told",)
    assert metrics.reused_words(30, 10) == ("10 tokens reused", "20 tokens computed")
