"""Turns a GGUF file into a standard Hugging Face folder, which transformers and vLLM open too.

Tensors are decoded piece by piece and written at once, so memory stays at a few megabytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import UnsupportedModelError
from engine.models.format.manifest import FileRecord, Manifest, sha256_of
from engine.models.sources.gguf_file import Bytes, GgufFile, GgufTensor, decode_bf16, split
from engine.models.sources.gguf_tokenizer import stop_ids, write_tokenizer
from engine.models.sources.progress import Progress, silent

WEIGHTS_FILE = "model.safetensors"

_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}

_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(source: Path, source_sha256: str, folder: Path, progress: Progress = silent) -> Manifest:
    """Write ``source`` (GGUF) into ``folder`` as config, bf16 safetensors, tokenizer and manifest.

    The manifest comes last: a folder without one is not a whole model.

    Raises:
        UnsupportedModelError: an architecture, tokenizer or tensor that is not known here.
        ValueError: ``source`` is not a GGUF file, or is cut short.
        OSError: the disk is full, or ``folder`` cannot be written.
    """
    gguf = GgufFile.open(source)
    config = _config(gguf)
    stops = stop_ids(gguf.metadata)
    generation = {"eos_token_id": stops, "pad_token_id": config["pad_token_id"], "do_sample": False}
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", generation)
    write_tokenizer(gguf.metadata, folder)
    records = {path.name: FileRecord(path.stat().st_size, sha256_of(path)) for path in sorted(folder.iterdir())}
    records[WEIGHTS_FILE] = _write_weights(gguf, folder / WEIGHTS_FILE, progress)
    manifest = Manifest(
        source_file=source.name,
        source_sha256=source_sha256,
        encodings=gguf.encodings,
        bits_per_weight=gguf.bits_per_weight,
        parameters=gguf.parameters,
        files=records,
    )
    manifest.write(folder)
    return manifest


def _config(gguf: GgufFile) -> dict[str, Any]:
    metadata = gguf.metadata
    family = metadata["general.architecture"]
    if family not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise UnsupportedModelError(f"GGUF files of the family {family} cannot be converted; these can: {known}.")
    shapes = {tensor.name: tensor.shape for tensor in gguf.tensors}

    def of_family(key: str, default: Any = None) -> Any:
        return metadata.get(f"{family}.{key}", default)

    vocabulary, hidden = shapes["token_embd.weight"]
    heads = of_family("attention.head_count")
    config = {
        "architectures": [_ARCHITECTURES[family]],
        "model_type": family,
        "dtype": "bfloat16",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": of_family("feed_forward_length"),
        "num_hidden_layers": of_family("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": of_family("attention.head_count_kv", heads),
        "hidden_act": "silu",
        "max_position_embeddings": of_family("context_length"),
        "rms_norm_eps": _shortest(of_family("attention.layer_norm_rms_epsilon")),
        "rope_theta": of_family("rope.freq_base", 10_000.0),
        "tie_word_embeddings": "output.weight" not in shapes,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
        "pad_token_id": metadata.get("tokenizer.ggml.padding_token_id"),
    }
    if family != "qwen2":  # whose projections always have a bias, and whose heads are always hidden / heads
        config["head_dim"] = of_family("attention.key_length", hidden // heads)
        config["attention_bias"] = "blk.0.attn_q.bias" in shapes
    return config


def _shortest(value: float) -> float:
    """A number stored in 32 bits as it was written: 1e-06, not 9.99999997e-07."""
    return float(str(np.float32(value)))


def _write_weights(gguf: GgufFile, path: Path, progress: Progress) -> FileRecord:
    """Stream every tensor into one safetensors file, and hash what is written."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    total = 0
    for tensor in gguf.tensors:
        end = total + 2 * tensor.elements
        header[hf_name(tensor.name)] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [total, end]}
        total = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    pieces = (piece for tensor in gguf.tensors for piece in split(tensor, rows_as_trained(gguf, tensor)))
    digest = hashlib.sha256()
    done = 0
    with path.open("wb") as file:

        def write(block: bytes) -> None:
            file.write(block)
            digest.update(block)

        write(len(text).to_bytes(8, "little"))
        write(text)
        for block in decode_bf16(pieces, threads=os.cpu_count() or 1):
            write(block)
            done += len(block)
            progress("Converting", done / total)
    return FileRecord(path.stat().st_size, digest.hexdigest())


def hf_name(name: str) -> str:
    """The name transformers gives the tensor: blk.3.attn_q.bias -> model.layers.3.self_attn.q_proj.bias."""
    match name.split("."):
        case ["blk", layer, module, leaf] if module in _INNER:
            return f"model.layers.{layer}.{_INNER[module]}.{leaf}"
        case [module, leaf] if module in _OUTER:
            return f"{_OUTER[module]}.{leaf}"
    raise UnsupportedModelError(f"The file has a tensor that is not known here: {name}.")


def rows_as_trained(gguf: GgufFile, tensor: GgufTensor) -> Bytes:
    """The tensor's bytes, its rows in the order of the original checkpoint.

    Files of the llama architecture interleave the two halves of each head in q and k, for another
    way of rotating. A row is a whole number of blocks, so rows can be put back while still encoded.
    """
    family = gguf.metadata["general.architecture"]
    module = tensor.name.split(".")[-2]
    if family != "llama" or module not in ("attn_q", "attn_k"):
        return tensor.raw
    heads = gguf.metadata[f"{family}.attention.head_count"]
    if module == "attn_k":
        heads = gguf.metadata.get(f"{family}.attention.head_count_kv", heads)
    rows = tensor.shape[0]
    order = np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(-1)
    return tensor.raw.reshape(rows, -1)[order]


def _write_json(path: Path, tree: dict[str, Any]) -> None:
    path.write_text(json.dumps(tree, indent=2) + "\n", "utf-8")
