"""Profiles and the models they were made for, on the smallest real one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from app.router.profiles import MOST_BYTES, check_installed, current_ladder, installed_weights, read_profile
from engine import Engine
from engine.cascade import BoundaryRouter, RouterKind, RouterProfile, TierIdentity
from engine.errors import RouterProfileError
from engine.types import Precision
from tests.conftest import SMALL


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
    assert read_profile("p.json", json.dumps(profile("a" * 64).to_dict()).encode()) == profile("a" * 64)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff", b"{}", b" " * (MOST_BYTES + 1), b"[" * 100_000, b"9" * 5000, b"NaN"]
)
def test_a_file_that_is_no_profile_says_so(data: bytes) -> None:
    with pytest.raises(RouterProfileError):
        read_profile("p.json", data)


def test_a_file_with_a_byte_order_mark_is_read() -> None:
    data = json.dumps(profile("a" * 64).to_dict()).encode("utf-8-sig")
    assert read_profile("p.json", data) == profile("a" * 64)
