"""GGUF files of tiny models, written with the gguf package as llama.cpp's own conversion writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from tests.support.tiny import CHAT_TEMPLATE, Family, make_tiny_checkpoint

Array = npt.NDArray[Any]

OURS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Names of GGUF files by transformers'."""
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
"""Where a block holds scales in 16 bits."""


def tiny_gguf(path: Path, family: Family = "llama", encoding: str = "F16", **overrides: Any) -> Path:
    """A tiny checkpoint in the standard layout beside the file that holds the very same model; returns its folder."""
    folder = path.with_suffix("")
    make_tiny_checkpoint(folder, family, **overrides)
    write_gguf_of(folder, path, encoding)
    return folder


def write_gguf_of(folder: Path, path: Path, encoding: str = "F16", **metadata: Any) -> dict[str, Array]:
    """Write a checkpoint as GGUF, matrices in an encoding; what the file's tensors decode to, by transformers' names.

    Args:
        folder: the checkpoint.
        path: the file.
        encoding: of matrices. For those that the gguf package cannot quantize to, weights are random.
        metadata: further entries, whole numbers, numbers or texts; dots in keys written as double underscores.
    """
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    family, heads = config["model_type"], config["num_attention_heads"]
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    if config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    add_tokenizer(writer, folder)
    for key, value in metadata.items():
        add_entry(writer, key.replace("__", "."), value)
    decoded: dict[str, Array] = {}
    generator = np.random.default_rng(3)
    for name, tensor in load_file(folder / "model.safetensors").items():
        kind = GGMLQuantizationType[encoding if tensor.dim() == 2 else "F32"]
        raw = _encoded(tensor.float().numpy(), kind, generator)
        decoded[name] = gguf.dequantize(raw, kind).reshape(tuple(tensor.shape))
        if family in ("llama", "mistral") and ("q_proj" in name or "k_proj" in name):
            count = heads if "q_proj" in name else config["num_key_value_heads"]
            raw = raw.reshape(count, 2, tensor.shape[0] // count // 2, -1).swapaxes(1, 2).reshape(raw.shape)
        writer.add_tensor(_our_name(name), np.ascontiguousarray(raw), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return decoded


def add_entry(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """An entry of the metadata, of the type that its value has."""
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case list():
            writer.add_array(key, value)
        case _:
            writer.add_string(key, value)


def add_tokenizer(writer: gguf.GGUFWriter, folder: Path, words: str = "gpt-2") -> None:
    """A checkpoint's byte-level tokenizer."""
    tree = json.loads((folder / "tokenizer.json").read_text())
    special = {token["content"] for token in tree["added_tokens"] if token["special"]}
    tokens = sorted(tree["model"]["vocab"], key=tree["model"]["vocab"].get)
    ids = tree["model"]["vocab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(merge) for merge in tree["model"]["merges"]])
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_chat_template(CHAT_TEMPLATE)


def _encoded(values: Array, kind: GGMLQuantizationType, generator: np.random.Generator) -> Array:
    try:
        return gguf.quantize(values, kind)
    except NotImplementedError:  # random blocks with small scales are weights as well
        elements, block_bytes = GGML_QUANT_SIZES[kind]
        blocks = generator.integers(0, 256, (values.size // elements, block_bytes), dtype=np.uint8)
        for at in SCALES[kind.name]:
            scales = generator.normal(0, 0.001, len(blocks)).astype(np.float16)
            blocks[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
        return blocks.reshape(values.shape[0], -1)


def _our_name(name: str) -> str:
    stem, leaf = name.rsplit(".", 1)
    if stem in OURS:
        return f"{OURS[stem]}.{leaf}"
    _, _, layer, module = stem.split(".", 3)
    return f"blk.{layer}.{OURS[module]}.{leaf}"
