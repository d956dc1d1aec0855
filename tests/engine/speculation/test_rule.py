"""The rule of acceptance: whatever is drafted, the model's own distribution comes out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from engine.generation.sampling import next_token_probabilities
from engine.speculation import accept_or_resample
from engine.speculation.losslessness import distribution_p_value
from engine.types import SamplingParams
from engine.types.losslessness import SIGNIFICANCE

VOCAB = 8
DRAWS = 6000
Rule = Callable[[torch.Tensor, SamplingParams, torch.Tensor, torch.Generator, int, torch.Tensor | None], int]
ALLOWED = torch.tensor([0b10110101], dtype=torch.int32)
"""Five of the eight tokens."""


def the_rule(logits, params, seen, generator, drafted, q):  # type: ignore[no-untyped-def]
    return accept_or_resample(logits, params, seen, generator, drafted, q)[0]


def constrained(logits, params, seen, generator, drafted, q):  # type: ignore[no-untyped-def]
    """What is drafted knows nothing of what is allowed."""
    return accept_or_resample(logits, params, seen, generator, drafted, q, answer_start=1, allowed=ALLOWED)[0]


def without_residual(logits, params, seen, generator, drafted, q):  # type: ignore[no-untyped-def]
    """A common mistake: after a refusal the model's own distribution is drawn from as it is."""
    token, accepted = accept_or_resample(logits, params, seen, generator, drafted, q)
    return token if accepted else accept_or_resample(logits, params, seen, generator)[0]


def always_accepting(logits, params, seen, generator, drafted, q):  # type: ignore[no-untyped-def]
    return drafted


def p_value(
    rule: Rule, params: SamplingParams, *, one_hot: bool, seed: int = 0, allowed: torch.Tensor | None = None
) -> float:
    """Of a chi-squared test: draft from q, apply the rule, compare with the model's own p."""
    source = torch.Generator().manual_seed(seed)
    logits, draft_logits = torch.randn(VOCAB, generator=source) * 1.5, torch.randn(VOCAB, generator=source) * 1.5
    seen = torch.tensor([1, 4])
    p = next_token_probabilities(logits, params, seen, 1, allowed)
    q = next_token_probabilities(draft_logits, params, seen, 1)
    generator, drafting = torch.Generator().manual_seed(seed + 1), torch.Generator().manual_seed(seed + 2)
    counts = torch.zeros(VOCAB, dtype=torch.double)
    for _ in range(DRAWS):
        drafted = int(draft_logits.argmax()) if one_hot else int(torch.multinomial(q, 1, generator=drafting))
        counts[rule(logits, params, seen, generator, drafted, None if one_hot else q)] += 1
    possible = p > 0
    assert counts[~possible].sum() == 0, "a token came out that the model would never choose"
    if possible.sum() == 1:
        return 1.0
    expected = p[possible].double()
    return float(chisquare(counts[possible], DRAWS * expected / expected.sum()).pvalue)


SETTINGS = [
    SamplingParams(temperature=1.0),
    SamplingParams(temperature=0.7, top_p=0.8),
    SamplingParams(temperature=1.4, top_k=4),
    SamplingParams(temperature=0.9, repetition_penalty=1.5, top_p=0.95),
]
SHAPED = SamplingParams(temperature=1.0, frequency_penalty=1.0, presence_penalty=0.5, logit_bias=((0, 1.0), (2, -1.0)))


@pytest.mark.parametrize("one_hot", [True, False], ids=["one-hot", "drawn"])
@pytest.mark.parametrize("params", SETTINGS, ids=str)
def test_the_models_own_distribution_comes_out(params: SamplingParams, one_hot: bool) -> None:
    assert p_value(the_rule, params, one_hot=one_hot) > 0.001


@pytest.mark.parametrize("one_hot", [True, False], ids=["one-hot", "drawn"])
@pytest.mark.parametrize("params", [SETTINGS[1], SHAPED], ids=str)
def test_the_models_own_distribution_comes_out_of_what_is_allowed(params: SamplingParams, one_hot: bool) -> None:
    assert p_value(constrained, params, one_hot=one_hot, allowed=ALLOWED) > 0.001


@pytest.mark.parametrize("broken", [without_residual, always_accepting])
@pytest.mark.parametrize("one_hot", [True, False], ids=["one-hot", "drawn"])
def test_a_broken_rule_is_found_out(broken: Rule, one_hot: bool) -> None:
    """What would let these pass would prove nothing above."""
    assert p_value(broken, SETTINGS[0], one_hot=one_hot) < 1e-6


@given(st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=12), st.data())
def test_greedy_choice_is_the_likeliest_whatever_is_drafted(values: list[float], data: st.DataObject) -> None:
    logits = torch.tensor(values)
    drafted = data.draw(st.integers(0, len(values) - 1))
    generator, nothing = torch.Generator(), torch.empty(0, dtype=torch.long)
    token, accepted = accept_or_resample(logits, SamplingParams(), nothing, generator, drafted)
    assert token == int(logits.argmax())
    assert accepted == (token == drafted)


def test_a_draft_the_model_is_sure_of_stands_and_an_impossible_one_never() -> None:
    sure = torch.tensor([50.0, 0.0, 0.0])
    generator, nothing = torch.Generator().manual_seed(0), torch.empty(0, dtype=torch.long)
    params = SamplingParams(temperature=1.0)
    assert accept_or_resample(sure, params, nothing, generator, 0) == (0, True)
    cut = SamplingParams(temperature=1.0, top_k=1)
    for _ in range(50):
        assert accept_or_resample(sure, cut, nothing, generator, 2) == (0, False)


def test_agreeing_distributions_never_refuse() -> None:
    logits, params = torch.tensor([1.0, 0.5, -1.0]), SamplingParams(temperature=1.0)
    generator, nothing = torch.Generator().manual_seed(0), torch.empty(0, dtype=torch.long)
    p = next_token_probabilities(logits, params, nothing)
    assert all(accept_or_resample(logits, params, nothing, generator, token, p)[1] for token in [0, 1, 2] * 50)


def test_the_badges_own_test_accepts_the_rule_and_finds_a_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    p = torch.softmax(torch.randn(500, generator=torch.Generator().manual_seed(2)) * 2, 0)
    q = torch.softmax(torch.randn(500, generator=torch.Generator().manual_seed(3)) * 2, 0)
    cases = [(p, None, int(q.argmax())), (p, q, int(q.argmax()))]
    assert distribution_p_value(cases, seed=1) > SIGNIFICANCE
    monkeypatch.setattr(
        "engine.speculation.losslessness.accept_or_resample",
        lambda logits, params, seen, generator, drafted, q: (
            without_residual(logits, params, seen, generator, drafted, q),
        ),
    )
    assert distribution_p_value(cases, seed=1) < 1e-6
