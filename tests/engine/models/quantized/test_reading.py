"""Checkpoints that other tools quantized give the logits of the same weights in full precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.backends.local import LocalModel
from engine.models import list_models, resolve
from engine.models.decoders.weights import ROUNDED
from engine.native.kernels import library
from engine.quantization.int4 import NativeInt4Linear
from engine.quantization.nf4 import NativeNf4Linear, nf4_codes
from engine.serving.memory.pool import ModelPool
from engine.types import Backend, OptimizationConfig, Precision, RunConfig
from tests.support.loading import load_model
from tests.support.quantized_files import quantized_checkpoint
from tests.support.tiny import FAMILIES, Family

KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "awq": ("awq", {}, "dequantized from AWQ 4-bit, groups of 32"),
    "awq-64": ("awq", {"group_size": 64}, "dequantized from AWQ 4-bit, groups of 64"),
    "awq-rows": ("awq", {"group_size": -1}, "dequantized from AWQ 4-bit, a scale a row"),
    "gptq": ("gptq", {}, "dequantized from GPTQ 4-bit, groups of 32"),
    "gptq-16": ("gptq", {"group_size": 16}, "dequantized from GPTQ 4-bit, groups of 16"),
    "gptq-rest": ("gptq", {"group_size": 48}, "dequantized from GPTQ 4-bit, groups of 48"),
    "gptq-v1": ("gptq", {"checkpoint_format": "gptq"}, "dequantized from GPTQ 4-bit, groups of 32"),
    "gptq-v2": ("gptq", {"checkpoint_format": "gptq_v2"}, "dequantized from GPTQ 4-bit, groups of 32"),
    "gptq-act": ("gptq", {"desc_act": True}, "dequantized from GPTQ 4-bit, groups of 32, act-order"),
    "nf4": ("nf4", {}, "dequantized from bitsandbytes NF4"),
    "nf4-128": ("nf4", {"blocksize": 128}, "dequantized from bitsandbytes NF4"),
    "nf4-double": ("nf4", {"double": True}, "dequantized from bitsandbytes NF4, double-quantized"),
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders by kind, each made once."""
    made: dict[str, Path] = {}

    def made_of(kind: str) -> Path:
        if kind not in made:
            method, settings, _ = KINDS[kind]
            made[kind] = quantized_checkpoint(tmp_path_factory.mktemp(kind), method, **settings)
        return made[kind]

    return made_of


def load(models: Path, name: str, precision: Precision = Precision.BF16) -> LocalModel:
    model = load_model(ModelPool(models), RunConfig(model=name, optimization=OptimizationConfig.at(precision)))
    assert isinstance(model, LocalModel)
    return model


@torch.inference_mode()
def logits(model: LocalModel) -> Tensor:
    ids = torch.arange(40, 60)
    return model.decoder.logits(model.decoder.forward(ids, model.decoder.new_cache(len(ids))))


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_dequantized_model(kind: str, checkpoints: Any) -> None:
    models = checkpoints(kind)
    assert torch.equal(logits(load(models, "packed")), logits(load(models, "plain")))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["awq", "gptq", "nf4"])
@torch.inference_mode()
def test_logits_are_those_of_transformers(method: str, family: Family, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    models = quantized_checkpoint(tmp_path, method, family, tie_word_embeddings=True)
    reference = AutoModelForCausalLM.from_pretrained(models / "plain", dtype=torch.bfloat16)
    wanted = reference(torch.arange(40, 60)[None]).logits[0].float()
    got = logits(load(models, "packed"))
    assert (got - wanted).norm() < 0.03 * wanted.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_is_and_where_it_comes_from_is_told(kind: str, checkpoints: Any) -> None:
    models = checkpoints(kind)
    packed, plain = resolve("packed", models), resolve("plain", models)
    assert packed.provenance == KINDS[kind][2]
    assert packed.parameters == plain.parameters
    assert packed.weights_sha256 != plain.weights_sha256
    listed = {model.name: model for model in list_models(models)}["packed"]
    assert (listed.problem, listed.provenance) == (None, packed.provenance)


@pytest.mark.skipif(not library(), reason="the kernels of our own cannot be built here")
@pytest.mark.parametrize("kind", ["awq", "awq-64", "awq-rows", "gptq", "gptq-v1", "gptq-v2"])
def test_int4_takes_the_codes_over(kind: str, checkpoints: Any) -> None:
    checkpoint = resolve("packed", checkpoints(kind))
    model = load(checkpoints(kind), "packed", Precision.INT4)
    assert model.environment["codes"] == checkpoint.weights_sha256[:16]
    module = model.decoder._modules["layers.1.down"]  # type: ignore[attr-defined]
    assert isinstance(module, NativeInt4Linear)
    with checkpoint.open_weights() as weights:
        name = "model.layers.1.mlp.down_proj.weight"
        known = weights.find(name, (64, 128))
        assert known is not None
        assert torch.equal(module.codes().codes, known.codes)
        assert torch.equal(module.codes().scale, known.scale)
        # the minimum is a multiple of the scale, rounded to 16 bits
        assert torch.allclose(module.codes().minimum, known.minimum, rtol=2**-11, atol=0)
        assert torch.equal(known.dequantize().to(torch.bfloat16), weights.read(name))


@pytest.mark.parametrize("kind", ["gptq-act", "gptq-16", "gptq-rest", "nf4"])
def test_groups_that_int4_does_not_have_are_rounded_again_and_that_is_told(kind: str, checkpoints: Any) -> None:
    model = load(checkpoints(kind), "packed", Precision.INT4)
    assert model.environment["codes"] == ROUNDED
    exact = logits(load(checkpoints(kind), "packed"))
    assert (logits(model) - exact).norm() < 0.3 * exact.norm()


@pytest.mark.skipif(not library(), reason="the kernels of our own cannot be built here")
@pytest.mark.parametrize("kind", ["nf4", "nf4-double"])
def test_nf4_finds_the_codes_again(kind: str, checkpoints: Any) -> None:
    models = checkpoints(kind)
    model = load(models, "packed", Precision.NF4)
    module = model.decoder._modules["layers.1.down"]  # type: ignore[attr-defined]
    assert isinstance(module, NativeNf4Linear)
    with resolve("packed", models).open_weights() as weights:
        name = "model.layers.1.mlp.down_proj.weight"
        stored = weights._tensor(name).flatten()
        found, _ = nf4_codes(weights.read(name))
    assert torch.equal(found.flatten(), torch.stack([stored >> 4, stored & 15], dim=-1).flatten())


@pytest.mark.parametrize("kind", ["awq", "gptq-act", "nf4-double"])
@torch.inference_mode()
def test_the_reference_backend_runs_it_too(kind: str, checkpoints: Any) -> None:
    models = checkpoints(kind)
    run = RunConfig(model="packed", backend=Backend.REFERENCE)
    reference: Any = load_model(ModelPool(models), run)
    ids = torch.arange(40, 60)
    wanted = logits(load(models, "plain"))
    got = reference._model(ids[None]).logits[0].float()
    assert (got - wanted).norm() < 0.03 * wanted.norm()
