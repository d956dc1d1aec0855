"""A judge's own audit: found on judges whose faults are known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.experiments.judging.audit import Audit, Limits, State
from app.experiments.judging.auditing import audit_of
from app.experiments.judging.opinions import Opinions, judges_of
from app.experiments.results.arrays import Results
from app.store import JudgeId, Judgement, JudgementKind, NoVerdict, RunStore
from engine import Task
from tests.support.experiments import configuration, design
from tests.support.judging import JUDGE, OTHER, pair, quality, results, score

COUNT = 60
SCORE, PAIR = JudgementKind.SCORE, JudgementKind.PAIR


def tasks(checker: str | None = "contains") -> list[Task]:
    return [
        Task(id=f"p{n}", category="c", prompt="?", checker=checker, expected="x", max_tokens=8) for n in range(COUNT)
    ]


@pytest.fixture
def answered(store: RunStore) -> Results:
    """Of the baseline every second answer is right, of the other every third; the other's are longer."""
    cells = [
        quality(place, f"p{n}", f"{place}-{n}", score=float(n % (2 + place) == 0), run_id=None,
                completion_tokens=10 + 5 * place)
        for n in range(COUNT)
        for place in (0, 1)
    ]  # fmt: skip
    return results(store, design(tasks()), *cells)


def audit(
    found: Results, said: Sequence[Judgement], kind: JudgementKind = SCORE, thumbs: dict[str, int] | None = None
) -> Audit:
    others = [Opinions.of(each, said) for each in {each.key.judge for each in said} - {JUDGE}]
    return audit_of(found, Opinions.of(JUDGE, said), kind, thumbs or {}, others)


def state(audit: Audit, name: str, limits: Limits | None = None) -> State:
    return next(each.state for each in audit.checks(limits or Limits()) if each.name == name)


def grades(wrong_every: int = 10_000, judge: JudgeId = JUDGE) -> list[Judgement]:
    """As the checkers say, but for every so many."""
    return [
        score(f"p{n}", f"{place}-{n}", float((n % (2 + place) == 0) != (n % wrong_every == wrong_every - 1)), judge)
        for n in range(COUNT)
        for place in (0, 1)
    ]


def test_a_judge_that_says_what_checkers_say_agrees_with_them(answered: Results) -> None:
    found = audit(answered, grades())
    assert found.checkers is not None
    assert (found.checkers.answers, found.checkers.kappa) == (2 * COUNT, 1.0)
    assert state(found, "Agreement with checkers") is State.PASSED
    assert found.concerns(Limits()) == ()


def test_one_that_says_the_opposite_fails_and_says_in_what(answered: Results) -> None:
    found = audit(
        answered, [score(each.key.prompt_id, each.key.first_sha256, 1 - (each.score or 0)) for each in grades()]
    )
    assert state(found, "Agreement with checkers") is State.FAILED
    assert any(each.startswith("agreement with checkers κ -0.") for each in found.concerns(Limits()))


def test_one_that_says_the_same_of_all_is_not_known_to_be_right(answered: Results) -> None:
    found = audit(answered, [score(f"p{n}", f"{place}-{n}", 0.9) for n in range(COUNT) for place in (0, 1)])
    assert found.checkers is not None
    assert found.checkers.kappa == pytest.approx(0.0, abs=0.05)
    assert state(found, "Agreement with checkers") is State.FAILED


@pytest.mark.parametrize(("flips", "expected"), [(30, State.FAILED), (6, State.PASSED)])
def test_one_that_goes_by_the_place_is_found(answered: Results, flips: int, expected: State) -> None:
    said = []
    for n in range(COUNT):
        said += pair(f"p{n}", f"0-{n}", f"1-{n}", 1.0), pair(f"p{n}", f"1-{n}", f"0-{n}", 1.0 if n < flips else 0.0)
    found = audit(answered, said, PAIR)
    assert found.flips is not None
    assert (found.flips.pairs, found.flips.flips, found.flips.for_first) == (COUNT, flips, flips)
    assert state(found, "Swayed by order") is expected


def test_one_that_likes_long_answers_is_found(answered: Results) -> None:
    said = [score(f"p{n}", f"{place}-{n}", 0.4 + 0.2 * place) for n in range(COUNT) for place in (0, 1)]
    found = audit(answered, said)
    assert found.length is not None
    assert (found.length.decided, found.length.excess) == (COUNT, 1.0)
    assert found.length_of_checkers is not None
    assert found.length_of_checkers.excess < 0, "checkers prefer the shorter here"
    assert state(found, "Longer answer preferred") is State.FAILED
    assert state(found, "Longer answer preferred", Limits(length=1.0)) is State.PASSED


def test_the_limits_decide(answered: Results) -> None:
    found = audit(answered, grades(wrong_every=5))
    assert found.checkers is not None
    assert found.checkers.kappa is not None
    assert 0.4 < found.checkers.kappa < 0.8
    assert state(found, "Agreement with checkers", Limits(kappa=0.8)) is State.FAILED
    assert state(found, "Agreement with checkers", Limits(kappa=0.4)) is State.PASSED


