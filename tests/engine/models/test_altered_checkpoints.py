"""Altered checkpoints of every family: refused in words, or read as transformers reads them; never anything else."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.support.altered import ALTERATIONS, Alteration, apply
from tests.support.oracle import Oracle
from tests.support.tiny import FAMILIES, Family, make_tiny_checkpoint

VARIANTS: dict[Family, tuple[dict[str, Any], ...]] = {
    "llama": ({}, {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}, {"dtype": "float16"}),
    "mistral": ({}, {"sliding_window": 16, "tie_word_embeddings": True}, {"num_key_value_heads": 4}),
    "qwen2": (
        {},
        {"tie_word_embeddings": True},
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    ),
    "qwen3": ({}, {"attention_bias": True, "tie_word_embeddings": True}, {"dtype": "float32"}),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Family, int], Path]:
    made: dict[tuple[Family, int], Path] = {}

    def original(family: Family, variant: int) -> Path:
        if (family, variant) not in made:
            folder = tmp_path_factory.mktemp("original") / f"{family}-{variant}"
            made[family, variant] = make_tiny_checkpoint(folder, family, **VARIANTS[family][variant])
        return made[family, variant]

    return original


def judged(oracle: Oracle, original: Path, folder: Path, alterations: list[Alteration]) -> dict[str, Any]:
    """The oracle's word on an altered copy."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder / "altered")
    apply(folder / "altered", alterations)
    return oracle.judge(folder / "altered")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("variant", [0, 1, 2])
def test_an_unaltered_checkpoint_is_read_as_transformers_reads_it(
    oracle: Oracle, originals: Callable[[Family, int], Path], tmp_path: Path, family: Family, variant: int
) -> None:
    assert judged(oracle, originals(family, variant), tmp_path / "case", [])["outcome"] == "equal"


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(4, id="a-few"),
        pytest.param(30, id="many", marks=pytest.mark.slow),
        pytest.param(150, id="all", marks=pytest.mark.full),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.timeout(3_000)
def test_altered_checkpoints_are_refused_in_words_or_read_as_transformers_reads_them(
    oracle: Oracle,
    originals: Callable[[Family, int], Path],
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Callable[[str, object], None],
    family: Family,
    cases: int,
) -> None:
    outcomes: Counter[str] = Counter()
    folder = tmp_path_factory.mktemp("case") / "case"

    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=cases < 100,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(st.integers(0, 2), ALTERATIONS)
    def holds(variant: int, alterations: list[Alteration]) -> None:
        result = judged(oracle, originals(family, variant), folder, alterations)
        outcomes[result["outcome"]] += 1
        note(json.dumps(result))
        assert result["outcome"] in ("refused", "equal"), result["why"]

    try:
        holds()
    finally:
        record_property("outcomes", dict(outcomes))
    assert outcomes.total() >= cases
