"""Every precision on real weights: how far its logits lie from 16 bits, and what its rows may depend on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.backends.local import LocalModel
from engine.errors import WeightsIntegrityError
from engine.models.decoders.decoder import Decoder
from engine.models.decoders.native_decoder import NativeDecoder
from engine.serving.memory.pool import ModelPool
from engine.types import CPU_PRECISIONS, PRECISIONS, Message, OptimizationConfig, Precision, RunConfig
from tests.conftest import SMALL
from tests.engine.models.test_decoder import load_tiny
from tests.support.loading import load_model, open_model
from tests.support.near_ties import PARTING_ULPS, changed_choices, gap_in_ulps
from tests.support.tiny import make_tiny_checkpoint

QUANTIZED = [precision for precision in CPU_PRECISIONS if precision is not Precision.BF16]
LIMITS = {Precision.INT8: (0.02, 0.75), Precision.INT4: (0.03, 0.75), Precision.NF4: (0.60, 4.0)}
"""Largest mean KLD, and how far below the 16-bit model's best a choice may lie, in nats, on the 49 tokens below: at
least twice what was seen with and without our kernels and bf16 instructions. How many choices change is a matter of
each processor's rounding."""
TEMPLATE_TOKENS = 24
"""The chat template's opening, which no model has ever to predict."""
TEXT = (
    "The wheel is one of the oldest machines. A wheel turns around an axle, so a heavy load can be moved with "
    "little force. Early wheels were solid discs of wood; spokes came later and made them light."
)


@pytest.fixture(scope="module")
def pool(models_dir: Path) -> ModelPool:
    return ModelPool(models_dir)


def decoder_of(pool: ModelPool, precision: Precision) -> Decoder:
    run = RunConfig(model=SMALL, optimization=OptimizationConfig.at(precision))
    model = load_model(pool, run)
    assert isinstance(model, LocalModel)
    return model.decoder


def text_ids(pool: ModelPool) -> Tensor:
    return torch.tensor(open_model(pool, SMALL).tokenizer.encode_chat([Message("user", TEXT)]))


def logits(decoder: Decoder, ids: Tensor, sizes: list[int] | int) -> Tensor:
    cache = decoder.new_cache(len(ids))
    return torch.cat([decoder.logits(decoder.forward(part, cache)) for part in ids.split(sizes)])


@pytest.mark.parametrize("precision", QUANTIZED)
@torch.inference_mode()
def test_logits_stay_within_bounds_of_sixteen_bits(
    pool: ModelPool, precision: Precision, record_property: Callable[[str, object], None]
) -> None:
    ids = text_ids(pool)
    p, q = (
        logits(decoder_of(pool, wanted), ids, len(ids))[TEMPLATE_TOKENS:].double().log_softmax(-1)
        for wanted in (Precision.BF16, precision)
    )
    largest, furthest = LIMITS[precision]
    assert 1e-6 < (p.exp() * (p - q)).sum(-1).mean() < largest
    changed = changed_choices(p, q)
    assert bool((changed < furthest).all())
    record_property("changed choices", f"{precision}: {len(changed)} of {len(p)}")


@pytest.mark.parametrize("rows", [1, 2, 5, 8])
@pytest.mark.parametrize("precision", QUANTIZED)
@torch.inference_mode()
def test_rows_together_are_rows_alone(pool: ModelPool, precision: Precision, rows: int) -> None:
    decoder = decoder_of(pool, precision)
    ids = text_ids(pool)[:24]
    together, alone = logits(decoder, ids, rows), logits(decoder, ids, 1)
    if isinstance(decoder, NativeDecoder):
        assert torch.equal(together, alone)
    else:  # torch's kernels promise nothing: what is chosen may differ, at near-ties
        for one, other in zip(together, alone, strict=True):
            assert gap_in_ulps(other, int(one.argmax()), int(other.argmax())) <= PARTING_ULPS


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("precision", list(PRECISIONS))
def test_a_weight_that_is_not_finite_is_named(tmp_path: Path, precision: Precision, bad: float) -> None:
    folder = make_tiny_checkpoint(tmp_path, "qwen2")
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = bad
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(WeightsIntegrityError, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        load_tiny(folder, precision)
