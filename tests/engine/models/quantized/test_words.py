"""Words of eight codes, written out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import WeightsIntegrityError
from engine.models.quantized.integers import awq_codes, gptq_codes

IN_ORDER = 0x76543210
AWQ_S = 0x75316420
"""Codes 0 to 7 of outputs 0 to 7: the even ones first."""
HIGHEST = -1
"""Eight codes of 15; the sign bit is a part of the last."""


def words(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.int64).to(torch.int32)


def test_awq_s_word_holds_eight_outputs_the_even_ones_first() -> None:
    found = awq_codes(words([AWQ_S], [HIGHEST]), words([AWQ_S]), torch.full((1, 8), 0.5))
    assert found.codes[:, 0].tolist() == list(range(8))
    assert found.codes[:, 1].tolist() == [15] * 8
    assert found.zero[:, 0].tolist() == list(range(8))
    assert found.dequantize()[:, 1].tolist() == [(15 - zero) / 2 for zero in range(8)]


@pytest.mark.parametrize(("offset", "last"), [(1, 16), (0, 15)])
def test_gptq_s_word_holds_eight_inputs_and_its_first_format_zero_points_less_one(offset: int, last: int) -> None:
    qweight = words([IN_ORDER] * 8, [HIGHEST] * 8)
    found = gptq_codes("w", qweight, words([0x0F000010]), torch.ones(1, 8), None, offset, None)
    assert found.codes[3].tolist() == [*range(8), *[15] * 8]
    assert found.zero[:, 0].tolist() == [offset, 1 + offset, offset, offset, offset, offset, last, offset]
    assert found.dequantize()[6].tolist() == [*(code - last for code in range(8)), *[15 - last] * 8]


def test_inputs_of_gptq_belong_to_the_group_that_they_name() -> None:
    g_idx = torch.tensor([1, 0, 1, 0, 0, 0, 1, 1], dtype=torch.int32)
    scales = torch.tensor([[1.0] * 8, [10.0] * 8])
    found = gptq_codes("w", words([IN_ORDER] * 8), words([0], [0]), scales, g_idx, 0, 4)
    assert found.dequantize()[2].tolist() == [0, 1, 20, 3, 4, 5, 60, 70]
    assert found.in_groups() is None, "eight inputs are no group of 32"
    with pytest.raises(WeightsIntegrityError, match="g_idx names a group that there is not; there are 2"):
        gptq_codes("w", words([IN_ORDER] * 8), words([0], [0]), scales, g_idx + 1, 0, 4)


@given(st.integers(1, 4), st.integers(0, 2**31 - 1))
def test_codes_that_int4_takes_over_stand_for_the_same_weights(groups: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    in_features = 64 * groups
    qweight = torch.randint(-(2**31), 2**31, (in_features // 8, 16), generator=generator).to(torch.int32)
    qzeros = torch.randint(-(2**31), 2**31, (groups, 2), generator=generator).to(torch.int32)
    scales = (0.01 + torch.rand(groups, 16, generator=generator)).half()
    found = gptq_codes("w", qweight, qzeros, scales, None, 1, 64)
    known = found.in_groups()
    assert known is not None
    assert known.scale.shape == (16, 2 * groups)
    assert torch.equal(known.codes, found.codes)
    assert torch.allclose(known.dequantize(), found.dequantize().float(), rtol=2**-8, atol=1e-6)
