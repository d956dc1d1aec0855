"""Percentiles are by nearest rank, only proper answers count, and goodput is what met every SLO."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.operations.traffic.client import Answer
from app.operations.traffic.replay import Outcome, Progress
from app.operations.traffic.report import Report, Slo, percentiles, row_of
from engine.errors import InvalidRequestError


def good(ttft_s: float = 0.5, e2e_s: float = 1.5, tokens: int = 11, **known: object) -> Answer:
    return Answer(ttft_s=ttft_s, e2e_s=e2e_s, completion_tokens=tokens, **{"prompt_tokens": 100, **known})  # type: ignore[arg-type]


def progress(answers: Sequence[Answer], elapsed_s: float = 10.0, sent: int | None = None) -> Progress:
    outcomes = [
        Outcome(number=number, session=None, at_s=0.0, sent_s=0.0, late_s=0.0, answer=answer)
        for number, answer in enumerate(answers, 1)
    ]
    failed = sum(answer.error is not None for answer in answers)
    return Progress(sent=sent or len(outcomes), outcomes=outcomes, errors=failed, elapsed_s=elapsed_s)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_a_percentile_is_the_smallest_value_that_so_many_are_not_above(values: list[float]) -> None:
    for rank, found in percentiles(values).items():
        assert found in values
        assert sum(value <= found for value in values) * 100 >= rank * len(values)
        assert sum(value < found for value in values) * 100 < rank * len(values)


def test_percentiles_of_a_hundred_are_their_ranks_and_of_none_nothing() -> None:
    assert percentiles(range(100, 0, -1)) == {50: 50, 90: 90, 99: 99}
    assert percentiles([7]) == {50: 7, 90: 7, 99: 7}
    assert percentiles([]) == {}


def test_what_did_not_end_properly_counts_nowhere_but_in_errors() -> None:
    failed = Answer(error="timeout", detail="slow")
    report = Report.of(progress([good(), failed, good(), failed, Answer(error="HTTP 500")]))
    assert (report.requests, report.ok, report.error_share) == (5, 2, pytest.approx(0.6))
    assert [(error.kind, error.requests, error.detail) for error in report.errors] == [
        ("timeout", 2, "slow"),
        ("HTTP 500", 1, ""),
    ]
    assert report.ttft_s == {50: 0.5, 90: 0.5, 99: 0.5}
    assert (report.input_tokens, report.output_tokens) == (200, 22)
    assert report.per_second(report.ok) == 0.2


def test_goodput_is_what_met_every_slo_in_a_second() -> None:
    answers = [good(), good(ttft_s=1.2), good(e2e_s=31), good(tokens=1, e2e_s=0.5), Answer(error="timeout")]
    report = Report.of(progress(answers), Slo.parse("ttft=1.0, TPOT=0.1,e2e=30"))
    assert report.good == 2
    assert report.goodput == pytest.approx(0.2)
    assert "0.20 requests/s: 40 % met TTFT ≤ 1.00 s, TPOT ≤ 100 ms, E2E ≤ 30.0 s" in report.text()


def test_a_limit_that_is_just_met_is_met() -> None:
    assert Slo(ttft=0.5, e2e=1.5).is_met(good())
    assert not Slo(tpot=0.0999).is_met(good())


@pytest.mark.parametrize(
    "text", ["", "ttft", "ttft=", "ttft=0", "ttft=-1", "ttft=nan", "ttft=inf", "itl=1", "ttft=1,ttft=2", "ttft=1,"]
)
def test_what_is_no_slo_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="no SLO"):
        Slo.parse(text)


def test_itl_is_of_all_gaps_of_all_answers() -> None:
    report = Report.of(progress([good(gaps_s=array("d", [1, 2])), good(gaps_s=array("d", [3])), good()]))
    assert report.itl_s == {50: 2, 90: 3, 99: 3}


def test_a_report_of_nothing_says_nothing_wrong() -> None:
    report = Report.of(Progress())
    assert (report.error_share, report.goodput) == (0, None)
    assert "0 ended: 0 ok, none failed" in report.text()
    assert report.to_dict()["ttft_s"] == {}


def test_an_interrupted_replay_tells_what_was_not_waited_for() -> None:
    report = Report.of(progress([good()], sent=4))
    assert (report.requests, report.unanswered) == (1, 3)
    assert "3 more were sent and not waited for" in report.text()


def test_tokens_that_the_server_did_not_count_are_told_apart() -> None:
    text = Report.of(progress([good(counted=False), good(cached_tokens=50)])).text()
    assert "counted no tokens of 1 answers" in text
    assert "25 % of the prompt tokens" in text


def test_rows_and_summary_are_json() -> None:
    done = progress([good(), Answer(error="HTTP 429", detail="slow down")])
    report = Report.of(done, Slo(ttft=1))
    summary = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert summary["goodput_per_s"] == pytest.approx(0.1)
    assert summary["errors"] == {"HTTP 429": 1}
    first, second = (json.loads(json.dumps(row_of(outcome), allow_nan=False)) for outcome in done.outcomes)
    assert (first["ttft_s"], first["tpot_s"], first["error"]) == (0.5, 0.1, None)
    assert (second["ttft_s"], second["completion_tokens"], second["error"]) == (None, None, "HTTP 429")
