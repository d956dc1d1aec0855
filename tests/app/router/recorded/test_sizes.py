"""The order of tiers: by parameters, then by bits, and by time only where nobody knows."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.router.recorded.sizes import by_size, catalogue_sizes, model_sizes, unknown_sizes

SIZES = {"small": 135, "medium": 630, "large": 1777}
ORDER = ("small@int4", "small@int8", "small@bf16", "medium@int4", "large@int4", "large@bf16")


@given(st.permutations(ORDER), st.dictionaries(st.sampled_from(ORDER), st.floats(0, 100)))
def test_known_tiers_stand_by_size_whatever_they_took(tiers: list[str], seconds: dict[str, float]) -> None:
    assert by_size(tiers, SIZES, seconds) == ORDER


def test_equal_times_and_short_answers_change_nothing() -> None:
    both = ["large@int4", "medium@int4"]
    assert by_size(both, SIZES, dict.fromkeys(both, 2.11)) == ("medium@int4", "large@int4")
    assert by_size(both, SIZES, {"large@int4": 0.5, "medium@int4": 2.11}) == ("medium@int4", "large@int4")


def test_one_model_in_two_precisions_stands_by_bits() -> None:
    assert by_size(["small@bf16", "small@int4"], SIZES) == ("small@int4", "small@bf16")
    assert by_size(["small@nf4", "small@int8"], {}, {"small@nf4": 2.0, "small@int8": 1.0})[0] == "small@int8"


@pytest.mark.parametrize(("took", "place"), [(0.1, 0), (3.0, 1), (9.0, 3)])
def test_a_tier_of_unknown_size_stands_by_its_time_and_is_named(took: float, place: int) -> None:
    tiers = ["own@int4", "small@int4", "medium@int4", "large@int4"]
    seconds = {"own@int4": took, "small@int4": 1.0, "medium@int4": 4.0, "large@int4": 8.0}
    random.Random(0).shuffle(tiers)
    assert by_size(tiers, SIZES, seconds).index("own@int4") == place
    assert unknown_sizes(tiers, SIZES) == ("own@int4",)


def test_models_of_the_catalogue_are_known_without_being_installed(tmp_path: Path) -> None:
    sizes = catalogue_sizes()
    assert sizes["smollm2-135m"] < sizes["qwen2.5-coder-0.5b"] < sizes["qwen2.5-coder-1.5b"]
    assert model_sizes(tmp_path) == sizes


def test_a_folder_that_cannot_be_read_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text("")
    (tmp_path / "own" / "model.safetensors").write_bytes(b"0" * 2000)
    assert model_sizes(tmp_path)["own"] == 1000
