"""The work of the Speculation lab: what is measured, what is kept, what is not asked twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.background.jobs import JobCancelled
from app.prompts.choosing import some_of_each
from app.runs.service import RunSaved, stream
from app.speculation.drafted_prompt import DraftedPrompt, draft_prompt
from app.speculation.figures import Summary
from app.speculation.lab import PAIRS, SpeculationLabError, lab_prompts, lab_request, prompt_sha256
from app.speculation.losslessness import NothingToCheckError, check_run
from app.speculation.measuring import common_start, measure_drafters
from app.store import DraftFigures, RunFilter, RunOutcome, RunSource, RunStatus, RunStore, Timeline
from engine import Engine
from engine.errors import GearboxError, InvalidRequestError
from engine.types import Disturbance, Drafter, GenerationRequest, Losslessness, Precision, SpeculationConfig, TokenEvent
from tests.support.cascading import CASCADE, SMALL, make_cascade_report
from tests.support.disturbing import DISTURBED, QUIET, WHY
from tests.support.drafting import IDENTICAL, SpeculatingEngine, make_report
from tests.support.fakes import FakeEngine, make_request
from tests.support.jobs import ignore

MODEL = "smollm2-135m"
NGRAM = SpeculationConfig(drafter=Drafter.NGRAM)
TWO = lab_prompts()[:2]


class Until:
    """A report that cancels the job after some calls."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, stage: str, fraction: float, *, loading: float | None = None) -> None:
        self.left -= 1
        if self.left < 0:
            raise JobCancelled


def measured(store: RunStore, engine: SpeculatingEngine, *gears: SpeculationConfig, again: bool = False) -> None:
    measure_drafters(engine, store.drafts, MODEL, Precision.INT4, gears or (NGRAM,), TWO, ignore, again=again)


# --- prompts --------------------------------------------------------------------------------------


def test_the_labs_prompts_are_distinct_and_three_of_each_kind() -> None:
    prompts = lab_prompts()
    kinds = [prompt.category for prompt in prompts]
    assert len({prompt_sha256(prompt) for prompt in prompts}) == len({prompt.id for prompt in prompts}) == 18
    assert {kinds.count(kind) for kind in kinds} == {3}
    assert [prompt.category for prompt in some_of_each(prompts, 1)] == list(dict.fromkeys(kinds))
    assert some_of_each(prompts, 1)[0] == prompts[0]


# --- on many prompts ------------------------------------------------------------------------------


def test_plain_and_drafted_runs_take_turns_from_a_cold_start(store: RunStore) -> None:
    engine = SpeculatingEngine(speedup=2.5)
    measured(store, engine)
    gears = [request.config.optimization.speculation for request in engine.requests]
    assert gears == [None, NGRAM] * PAIRS * len(TWO)
    assert all(request.cold and request.config.sampling.temperature == 0 for request in engine.requests)
    results = store.drafts.results(MODEL, "int4")
    assert [result.prompt_sha256 for result in results] == [prompt_sha256(prompt) for prompt in TWO]
    figures = results[0].figures
    assert figures.speedup == pytest.approx(2.5)
    assert (figures.tokens, figures.identical) == (6, 6)
    assert (figures.drafted_tokens, figures.accepted_tokens, figures.verification_steps) == (4, 2, 2)
    assert (figures.rejections, figures.alpha) == (1, pytest.approx(2 / 3))
    assert figures.predicted is None
    assert store.page().total == 0


def test_what_was_measured_is_not_asked_again_unless_that_is_wanted(store: RunStore) -> None:
    engine = SpeculatingEngine()
    measured(store, engine)
    measured(store, engine)
    assert len(engine.requests) == 2 * PAIRS * len(TWO)
    measured(store, engine, again=True)
    assert len(engine.requests) == 4 * PAIRS * len(TWO)
    assert len(store.drafts.results(MODEL, "int4")) == len(TWO)


def test_a_cancelled_measurement_goes_on_with_the_prompt_it_had_reached(store: RunStore) -> None:
    engine = SpeculatingEngine()
    events = 2 * PAIRS * 9  # of one prompt: nine events but the last of each run are reported
    with pytest.raises(JobCancelled):
        measure_drafters(engine, store.drafts, MODEL, Precision.INT4, [NGRAM], TWO, Until(events + 5))
    assert len(store.drafts.results(MODEL, "int4")) == 1
    engine.requests.clear()
    measured(store, engine)
    assert len(engine.requests) == 2 * PAIRS
    assert len(store.drafts.results(MODEL, "int4")) == 2


def test_a_fixed_gamma_comes_with_what_the_formula_predicts(store: RunStore) -> None:
    report = make_report(step_s={1: 0.01, 3: 0.012, 5: 0.014}, draft_step_s={"ngram": 0.002})
    measured(store, SpeculatingEngine(report=report), replace(NGRAM, gamma=2))
    alpha = 2 / 3
    expected = (1 - alpha**3) / (1 - alpha) / (2 * 0.2 + 1.2)
    assert store.drafts.results(MODEL, "int4")[0].figures.predicted == pytest.approx(expected)


