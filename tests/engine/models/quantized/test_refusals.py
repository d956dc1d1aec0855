"""Quantized checkpoints that are not read, or not what they say, are refused in a sentence."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from engine.errors import GearboxError, UnsupportedModelError, WeightsIntegrityError
from engine.models import list_models, resolve
from engine.models.format.architecture import Architecture
from engine.models.sources import hub
from tests.support.altered import WEIGHT_ALTERATIONS, Alteration, Stored, apply, read_weights, write_weights
from tests.support.quantized_files import quantized_checkpoint
from tests.support.tiny import make_tiny_checkpoint

KINDS = ("awq", "gptq", "nf4", "nf4-double")
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False}
NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
DOWN = "model.layers.1.mlp.down_proj"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A quantized checkpoint of each kind."""
    folders = {}
    for kind in KINDS:
        method, _, double = kind.partition("-")
        folder = tmp_path_factory.mktemp(kind)
        folders[kind] = quantized_checkpoint(folder, method, **({"double": True} if double else {})) / "packed"
    return folders


@pytest.fixture
def copied(originals: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one that a test may alter, in a models folder."""

    def copy(kind: str) -> Path:
        return shutil.copytree(originals[kind], tmp_path / "models" / "mine")

    return copy


def set_quantization(folder: Path, settings: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": settings}))


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path)


def read_all(folder: Path) -> None:
    """Whatever a load in any precision reads."""
    checkpoint = resolve("mine", folder.parent)
    with checkpoint.open_weights() as weights:
        for name, shape in checkpoint.architecture.tensors().items():
            assert tuple(weights.read(name).shape) == shape
            if known := weights.find(name, shape):
                assert bool(known.scale.half().isfinite().all())
                assert bool(known.minimum.half().isfinite().all())


REFUSED: dict[str, tuple[Any, str]] = {
    "fp8": ({"quant_method": "fp8"}, "already quantized .fp8."),
    "compressed-tensors": ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
    "hqq": ({"quant_method": "hqq"}, "hqq"),
    "aqlm": ({"quant_method": "aqlm"}, "aqlm"),
    "mxfp4": ({"quant_method": "mxfp4"}, "mxfp4"),
    "no name": ({"bits": 4}, "an unnamed method"),
    "a number": (7, "an unnamed method"),
    "AWQ gemv": (AWQ | {"version": "gemv"}, "AWQ, version gemv"),
    "AWQ of llm-awq": (AWQ | {"backend": "llm-awq"}, "gemv of llm-awq"),
    "AWQ in 3 bits": (AWQ | {"bits": 3}, "AWQ in 3 bits"),
    "AWQ without bits": ({"quant_method": "awq"}, "AWQ, its bits not said"),
    "AWQ without zeros": (AWQ | {"zero_point": False}, "AWQ without zero points"),
    "AWQ's group 0": (AWQ | {"group_size": 0}, "group_size in quantization_config .* 0"),
    "AWQ's group true": (AWQ | {"group_size": True}, "group_size"),
    "GPTQ in 8 bits": (GPTQ | {"bits": 8}, "GPTQ in 8 bits"),
    "GPTQ in 4.0 bits": (GPTQ | {"bits": 4.0}, "GPTQ in 4.0 bits"),
    "GPTQ marlin": (GPTQ | {"checkpoint_format": "marlin"}, "checkpoint_format marlin"),
    "GPTQ marlin of old": (GPTQ | {"is_marlin_format": True}, "checkpoint_format marlin"),
    "GPTQ dynamic": (GPTQ | {"dynamic": {"-:.*down.*": {}}}, "layers of several kinds"),
    "GPTQ in int16": (GPTQ | {"pack_dtype": "int16"}, "packed in int16"),
    "GPTQ's order a text": (GPTQ | {"desc_act": "yes"}, "desc_act in quantization_config must be true or false"),
    "bitsandbytes int8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes int8"),
    "int8 of old": ({"load_in_8bit": True}, "bitsandbytes int8"),
    "bitsandbytes fp4": (NF4 | {"bnb_4bit_quant_type": "fp4"}, "bitsandbytes fp4"),
    "bitsandbytes bf16": (NF4 | {"bnb_4bit_quant_storage": "bfloat16"}, "stored as bfloat16"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_read_is_refused_by_its_name_before_it_is_downloaded(kind: str, tmp_path: Path) -> None:
    quantization, why = REFUSED[kind]
    folder = make_tiny_checkpoint(tmp_path / "mine", "llama") if kind == "fp8" else tmp_path / "mine"
    folder.mkdir(exist_ok=True)
    config = {"model_type": "llama", "quantization_config": quantization}
    with pytest.raises(UnsupportedModelError, match=why):
        Architecture.from_config("mine", config)
    if "group_size" not in why and "desc_act" not in why:
        with pytest.raises(UnsupportedModelError, match=r"AWQ in 4 bits .version gemm., GPTQ in 4 bits, bitsandbytes"):
            Architecture.from_config("mine", config)


def test_the_older_name_of_compressed_tensors_is_known(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="compressed-tensors"):
        Architecture.from_config("mine", {"model_type": "llama", "compression_config": {"format": "pack"}})


@pytest.mark.parametrize("quantization", [AWQ, GPTQ, NF4], ids=["awq", "gptq", "nf4"])
def test_full_precision_that_calls_itself_quantized_is_refused(quantization: Any, tmp_path: Path) -> None:
    set_quantization(make_tiny_checkpoint(tmp_path / "mine", "llama"), quantization)
    with pytest.raises(WeightsIntegrityError, match="none of its weights is"):
        resolve("mine", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_without_a_word_in_the_configuration_are_refused(kind: str, copied: Callable[[str], Path]) -> None:
    folder = copied(kind)
    set_quantization(folder, None)
    with pytest.raises(UnsupportedModelError, match=r"its config\.json must say how"):
        resolve("mine", folder.parent)


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_a_weight_is_needed(kind: str, copied: Callable[[str], Path]) -> None:
    folder = copied(kind)
    whole = read_weights(folder / "model.safetensors")
    for name in [name for name in whole if name.startswith(DOWN) and not name.endswith("g_idx")]:
        write_weights(folder / "model.safetensors", {key: part for key, part in whole.items() if key != name})
        with pytest.raises(WeightsIntegrityError, match=rf"{re.escape(name)} is missing, without which"):
            read_all(folder)


def test_groups_are_needed_with_act_order_alone(copied: Callable[[str], Path]) -> None:
    folder = copied("gptq")
    edit(folder, lambda tensors: tensors.pop(f"{DOWN}.g_idx"))
    read_all(folder)
    set_quantization(folder, GPTQ | {"desc_act": True})
    with pytest.raises(WeightsIntegrityError, match=r"down_proj.g_idx is missing"):
        resolve("mine", folder.parent)


SHAPES: dict[str, tuple[str, str, Any, str]] = {
    "AWQ's codes turned": ("awq", "qweight", lambda t: t.T.contiguous(), "qweight has the shape"),
    "AWQ's scales fewer": ("awq", "scales", lambda t: t[:-1], "scales has the shape"),
    "AWQ's zeros as numbers": ("awq", "qzeros", lambda t: t.float(), "in F32, and config.json promises"),
    "GPTQ's codes wider": ("gptq", "qweight", lambda t: torch.cat([t, t]), "qweight has the shape"),
    "GPTQ's scales as codes": ("gptq", "scales", lambda t: t.to(torch.int32), "scales has the shape"),
    "NF4's codes fewer": ("nf4", "weight", lambda t: t[:-1], "weight has the shape"),
    "NF4's maxima fewer": ("nf4", "weight.absmax", lambda t: t[:-3], "absmax has the shape"),
    "NF4's levels fewer": ("nf4", "weight.quant_map", lambda t: t[:-1], "quant_map has the shape"),
    "NF4's inner maxima more": ("nf4-double", "weight.nested_absmax", lambda t: torch.cat([t] * 9), "nested_absmax"),
}


@pytest.mark.parametrize("fault", SHAPES)
def test_parts_of_another_shape_or_type_are_refused_without_reading_them(
    fault: str, copied: Callable[[str], Path]
) -> None:
    kind, part, change, why = SHAPES[fault]
    folder = copied(kind)
    edit(folder, lambda tensors: tensors.update({f"{DOWN}.{part}": change(tensors[f"{DOWN}.{part}"])}))
    with pytest.raises(WeightsIntegrityError, match=why):
        resolve("mine", folder.parent)
    assert why in str({model.name: model for model in list_models(folder.parent)}["mine"].problem)


CONTENTS: dict[str, tuple[str, str, Any, str]] = {
    "a scale that is none": ("awq", "scales", lambda t: t * torch.nan, "not a finite number"),
    "a group too many": ("gptq", "g_idx", lambda t: t + 1, "g_idx names a group that there is not; there are 4"),
    "a group before the first": ("gptq", "g_idx", lambda t: t - 9, "g_idx names a group that there is not"),
    "levels that are none": ("nf4", "weight.quant_map", lambda t: t / 0, "not a finite number"),
}


@pytest.mark.parametrize("fault", CONTENTS)
def test_numbers_that_cannot_be_are_refused(fault: str, copied: Callable[[str], Path]) -> None:
    kind, part, change, why = CONTENTS[fault]
    folder = copied(kind)
    edit(folder, lambda tensors: tensors.update({f"{DOWN}.{part}": change(tensors[f"{DOWN}.{part}"])}))
    with pytest.raises(WeightsIntegrityError, match=why):
        read_all(folder)


STATES: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "are no JSON"),
    "deep": (b"[" * 500, "are no JSON"),
    "a list": (b"[1]", "no JSON object"),
    "FP4": ({"quant_type": "fp4"}, "quantized as fp4, and only nf4 is read"),
    "another shape": ({"shape": [128, 64]}, r"shape is \[128, 64\], and should be \[64, 128\]"),
    "a shape without end": ({"shape": [10**300]}, "shape is"),
    "another block": ({"blocksize": 128}, "blocksize is 128, for 8,192 numbers in 128 blocks"),
    "no block": ({"blocksize": 0}, "blocksize is 0"),
    "a block of one": ({"blocksize": True}, "blocksize is True"),
    "an inner block": ({"nested_blocksize": 7}, "nested_blocksize is 7"),
    "an offset in words": ({"nested_offset": "0.5"}, "nested_offset is '0.5'"),
}


@pytest.mark.parametrize("fault", STATES)
def test_settings_that_contradict_the_tensors_are_refused(fault: str, copied: Callable[[str], Path]) -> None:
    change, why = STATES[fault]
    folder = copied("nf4-double")
    name = f"{DOWN}.weight.quant_state.bitsandbytes__nf4"

    def replace(tensors: dict[str, torch.Tensor]) -> None:
        raw = change
        if isinstance(change, dict):
            raw = json.dumps(json.loads(bytes(tensors[name].tolist())) | change).encode()
        tensors[name] = torch.tensor(list(raw), dtype=torch.uint8)

    edit(folder, replace)
    with pytest.raises((WeightsIntegrityError, UnsupportedModelError), match=why):
        read_all(folder)


def test_a_bias_that_the_model_has_no_place_for_must_be_zero(copied: Callable[[str], Path]) -> None:
    folder = copied("gptq")
    edit(folder, lambda tensors: tensors.update({f"{DOWN}.bias": torch.zeros(64)}))
    read_all(folder)
    edit(folder, lambda tensors: tensors.update({f"{DOWN}.bias": torch.ones(64)}))
    with pytest.raises(WeightsIntegrityError, match=r"down_proj.bias is not zero"):
        read_all(folder)


def test_a_weight_that_is_there_twice_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("awq")
    edit(folder, lambda tensors: tensors.update({f"{DOWN}.qweight.weight": torch.zeros(64)}))
    with pytest.raises(WeightsIntegrityError, match="belongs to no llama model"):
        resolve("mine", folder.parent)


def test_matrices_that_were_left_in_full_precision_are_read_as_they_are(
    originals: dict[str, Path], copied: Callable[[str], Path]
) -> None:
    folder = copied("awq")
    plain = load_file(originals["awq"].parent / "plain" / "model.safetensors")

    def leave(tensors: dict[str, torch.Tensor]) -> None:
        for part in ("qweight", "qzeros", "scales"):
            del tensors[f"{DOWN}.{part}"]
        tensors[f"{DOWN}.weight"] = plain[f"{DOWN}.weight"]

    edit(folder, leave)
    with resolve("mine", folder.parent).open_weights() as weights:
        assert torch.equal(weights.read(f"{DOWN}.weight"), plain[f"{DOWN}.weight"])
        assert weights.find(f"{DOWN}.weight", (64, 128)) is None


def test_scales_that_16_bits_cannot_hold_are_not_taken_over(copied: Callable[[str], Path]) -> None:
    folder = copied("awq")
    edit(folder, lambda tensors: tensors.update({f"{DOWN}.scales": tensors[f"{DOWN}.scales"].float() * 1e7}))
    with resolve("mine", folder.parent).open_weights() as weights:
        assert weights.find(f"{DOWN}.weight", (64, 128)) is None
        assert bool(weights.read(f"{DOWN}.weight").isfinite().all())


def test_a_folder_with_a_gguf_file_says_what_to_do_with_it(tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path / "mine", "llama")
    (folder / "model.safetensors").rename(folder / "tiny-q4_0.gguf")
    with pytest.raises(UnsupportedModelError, match=r"tiny-q4_0\.gguf beside its config.json. Add that file"):
        resolve("mine", tmp_path)


def test_a_hub_repository_that_is_quantized_counts_as_whole(originals: dict[str, Path], tmp_path: Path) -> None:
    assert hub._what_is_lacking("org/name", originals["awq"]) is None
    folder = shutil.copytree(originals["awq"], tmp_path / "cut")
    apply(folder, [("damage", "cut", 100)])
    assert "truncated" in str(hub._what_is_lacking("org/name", folder))


CONFIGS = st.sampled_from(
    [AWQ, GPTQ, NF4, GPTQ | {"desc_act": True}, AWQ | {"group_size": 64}, AWQ | {"group_size": -1}]
)
RELABELLED = st.tuples(st.just("relabel"), st.integers(0, 60), st.sampled_from(["F32", "I32", "U8", "BF16", "F16"]))
SCRAMBLED = st.tuples(st.just("scramble"), st.integers(0, 60), st.integers(0, 5))
RECONFIGURED = st.tuples(st.just("configure"), CONFIGS)


def alter(folder: Path, alteration: Alteration) -> None:
    name, *arguments = alteration
    path = folder / "model.safetensors"
    match name, arguments:
        case "configure", [quantization]:
            set_quantization(folder, quantization)
        case "relabel" | "scramble", [index, how] if path.exists():
            with suppress(ValueError, KeyError, TypeError, IndexError):  # damaged before
                tensors = read_weights(path)
                chosen = tensors[sorted(tensors)[index % len(tensors)]]
                _damage(chosen, how)
                write_weights(path, tensors)
        case _:
            apply(folder, [alteration])


def _damage(tensor: Stored, how: str | int) -> None:
    """Its bytes read as another type, or other bytes."""
    if isinstance(how, str):
        width = {"F32": 4, "I32": 4, "U8": 1, "BF16": 2, "F16": 2}[how]
        tensor.dtype, tensor.shape = how, [len(tensor.data) // width]
    else:
        tensor.data = np.random.default_rng(how).bytes(len(tensor.data)) if how else b"\xff" * len(tensor.data)


@settings(deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(KINDS),
    st.lists(st.one_of(WEIGHT_ALTERATIONS, RELABELLED, SCRAMBLED, SCRAMBLED, RECONFIGURED), min_size=1, max_size=3),
)
@example("nf4", [("scramble", 3, 0)])
def test_altered_checkpoints_are_refused_in_words_or_read(
    originals: dict[str, Path], kind: str, alterations: list[Alteration]
) -> None:
    folder = originals[kind].parent / "altered" / "mine"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(originals[kind], folder)
    for alteration in alterations:
        alter(folder, alteration)
    with suppress(GearboxError):
        read_all(folder)
