"""Profiles and the models they were made for, on the smallest real one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.router.operation.profiles import check_import, check_installed, current_ladder, installed_weights, read_profile
from engine import Engine
from engine.cascade import BoundaryRouter, Promise, RouterKind, RouterProfile, TierIdentity, profile_to_json
from engine.cascade.choosing.evidence import MOST_BYTES, Evidence
from engine.errors import RouterProfileError
from engine.types import Precision
from tests.conftest import SMALL
from tests.support.cascade import STRONG, WEAK, recorded


def profile(weights: str) -> RouterProfile:
    tiers = (Precision.INT4, Precision.INT8)
    return RouterProfile(
        name="Careful",
        made_on=date(2026, 3, 14),
        kind=RouterKind.ESCALATE,
        ladder=tuple(TierIdentity(model=SMALL, precision=each, weights_sha256=weights) for each in tiers),
        boundaries=(BoundaryRouter(threshold=0.4),),
        data_sha256="",
        prompts=0,
        figures={},
    )


def test_installed_weights_are_those_that_the_engine_runs(engine: Engine, models_dir: Path) -> None:
    weights = installed_weights(SMALL, models_dir)
    assert weights == engine.weights_sha256(SMALL)
    assert weights is not None
    check_installed(profile(weights), models_dir)
    assert installed_weights("no-such-model", models_dir) is None


def test_other_weights_and_missing_models_are_refused(models_dir: Path) -> None:
    with pytest.raises(RouterProfileError, match="made for other weights of smollm2-135m"):
        check_installed(profile("a" * 64), models_dir)
    missing = TierIdentity(model="no-such-model", precision=Precision.INT4, weights_sha256="a" * 64)
    elsewhere = replace(profile("a" * 64), ladder=(missing, profile("a" * 64).ladder[1]))
    with pytest.raises(RouterProfileError, match="needs no-such-model, which is not installed"):
        check_installed(elsewhere, models_dir)


def test_the_ladder_has_the_recorded_weights_and_else_the_installed_ones(models_dir: Path) -> None:
    tiers = (f"{SMALL}@int4", f"{SMALL}@int8")
    small, large = current_ladder(tiers, {tiers[0]: "a" * 64}, models_dir)
    assert small.weights_sha256 == "a" * 64
    assert large.weights_sha256 == installed_weights(SMALL, models_dir)
    with pytest.raises(RouterProfileError, match="does not say from which weights"):
        current_ladder(("no-such-model@int4",), {}, models_dir)


def test_a_file_is_read_as_it_was_written() -> None:
    assert read_profile("p.json", json.dumps(profile("a" * 64).to_dict()).encode()) == (profile("a" * 64), None)


def evidence(prompts: int = 60) -> Evidence:
    return Study.of(recorded(prompts), WEAK, STRONG, Choice.ESCALATE).evidence(0.4, {"cpu": "some"})


def test_a_file_carries_what_a_profile_is_judged_by() -> None:
    made, found = profile("a" * 64), evidence()
    assert found.held_out == 30
    assert len(found.prompts_sha256) == 60
    kept = found.figures["quality_kept"]
    assert kept.low < kept.value < kept.high
    data = profile_to_json(made, found).encode()
    assert b"What is" not in data  # prompts are known by their hashes alone
    assert read_profile("p.json", data) == (made, found)


def test_an_uploaded_profile_is_checked_against_what_is_here(models_dir: Path) -> None:
    weights = installed_weights(SMALL, models_dir)
    assert weights is not None
    promise = Promise(kind="quality", share=0.95, confidence=0.9, shown=False, more_prompts=120)
    good = check_import(replace(profile(weights), promise=promise), evidence(), recorded(60), models_dir)
    assert [remark.good for remark in good] == [True, True, True, True, False]
    assert "60 of its 60 prompts" in good[2].text
    assert "reported on 30" in good[3].text
    assert "not shown yet, about 120 more prompts" in good[4].text
    other = check_import(profile("a" * 64), evidence(), recorded(50), models_dir)
    assert "other weights here" in other[0].text
    assert "50 of its 60 prompts" in other[2].text
    old = check_import(profile(weights), None, (), models_dir)
    assert "says nothing of its prompts" in old[-1].text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree.pop("profile"), "it has no 'profile'"),
        (lambda tree: tree.update(format=9), "no router profile|format 9"),
        (lambda tree: tree["evidence"].pop("figures"), "evidence cannot be read"),
        (lambda tree: tree["evidence"].update(held_out=-1), "no number"),
        (lambda tree: tree["evidence"].update(prompts_sha256=["x"]), "no sha256"),
        (lambda tree: tree["evidence"]["figures"].update(quality=[1, 2]), "evidence cannot be read"),
        (lambda tree: tree["evidence"]["figures"].update(quality=["a", 1, 2]), "evidence cannot be read"),
    ],
)
def test_evidence_that_does_not_hold_together_is_refused(change: object, message: str) -> None:
    tree = json.loads(profile_to_json(profile("a" * 64), evidence()))
    change(tree)  # type: ignore[operator]
    with pytest.raises(RouterProfileError, match=message):
        read_profile("p.json", json.dumps(tree).encode())


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff", b"{}", b" " * (MOST_BYTES + 1), b"[" * 100_000, b"9" * 5000, b"NaN"]
)
def test_a_file_that_is_no_profile_says_so(data: bytes) -> None:
    with pytest.raises(RouterProfileError):
        read_profile("p.json", data)


def test_a_file_with_a_byte_order_mark_is_read() -> None:
    data = json.dumps(profile("a" * 64).to_dict()).encode("utf-8-sig")
    assert read_profile("p.json", data) == (profile("a" * 64), None)