def test_gammas_and_drafters_are_kept_apart(store: RunStore) -> None:
    gears = (NGRAM, replace(NGRAM, gamma=2), SpeculationConfig.with_model("small"))
    measured(store, SpeculatingEngine(), *gears)
    results = store.drafts.results(MODEL, "int4")
    assert {result.speculation for result in results} == set(gears)
    assert len(results) == len(gears) * len(TWO)
    assert store.drafts.results(MODEL, "int8") == store.drafts.results("other", "int4") == ()


def test_what_another_machine_measured_is_measured_here_too(store: RunStore) -> None:
    engine = SpeculatingEngine()
    measured(store, engine)
    for result in store.drafts.results(MODEL, "int4"):
        store.drafts.keep(replace(result, environment={**result.environment, "cpu": "another one"}))
    engine.requests.clear()
    measured(store, engine)
    assert len(engine.requests) == 2 * PAIRS * len(TWO)


def test_a_run_that_fails_ends_the_measurement_with_its_reason(store: RunStore) -> None:
    with pytest.raises(SpeculationLabError, match="No room"):
        measured(store, SpeculatingEngine(failure=GearboxError("No room.")))


def test_a_drafter_that_does_not_fit_is_refused_before_anything_runs(store: RunStore) -> None:
    engine = SpeculatingEngine()
    with pytest.raises(InvalidRequestError, match="already"):
        measured(store, engine, SpeculationConfig.with_self())
    assert engine.requests == []


def test_a_summary_counts_tokens_and_takes_the_median_prompt(store: RunStore) -> None:
    measured(store, SpeculatingEngine())
    figures = [result.figures for result in store.drafts.results(MODEL, "int4")]
    slow = replace(figures[0], drafted_tpot_s=2 * figures[0].plain_tpot_s, identical=1, drafted_tokens=12)
    summary = Summary.of([*figures, slow])
    assert (summary.prompts, summary.speedup, summary.slowest) == (3, pytest.approx(1.5), pytest.approx(0.5))
    assert (summary.identical, summary.tokens) == (13, 18)
    assert summary.acceptance_rate == pytest.approx(6 / 20)
    assert summary.acceptance_length == pytest.approx(2.0)
    assert summary.faults == ()


def test_a_speed_up_that_cannot_be_is_left_out_and_told(store: RunStore) -> None:
    measured(store, SpeculatingEngine())
    figures = [result.figures for result in store.drafts.results(MODEL, "int4")]
    disturbed = replace(figures[0], plain_tpot_s=10 * figures[0].plain_tpot_s)
    summary = Summary.of([*figures, disturbed])
    assert (summary.prompts, summary.speedup, summary.slowest) == (3, pytest.approx(1.5), pytest.approx(1.5))
    (fault,) = summary.faults
    assert "15.0× the time a token" in fault
    assert "1.67 tokens each" in fault
    only = Summary.of([disturbed])
    assert (only.speedup, only.slowest, len(only.faults)) == (None, None, 1)


@pytest.mark.parametrize(
    ("first", "second", "same"), [((), (1,), 0), ((1, 2, 3), (1, 2, 4), 2), ((1, 2), (1, 2, 3), 2), ((2,), (1,), 0)]
)
def test_answers_are_compared_from_their_start(first: tuple[int, ...], second: tuple[int, ...], same: int) -> None:
    assert common_start(first, second) == common_start(second, first) == same


# --- on one prompt --------------------------------------------------------------------------------


def shown_prompt(gear: SpeculationConfig = NGRAM) -> DraftedPrompt:
    plain, drafted = (lab_request(TWO[0], MODEL, Precision.INT4, each) for each in (None, gear))
    return DraftedPrompt(plain, drafted, "session")


def test_a_prompt_is_answered_both_ways_kept_and_checked(store: RunStore) -> None:
    engine, shown = SpeculatingEngine(), shown_prompt()
    draft_prompt(engine, store, shown, ignore)
    assert store.page(RunFilter(sources=(RunSource.LAB,))).total == store.page().total == 2 * PAIRS
    assert shown.tpots_s == (pytest.approx(0.01), pytest.approx(0.01 / 1.5))
    assert [token.source for token in shown.drafted_runs[-1].tokens] == [
        "target",
        "draft",
        "draft",
        "bonus",
        "target",
        "target",
    ]
    kept = store.get(shown.drafted_runs[-1].run_id or "")
    assert (kept.losslessness, kept.speculation) == (IDENTICAL, make_report())
    assert shown.losslessness == IDENTICAL


