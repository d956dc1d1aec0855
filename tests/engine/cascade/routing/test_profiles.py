"""Profiles: kept and read again, and refused where they do not hold."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from engine.cascade.routing.calibration import ScoreReference
from engine.cascade.routing.profiles import RouterProfile, TierIdentity
from engine.cascade.routing.promise import Promise
from engine.cascade.routing.routers import BoundaryRouter
from engine.cascade.routing.scores import SureBand, default_answer_score, learn
from engine.cascade.routing.signals import FeatureTable, answer_table, prompt_table
from engine.errors import RouterProfileError
from engine.types import NEVER, Precision, RouterKind
from tests.support.cascade import answer

SMALL = TierIdentity(model="small", precision=Precision.INT8, weights_sha256="a" * 64)
LARGE = TierIdentity(model="large", precision=Precision.INT4, weights_sha256="b" * 64)


def learned_router() -> BoundaryRouter:
    rng = np.random.default_rng(0)
    needed = rng.random(200) < 0.4
    table = FeatureTable(names=("mean_logprob",), values=(rng.normal(size=200) - needed)[:, None])
    weights = learn(table, needed).weights
    assert weights is not None
    reference = ScoreReference.of(weights.score(table))
    return BoundaryRouter(threshold=0.37, answer_weights=weights, reference=reference)


def profile(**changes: object) -> RouterProfile:
    made = RouterProfile(
        name="Evenings",
        made_on=date(2026, 3, 1),
        kind=RouterKind.ESCALATE,
        ladder=(SMALL, LARGE),
        boundaries=(learned_router(),),
        data_sha256="c" * 64,
        prompts=200,
        figures={"quality_kept": 0.97, "pgr": None},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_profile_survives_its_file_and_scores_the_same(tmp_path: Path) -> None:
    path = tmp_path / "evenings.json"
    made = profile()
    made.write(path)
    read = RouterProfile.read(path)
    assert read == made
    answers = answer_table([answer(), answer(logprobs=(-3.0,))])
    assert read.boundaries[0].answer_score(answers).tolist() == made.boundaries[0].answer_score(answers).tolist()


def test_a_hybrid_of_three_tiers_survives_too(tmp_path: Path) -> None:
    band = SureBand(keep_below=0.1, up_from=0.9)
    middle = TierIdentity(model="middle", precision=Precision.NF4, weights_sha256="d" * 64)
    boundaries = (BoundaryRouter(threshold=0.5, band=band), BoundaryRouter(threshold=NEVER, band=band))
    made = profile(kind=RouterKind.HYBRID, ladder=(SMALL, middle, LARGE), boundaries=boundaries)
    made.write(tmp_path / "p.json")
    assert RouterProfile.read(tmp_path / "p.json") == made


def test_a_profile_kept_before_answers_could_be_judged_early_is_the_same_text() -> None:
    assert "after_tokens" not in profile().to_dict()
    early = profile(after_tokens=16)
    assert RouterProfile.from_dict(early.to_dict()) == early
    with pytest.raises(RouterProfileError, match="at least one of them"):
        profile(after_tokens=0)


def test_a_promise_travels_with_the_profile_and_one_without_is_the_same_text_as_before() -> None:
    assert "promise" not in profile().to_dict()
    promise = Promise(kind="quality", share=0.95, confidence=0.9, shown=False, more_prompts=120)
    made = profile(promise=promise)
    assert RouterProfile.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert made.promise_at((0.37,)) == promise
    assert made.promise_at((0.38,)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "luck"},
        {"share": 0.0},
        {"share": float("nan")},
        {"confidence": 1.0},
        {"shown": 1},
        {"more_prompts": 0},
        {"more_prompts": 1.5},
        {"shown": True},
    ],
)
def test_promises_that_cannot_be_are_refused(changes: dict[str, object]) -> None:
    promise = Promise(kind="risk", share=0.1, confidence=0.9, shown=False, more_prompts=12)
    with pytest.raises(RouterProfileError):
        Promise.from_dict({**promise.to_dict(), **changes})


def test_without_weights_the_score_needs_no_data() -> None:
    router = BoundaryRouter(threshold=0.5)
    answers = answer_table([answer()])
    assert router.answer_score(answers).tolist() == default_answer_score(answers).tolist()
    assert router.prompt_score(prompt_table(["Hi"])).tolist() == [0.5]


@pytest.mark.parametrize(
    ("ladder", "message"),
    [
        ((SMALL,), "was made for 2 tiers, and this ladder has 1"),
        ((replace(SMALL, model="other"), LARGE), "was made for small, not other"),
        ((SMALL, replace(LARGE, precision=Precision.NF4)), "was made for large in int4, not in nf4"),
        ((SMALL, replace(LARGE, weights_sha256="e" * 64)), "was made for other weights of large"),
    ],
)
def test_other_models_are_refused_with_what_to_do(ladder: tuple[TierIdentity, ...], message: str) -> None:
    profile().check_fits((SMALL, LARGE))
    with pytest.raises(RouterProfileError, match=message) as refused:
        profile().check_fits(ladder)
    assert "record pairs with these models in the Router lab" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": " "}, "no name"),
        ({"ladder": (SMALL,)}, "two or three tiers"),
        ({"ladder": (SMALL, SMALL)}, "are the same"),
        ({"boundaries": ()}, "2 tiers need 1 thresholds"),
        ({"kind": RouterKind.ORACLE}, "cannot be deployed"),
        ({"kind": RouterKind.HYBRID}, "hybrid needs"),
        ({"data_sha256": "x"}, "no sha256"),
        ({"figures": {"pgr": float("nan")}}, "finite"),
    ],
)
def test_profiles_that_do_not_hold_together_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(RouterProfileError, match=message):
        profile(**changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree.pop("kind"), "it has no 'kind'"),
        (lambda tree: tree.update(format=9), "format 9, and this Gearbox reads format 1"),
        (lambda tree: tree.update(kind="guess"), "'guess' is not a valid RouterKind"),
        (lambda tree: tree.update(made_on="soon"), "Invalid isoformat"),
        (lambda tree: tree["boundaries"][0].update(threshold=-1), "threshold of -1"),
        (lambda tree: tree["boundaries"][0]["answer_weights"].update(coef=[]), "equally many"),
        (lambda tree: tree["ladder"][0].update(weights_sha256="123"), "no sha256"),
        (lambda tree: tree.update(ladder=5), "no router profile"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, change: object, message: str) -> None:
    tree = profile().to_dict()
    change(tree)  # type: ignore[operator]
    (tmp_path / "p.json").write_text(json.dumps(tree))
    with pytest.raises(RouterProfileError, match=message):
        RouterProfile.read(tmp_path / "p.json")


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, "9" * 5000])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    with pytest.raises(RouterProfileError, match=r"“p\.json” cannot be read"):
        RouterProfile.read(path)
    path.write_text(text)
    with pytest.raises(RouterProfileError, match=r"“p\.json” cannot be read"):
        RouterProfile.read(path)


@pytest.mark.parametrize(
    ("name", "lie"),
    [
        *(("data_sha256", lie) for lie in (None, 0, [], {}, False)),
        *(("after_tokens", lie) for lie in (True, 1.5, "3")),
        *(("prompts", lie) for lie in (-1, 10**12, None)),
        *(("figures", {name: lie}) for name in ("share", "quality", "missed") for lie in (5, -0.1, 1e300)),
    ],
)
def test_a_file_that_lies_is_no_profile(name: str, lie: object) -> None:
    tree = {**profile().to_dict(), name: lie}
    with pytest.raises(RouterProfileError):
        RouterProfile.from_dict(tree)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, 1.999, 3.0])
def test_no_profile_has_a_threshold_that_no_cascade_takes(threshold: float) -> None:
    tree = profile().to_dict()
    tree["boundaries"][0]["threshold"] = threshold
    with pytest.raises(RouterProfileError, match="between 0 and 1"):
        RouterProfile.from_dict(tree)
    for fine in (0.0, 1.0, NEVER):
        tree["boundaries"][0]["threshold"] = fine
        assert RouterProfile.from_dict(tree).boundaries[0].threshold == fine
