"""16 bits where AMX is: torch reads what is long, our kernels the rest, over the same weights and the same KV."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.models.decoders.hybrid_decoder import FEW_ROWS, HybridDecoder
from engine.native.compilation import processor_features, why_not
from engine.native.kernels import library
from tests.engine.models.test_decoder import assert_same_rows, chunked_logits, load_tiny, reference_logits
from tests.support.tiny import make_tiny_checkpoint

pytestmark = pytest.mark.skipif(library() is None, reason=why_not() or "the kernels were not built")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint, on a processor that is said to have AMX."""
    features = processor_features() | {"amx_bf16"}
    monkeypatch.setattr("engine.quantization.bf16.processor_features", lambda: features)
    return make_tiny_checkpoint(tmp_path, "qwen2")


@pytest.mark.parametrize("sizes", [[70], [1] * 70, [FEW_ROWS, 37], [40, 1, 1, 28]], ids=str)
@torch.inference_mode()
def test_however_a_text_is_cut_it_has_transformers_logits(folder: Path, sizes: list[int]) -> None:
    decoder = load_tiny(folder)
    assert isinstance(decoder, HybridDecoder)
    ids = torch.randint(0, 256, (70,), generator=torch.Generator().manual_seed(1))
    assert_same_rows(chunked_logits(decoder, ids, sizes), reference_logits(folder, ids))


@torch.inference_mode()
def test_few_rows_are_computed_alike_and_only_they_share_a_pass(folder: Path) -> None:
    decoder = load_tiny(folder)
    ids = torch.arange(FEW_ROWS) * 7 % 256
    wanted = chunked_logits(decoder, ids, [1] * FEW_ROWS)
    assert torch.equal(chunked_logits(decoder, ids, [FEW_ROWS]), wanted)
    assert decoder.native_for(FEW_ROWS) is decoder.native
    assert decoder.native_for(FEW_ROWS + 1) is None
