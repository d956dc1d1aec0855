"""The KLD of a configuration: a mean over tokens, as the lab's, or why there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.experiments.results.arrays import Results
from app.experiments.results.divergence import Kld, kld_of
from app.experiments.results.table import table_of
from app.experiments.statistics import Grouped
from app.store import ExperimentState, RunStore
from tests.support.experiments import configuration, design, quality, read, sums


def found(results: Results, *, place: int = 1) -> Kld | str:
    return kld_of(results, place, np.ones(len(results.prompt_ids), dtype=bool))


def test_it_is_a_mean_over_tokens_with_an_interval_over_prompts(store: RunStore) -> None:
    tasks = sums(3)
    measured = {"sum 0": (0.1, 10), "sum 1": (0.2, 20), "sum 2": (0.4, 70)}
    cells = [quality(1, id, kld=kld, kld_tokens=tokens) for id, (kld, tokens) in measured.items()]
    kld = found(read(store, design(tasks), *cells))
    assert isinstance(kld, Kld)
    assert kld.mean == pytest.approx((1 + 4 + 28) / 100)
    assert (kld.prompts, kld.tokens) == (3, 100)
    assert kld.interval is not None
    assert kld.interval.low < kld.mean < kld.interval.high
    assert kld.value == "0.330 nats per token"
    assert kld.text.startswith(f"KLD from 16 bits is 0.330 nats per token ({kld.range}, 95 %) along the baseline's ")
    assert "how alike the two models are, not how good" in kld.text


def test_one_prompt_has_no_interval(store: RunStore) -> None:
    kld = found(read(store, design(sums(1)), quality(1, "sum 0", kld=0.01, kld_tokens=7)))
    assert isinstance(kld, Kld)
    assert (kld.interval, kld.range) == (None, "")
    assert "0.0100 nats per token along" in kld.text


def test_only_the_prompts_looked_at_count(store: RunStore) -> None:
    cells = [quality(1, f"sum {n}", kld=float(n), kld_tokens=5) for n in range(3)]
    kld = kld_of(read(store, design(sums(3)), *cells), 1, np.array([False, True, True]))
    assert isinstance(kld, Kld)
    assert kld.mean == 1.5


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 500), st.integers(0, 5)), min_size=1, max_size=30))
def test_groups_change_no_mean(prompts: list[tuple[float, int, int]]) -> None:
    values, sizes, groups = map(np.array, zip(*prompts, strict=True))
    pooled = Grouped.pooled(values * sizes, sizes, groups)
    assert pooled.mean == pytest.approx(np.average(values, weights=sizes), abs=1e-12)
    assert len(pooled) == len(set(groups.tolist()))


def test_without_one_it_says_why(store: RunStore) -> None:
    tasks = sums(2)
    other = design(tasks, [configuration("int8"), configuration("int4")], name="Other")
    assert "“int8” is not in 16 bits" in str(found(read(store, other)))
    tried = read(store, design(tasks, name="Tried"), quality(1, "sum 0", no_kld="There is no room."))
    assert found(tried) == "There is no room."
    begun = read(store, design(tasks))
    assert "once all answers are there" in str(found(begun))
    over = replace(begun, kept=replace(begun.kept, state=ExperimentState.DONE))
    assert "It was not measured" in str(found(over))


def test_a_terminal_has_it_beside_the_scores(store: RunStore) -> None:
    tasks = sums(2)
    cells = [quality(0, "sum 0", 1.0), quality(1, "sum 0", 1.0, kld=0.0123, kld_tokens=4)]
    head, first, second = table_of(read(store, design(tasks), *cells)).splitlines()
    assert "KLD per token" in head
    assert "0.0123 nats" in second
    assert "nats" not in first
    assert "KLD" not in table_of(read(store, design(tasks, name="None"), cells[0]))
