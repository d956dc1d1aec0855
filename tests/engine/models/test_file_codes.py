"""Codes read out of GGUF blocks, against the gguf package's own decoding, and what int4 makes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, dequantize

from engine.models.checkpoint import resolve
from engine.models.sources.file_codes import _DECODERS, FileCodes
from engine.native.kernels import library
from engine.quantization import GroupCodes
from engine.quantization.int4 import NativeInt4Linear
from engine.serving.memory.pool import ModelPool
from engine.types import OptimizationConfig, Precision, RunConfig
from tests.conftest import SMALL
from tests.support.loading import load_model


@pytest.mark.parametrize("encoding", list(_DECODERS), ids=lambda e: e.name)
def test_any_block_gives_the_weights_that_the_package_gives(encoding: GGMLQuantizationType) -> None:
    elements, block_bytes = GGML_QUANT_SIZES[encoding]
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (500, block_bytes), dtype=np.uint8)
    scales = 1 if encoding is GGMLQuantizationType.Q4_0 else 2
    blocks[:, : 2 * scales] = generator.normal(0, 0.01, (500, scales)).astype(np.float16).view(np.uint8)
    decode, known_bytes = _DECODERS[encoding]
    assert known_bytes == block_bytes
    codes, scale, minimum = (torch.from_numpy(part) for part in decode(blocks))
    assert codes.shape == (500, elements)
    assert codes.max() == 15
    got = GroupCodes(codes, scale, minimum).dequantize().numpy()
    assert np.allclose(got, dequantize(blocks, encoding), rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def published(models_dir: Path) -> GGUFReader:
    source = resolve(SMALL, models_dir).source
    assert source is not None
    return GGUFReader(source)


@pytest.mark.slow
def test_a_published_tensor_keeps_its_values(models_dir: Path, published: GGUFReader) -> None:
    """Rows of q and k are back in the order of the checkpoint; the others are as the file has them."""
    codes = resolve(SMALL, models_dir).open_codes()
    assert codes is not None
    wanted = {tensor.name: tensor for tensor in published.tensors}["blk.3.ffn_down.weight"]
    found = codes.find("model.layers.3.mlp.down_proj.weight", (576, 1_536))
    assert found is not None
    values = dequantize(wanted.data, wanted.tensor_type)
    assert np.array_equal(found.dequantize().numpy(), values)
    assert codes.find("model.embed_tokens.weight", (49_152, 576)) is None, "the embedding is held in 8 bits"
    assert codes.find("model.layers.3.mlp.down_proj.weight", (1_536, 576)) is None, "the checkpoint has another shape"
    assert codes.find("model.layers.99.mlp.down_proj.weight", (576, 1_536)) is None


@pytest.mark.skipif(not library(), reason="the kernels of our own cannot be built here")
def test_int4_of_a_q4_1_file_is_the_file(models_dir: Path) -> None:
    """Every matrix of every layer: not one weight is rounded again."""
    codes = resolve(SMALL, models_dir).open_codes()
    assert codes is not None
    pool = ModelPool(models_dir)
    run = RunConfig(model=SMALL, optimization=OptimizationConfig.at(Precision.INT4))
    decoder = load_model(pool, run).decoder  # type: ignore[attr-defined]
    shapes = decoder.config.tensors()
    for i in range(decoder.config.n_layers):
        for name, sources in (
            ("qkv", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
            ("o", ("self_attn.o_proj",)),
            ("gate_up", ("mlp.gate_proj", "mlp.up_proj")),
            ("down", ("mlp.down_proj",)),
        ):
            module = decoder._modules[f"layers.{i}.{name}"]
            assert isinstance(module, NativeInt4Linear)
            parts = [
                codes.find(f"model.layers.{i}.{source}.weight", shapes[f"model.layers.{i}.{source}.weight"])
                for source in sources
            ]
            wanted = torch.cat([part.dequantize() for part in parts if part is not None])
            assert torch.equal(module.codes().dequantize(), wanted), (i, name)


def test_an_altered_file_is_not_read(models_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = resolve(SMALL, models_dir)
    altered = tmp_path / "altered.gguf"
    altered.write_bytes(b"GGUF and nothing more")
    assert replace(checkpoint, source=altered).open_codes() is None
    assert "altered" in caplog.text
    assert replace(checkpoint, source=tmp_path / "gone.gguf").open_codes() is None
    assert isinstance(checkpoint.open_codes(), FileCodes)