def test_a_cancelled_prompt_leaves_a_stopped_run_and_no_result(store: RunStore) -> None:
    shown = shown_prompt()
    with pytest.raises(JobCancelled):
        draft_prompt(SpeculatingEngine(), store, shown, Until(4))
    assert [row.status for row in store.page().rows] == [RunStatus.STOPPED]
    assert shown.losslessness is None


# --- a kept run -----------------------------------------------------------------------------------


def test_a_run_without_tokens_cannot_be_checked(store: RunStore) -> None:
    run_id = store.create_run(make_request(speculation=NGRAM), person_id="s", environment={})
    with pytest.raises(NothingToCheckError):
        check_run(SpeculatingEngine(), store, run_id, ignore)


def test_a_kept_run_is_checked_as_it_was_asked(store: RunStore) -> None:
    request = make_request(speculation=NGRAM, system="Be brief.")
    *_, saved = stream(FakeEngine(), store, request, person_id="s")
    assert isinstance(saved, RunSaved)
    engine = SpeculatingEngine()
    assert check_run(engine, store, saved.run_id, ignore) == IDENTICAL
    assert engine.checked == [(100, 101, 102, 103, 104, 105)]


def test_a_cascades_answer_is_checked_against_the_tier_that_gave_it(store: RunStore) -> None:
    class Checker(SpeculatingEngine):
        asked: GenerationRequest | None = None

        def check_losslessness(self, request: GenerationRequest, *rest: Any) -> Losslessness:
            self.asked = request
            return super().check_losslessness(request, *rest)

    request = make_request(model="m", speculation=NGRAM, cascade=CASCADE)
    run_id = store.create_run(request, person_id="s", environment={})
    kept = RunOutcome(RunStatus.FINISHED, "So", cascade=make_cascade_report(went_up=False))
    store.finish_run(run_id, kept, Timeline.from_events([TokenEvent(1, "So", 0.1, -0.5, 1.0)]))
    engine = Checker()
    check_run(engine, store, run_id, ignore)
    assert engine.asked is not None
    assert engine.asked.config.ladder == (SMALL,)


# --- with a real engine ---------------------------------------------------------------------------


def test_a_real_model_drafts_for_the_lab_and_its_answer_holds(store: RunStore, tiny_models_dir: Path) -> None:
    engine = Engine(tiny_models_dir)
    try:
        gear = replace(NGRAM, gamma=3)
        measure_drafters(engine, store.drafts, "tiny", Precision.BF16, [gear], TWO[:1], ignore)
        (result,) = store.drafts.results("tiny", "bf16")
        figures = result.figures
        assert (figures.identical, figures.verification_steps > 0) == (figures.tokens, True)
        assert figures.predicted is not None
        assert figures.accepted_tokens <= figures.drafted_tokens
        plain, drafted = (lab_request(TWO[0], "tiny", Precision.BF16, each, max_tokens=24) for each in (None, gear))
        shown = DraftedPrompt(plain, drafted, "session")
        draft_prompt(engine, store, shown, ignore)
        assert shown.losslessness is not None
        assert shown.losslessness.holds
        assert shown.drafted_runs[-1].token_ids == shown.plain_runs[-1].token_ids
    finally:
        engine.close()


# --- disturbed runs ---------------------------------------------------------------------------------


def figures_beside(store: RunStore, disturbances: list[Disturbance]) -> list[DraftFigures]:
    engine = SpeculatingEngine(speedup=2.0)
    engine.disturbances = disturbances
    measure_drafters(engine, store.drafts, MODEL, Precision.INT8, [NGRAM], TWO[:1], ignore)
    return [result.figures for result in store.drafts.results(MODEL, Precision.INT8)]


def test_a_disturbed_plain_run_is_made_once_more_and_makes_no_drafter_look_fast(store: RunStore) -> None:
    (figures,) = figures_beside(store, [DISTURBED, DISTURBED, QUIET, DISTURBED, QUIET])
    assert (figures.speedup, figures.disturbed) == (pytest.approx(2.0), None)


def test_a_speedup_whose_plain_runs_were_all_disturbed_is_marked_and_left_out_of_medians(store: RunStore) -> None:
    # each plain run twice, each drafted one once
    (figures,) = figures_beside(store, [DISTURBED, DISTURBED, QUIET] * PAIRS)
    assert (figures.speedup, figures.disturbed) == (pytest.approx(8.0), WHY)
    assert Summary.of([figures]).faults, "more than its tokens a pass allow"
    possible = replace(figures, plain_tpot_s=1.2 * figures.drafted_tpot_s, ratios=())
    sound = replace(figures, plain_tpot_s=1.5 * figures.drafted_tpot_s, ratios=(), disturbed=None)
    both = Summary.of([possible, sound])
    assert (both.prompts, both.disturbed, both.speedup) == (2, 1, pytest.approx(1.5))
    assert Summary.of([possible]).speedup == pytest.approx(1.2)
