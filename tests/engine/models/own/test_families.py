"""A GGUF file of every family and encoding becomes the very model it was written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.errors import UnsupportedModelError
from engine.models.checkpoint import resolve
from engine.models.format.decoder_config import read_decoder_config
from engine.models.own.add import add
from engine.models.sources.gguf_config import ENCODINGS
from tests.support import gguf_files
from tests.support.gguf_files import tiny_gguf, write_gguf_of
from tests.support.tiny import FAMILIES, LLAMA3_ROPE, Family, make_tiny_checkpoint

TEXT = "The capital of France is Paris, 42 words; привет 🌍"


def logits(folder: Path) -> torch.Tensor:
    """Of the text, in 32 bits, so that the two differ by nothing but their weights."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        result: torch.Tensor = model(AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt").input_ids).logits
    return result


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_the_logits_of_its_checkpoint(family: Family, tmp_path: Path) -> None:
    original = tiny_gguf(tmp_path / "tiny.gguf", family, "BF16", tie_word_embeddings=family == "qwen3")
    added = add(tmp_path / "tiny.gguf", tmp_path / "models")
    assert added.family == family
    assert torch.equal(logits(added.folder), logits(original))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_gives_the_weights_that_the_package_decodes(encoding: str, tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path / "tiny", "llama", hidden_size=256, intermediate_size=256)
    expected = write_gguf_of(folder, tmp_path / "tiny.gguf", encoding)
    added = add(tmp_path / "tiny.gguf", tmp_path / "models")
    written = load_file(added.weight_files[0])
    assert written.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(written[name], torch.from_numpy(np.ascontiguousarray(values)).bfloat16()), name
    if encoding in ("F32", "F16", "BF16"):  # no less than the checkpoint's own weights
        for name, original in load_file(folder / "model.safetensors").items():
            held = original.half() if encoding == "F16" and original.dim() == 2 else original
            assert torch.equal(written[name], held.bfloat16()), name
    assert encoding in added.provenance


@pytest.mark.parametrize(
    ("rope", "metadata"),
    [
        ({"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}, {"type": "linear", "factor": 4.0}),
        (
            {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64},
            {"type": "yarn", "factor": 4.0, "original_context_length": 64},
        ),
    ],
)
def test_stretched_positions_are_those_of_the_checkpoint(
    rope: dict[str, Any], metadata: dict[str, Any], tmp_path: Path
) -> None:
    folder = make_tiny_checkpoint(tmp_path / "tiny", "llama", rope_parameters=rope)
    entries = {f"llama.rope.scaling.{key}": value for key, value in metadata.items()}
    write_gguf_of(folder, tmp_path / "tiny.gguf", **entries)
    assert frequencies(add(tmp_path / "tiny.gguf", tmp_path / "models").folder) == frequencies(folder)


def test_llama_3_s_factors_become_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_tiny_checkpoint(tmp_path / "tiny", "llama", rope_parameters=LLAMA3_ROPE)
    plain = make_tiny_checkpoint(tmp_path / "plain", "llama")
    factors = np.array(frequencies(plain)[0], np.float32) / np.array(frequencies(folder)[0], np.float32)
    assert factors.max() == 8.0
    write = gguf_files.add_tokenizer
    added_factors: list[np.ndarray[Any, Any]] = [factors]

    def with_factors(writer: GGUFWriter, folder: Path) -> None:
        write(writer, folder)
        writer.add_tensor("rope_freqs.weight", added_factors[0], raw_dtype=GGMLQuantizationType.F32)

    monkeypatch.setattr(gguf_files, "add_tokenizer", with_factors)
    write_gguf_of(folder, tmp_path / "tiny.gguf")
    assert frequencies(add(tmp_path / "tiny.gguf", tmp_path / "models").folder) == frequencies(folder)
    added_factors[0] = factors * 1.1
    write_gguf_of(folder, tmp_path / "other.gguf")
    with pytest.raises(UnsupportedModelError, match="not Llama 3's"):
        add(tmp_path / "other.gguf", tmp_path / "models")


def frequencies(folder: Path) -> tuple[tuple[float, ...], float]:
    checkpoint = resolve(str(folder), folder.parent)
    config = read_decoder_config("tiny", folder, checkpoint.architecture)
    return config.inv_freq, config.rope_scaling
