"""GGUF in, a standard Hugging Face folder out: the same weights, the same tokens."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from engine.errors import UnsupportedModelError, WeightsIntegrityError
from engine.models.format.manifest import Manifest, sha256_of
from engine.models.sources.conversion import convert
from engine.models.sources.gguf_file import GgufFile, _round_to_bf16
from tests.support.tiny_catalog import VOCABULARY, write_gguf


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def converted(request, tmp_path_factory):
    """(architecture, what the tensors decode to, the converted folder)."""
    folder = tmp_path_factory.mktemp(request.param)
    tied = request.param == "llama"
    expected = write_gguf(folder / "model.gguf", request.param, tied=tied)
    (folder / "out").mkdir()
    convert(folder / "model.gguf", "source-hash", folder / "out")
    return request.param, expected, folder / "out"


def test_tensors_are_the_decoded_ones_rounded_to_bf16(converted):
    _, expected, folder = converted
    written = load_file(folder / "model.safetensors")
    assert written.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(written[name], torch.from_numpy(values).bfloat16()), name


def test_transformers_opens_the_folder_with_every_weight_in_place(converted):
    architecture, expected, folder = converted
    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.config.model_type == architecture
    assert model.config.rms_norm_eps == 1e-6
    assert model.config.rope_parameters["rope_theta"] == 10_000.0
    assert model.config.tie_word_embeddings == ("lm_head.weight" not in expected)
    assert model.generation_config.eos_token_id == [2, 0]


def test_tokenizer_reads_back_what_it_wrote_and_knows_its_control_tokens(converted):
    _, _, folder = converted
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "hello wörld 12\n\t你好 🌍"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer("<|im_end|>").input_ids == [2]
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": "hello"}], tokenize=False)
    assert rendered == "<|im_start|>user\nhello<|im_end|>\n"
    # rows that only fill up the embedding are no tokens
    assert len(tokenizer) < VOCABULARY
    assert not any(token.startswith("[PAD") for token in tokenizer.get_vocab())


def test_tokenizer_splits_words_as_the_model_was_trained(converted):
    architecture, _, folder = converted
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("12") == ["1", "2"]  # though a merge would join them
    assert tokenizer.tokenize("hello") == ["hello"]
    decomposed, composed = "cafe\u0301", "caf\u00e9"
    same = tokenizer(decomposed).input_ids == tokenizer(composed).input_ids
    assert same == (architecture == "qwen2")  # which normalizes to NFC


def test_manifest_records_every_file_and_the_source(converted):
    _, expected, folder = converted
    manifest = Manifest.read(folder)
    assert {*manifest.files, "manifest.json"} == {path.name for path in folder.iterdir()}
    for name, record in manifest.files.items():
        assert (record.bytes, record.sha256) == ((folder / name).stat().st_size, sha256_of(folder / name))
    assert manifest.source_sha256 == "source-hash"
    assert manifest.parameters == sum(values.size for values in expected.values())
    assert manifest.encodings.keys() == {"Q4_1", "Q8_0", "F32"}
    assert 5.0 < manifest.bits_per_weight < 9.0
    assert manifest.provenance.startswith("dequantized from Q")


def test_progress_rises_to_one(tmp_path):
    write_gguf(tmp_path / "model.gguf")
    (tmp_path / "out").mkdir()
    seen: list[float] = []
    convert(tmp_path / "model.gguf", "", tmp_path / "out", lambda stage, fraction: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("kept", [0.0001, 0.02, 0.2, 0.5, 0.999])
def test_a_file_cut_short_is_refused(tmp_path, kept):
    path = tmp_path / "model.gguf"
    write_gguf(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises((UnsupportedModelError, WeightsIntegrityError), match=r"model\.gguf"):
        GgufFile.open(path)


def test_what_is_not_known_is_refused_rather_than_guessed(tmp_path):
    (tmp_path / "out").mkdir()
    write_gguf(tmp_path / "family.gguf", "gemma")
    with pytest.raises(UnsupportedModelError, match="gemma"):
        convert(tmp_path / "family.gguf", "", tmp_path / "out")
    write_gguf(tmp_path / "words.gguf", tokenizer__ggml__pre="deepseek")
    with pytest.raises(UnsupportedModelError, match="deepseek"):
        convert(tmp_path / "words.gguf", "", tmp_path / "out")


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=64))
def test_rounding_to_bf16_is_torchs(values):
    array = np.array(values, np.float32)
    expected = torch.from_numpy(array.copy()).bfloat16().view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(_round_to_bf16(array), expected)


def test_installed_model_makes_sense(models_dir):
    folder = models_dir / "smollm2-135m"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt").input_ids
    answer = tokenizer("The capital of France is Paris.<|im_end|>", return_tensors="pt").input_ids
    with torch.inference_mode():
        logits = model(torch.cat([prompt, answer], dim=1)).logits[0, prompt.shape[1] - 1 : -1]
    assert logits.float().log_softmax(-1).gather(-1, answer[0, :, None]).min() > -3


@pytest.mark.slow
def test_installed_tensors_are_those_transformers_itself_decodes(models_dir):
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    folder = models_dir / "smollm2-135m"
    source: Path = models_dir / json.loads((folder / "manifest.json").read_text())["source_file"]
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    theirs = load_gguf_checkpoint(str(source), return_tensors=True, model_to_load=empty)["tensors"]
    ours = load_file(folder / "model.safetensors")
    assert ours.keys() == {name for name in theirs if name != "lm_head.weight"}
    for name, tensor in ours.items():
        assert torch.equal(tensor, torch.as_tensor(theirs[name]).bfloat16()), name