def test_no_verdicts_are_counted_by_their_reasons(answered: Results) -> None:
    said = [*grades()[:20], score("p30", "0-30", None)]
    said[-1] = Judgement(key=said[-1].key, score=None, no_verdict=NoVerdict.EMPTY)
    found = audit(answered, said)
    assert (found.asked, dict(found.unanswered)) == (21, {NoVerdict.EMPTY: 1})
    assert state(found, "No verdict") is State.PASSED
    assert state(found, "No verdict", Limits(silent=0.01)) is State.FAILED


def test_thumbs_and_another_judge_are_held_against_it(store: RunStore) -> None:
    cells = [quality(0, f"p{n}", f"0-{n}", run_id=f"r{n}") for n in range(COUNT)]
    found = results(store, design(tasks(None)), *cells)
    said = [score(f"p{n}", f"0-{n}", float(n % 2)) for n in range(COUNT)]
    said += [score(f"p{n}", f"0-{n}", float(n % 2 or n < 10), OTHER) for n in range(COUNT)]
    thumbs = {f"r{n}": 1 if n % 2 else -1 for n in range(20)}
    seen = audit(found, said, thumbs=thumbs)
    assert seen.checkers is None
    assert seen.people is not None
    assert (seen.people.answers, seen.people.kappa) == (20, 1.0)
    assert seen.others["other int8"].agreement == pytest.approx(55 / 60)
    assert seen.cautions == ()


def test_another_judge_does_not_fail_one_that_checkers_have_passed(answered: Results) -> None:
    opposite = [score(each.key.prompt_id, each.key.first_sha256, 1 - (each.score or 0), OTHER) for each in grades()]
    assert state(audit(answered, [*grades(), *opposite]), "Agreement with other int8") is State.NOTED
    alone = [score(f"q{n}", f"{n}", float(n % 2)) for n in range(COUNT)]
    alone += [score(f"q{n}", f"{n}", float(n % 2 == 0), OTHER) for n in range(COUNT)]
    assert state(audit(answered, alone), "Agreement with other int8") is State.FAILED


def test_long_answers_may_be_preferred_as_far_as_checkers_prefer_them(store: RunStore) -> None:
    cells = [
        quality(place, f"p{n}", f"{place}-{n}", score=float(place), completion_tokens=10 + place)
        for n in range(COUNT)
        for place in (0, 1)
    ]
    said = [score(f"p{n}", f"{place}-{n}", 0.1 + 0.8 * place) for n in range(COUNT) for place in (0, 1)]
    found = audit(results(store, design(tasks()), *cells), said)
    assert found.length is not None
    assert found.length.excess == 1.0
    assert state(found, "Longer answer preferred") is State.PASSED


def test_pairs_agree_where_checkers_tell_two_answers_apart(answered: Results) -> None:
    said = []
    for n in range(COUNT):
        first = float(n % 2 == 0) - float(n % 3 == 0)
        better = 0.5 + first / 2
        said += pair(f"p{n}", f"0-{n}", f"1-{n}", better), pair(f"p{n}", f"1-{n}", f"0-{n}", 1 - better)
    found = audit(answered, said, PAIR)
    assert found.checkers is not None
    assert (found.checkers.answers, found.checkers.kappa) == (30, 1.0)


def test_with_nothing_to_hold_it_against_the_audit_says_so(store: RunStore) -> None:
    found = results(store, design(tasks(None)), quality(0, "p0", "0-0"))
    seen = audit(found, [score("p0", "0-0", 1.0)])
    assert [each.state for each in seen.checks(Limits())] == [State.UNKNOWN] * 6
    assert "too few of the answers have a checker or a thumb" in seen.cautions[0]


def test_a_judge_of_its_own_answers_is_told_of(store: RunStore) -> None:
    own = [configuration("a", model="wise")]
    found = results(store, design(tasks(None), own), quality(0, "p0", "0-0"))
    assert "flatters itself" in audit(found, [score("p0", "0-0", 1.0)]).cautions[-1]


def test_its_cost_is_all_that_it_was_asked(answered: Results) -> None:
    found = audit(answered, [*grades(), pair("p0", "0-0", "1-0", 1.0)])
    assert (found.asked, found.seconds) == (2 * COUNT + 1, 0.5 * (2 * COUNT + 1))
    assert (found.prompt_tokens, found.completion_tokens, found.uncounted) == (100 * 2 * COUNT, 20 * 2 * COUNT, 1)


def test_one_that_grades_is_no_judge_of_pairs_for_its_audit() -> None:
    said = [score("p0", "a", 1.0), *(pair("p0", "a", f"b{n}", 1.0) for n in range(5)), pair("p0", "a", "b", 1.0, OTHER)]
    assert judges_of(said) == ((OTHER, PAIR), (JUDGE, SCORE))
    assert judges_of([]) == ()
