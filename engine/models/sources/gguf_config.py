"""The ``config.json`` that the metadata of a GGUF file amounts to, and the names its tensors have there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import UnsupportedModelError
from engine.models.sources.gguf_file import GgufFile, GgufTensor

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
"""By ``general.architecture``. Mistral's files mostly say llama, which computes the same."""

ENCODINGS = ("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K", "Q5_0", "Q4_K", "Q4_1", "Q4_0")
"""In which weights may be held."""

ROPE_FACTORS = "rope_freqs.weight"
"""What llama.cpp holds for Llama 3's position encoding in place of its settings."""

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
_LLAMA3_CONTEXT = 8_192
"""Tokens that Llama 3 was trained on before its position encoding was stretched."""


def weights_of(gguf: GgufFile) -> list[GgufTensor]:
    """The tensors that are weights, in the file's order."""
    return [tensor for tensor in gguf.tensors if tensor.name != ROPE_FACTORS]


def hf_name(name: str) -> str:
    """The name transformers gives the tensor: blk.3.attn_q.bias -> model.layers.3.self_attn.q_proj.bias."""
    match name.split("."):
        case ["blk", layer, module, "weight" | "bias" as leaf] if module in _INNER:
            return f"model.layers.{layer}.{_INNER[module]}.{leaf}"
        case [module, "weight" | "bias" as leaf] if module in _OUTER:
            return f"{_OUTER[module]}.{leaf}"
    raise UnsupportedModelError(f"The file has a tensor that is not known here: {name:.80}.")


def config_of(gguf: GgufFile) -> dict[str, Any]:
    """The settings of the model.

    Raises:
        UnsupportedModelError: a family, an encoding or a setting that does not run here.
        WeightsIntegrityError: the file became shorter.
    """
    metadata, name = gguf.metadata, gguf.path.name
    family = family_of(gguf)
    shapes = {tensor.name: tensor.shape for tensor in gguf.tensors}
    _check_tensors(gguf)
    heads = _whole(gguf, "attention.head_count")
    vocabulary, hidden = shapes["token_embd.weight"]
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURES[family]],
        "model_type": family,
        "dtype": "bfloat16",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": _whole(gguf, "feed_forward_length"),
        "num_hidden_layers": _whole(gguf, "block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": _whole(gguf, "attention.head_count_kv", heads),
        "hidden_act": "silu",
        "max_position_embeddings": _whole(gguf, "context_length"),
        "rms_norm_eps": _shortest(_real(gguf, "attention.layer_norm_rms_epsilon")),
        "rope_theta": _real(gguf, "rope.freq_base", 10_000.0),
        "tie_word_embeddings": "output.weight" not in shapes,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": metadata.get("tokenizer.ggml.padding_token_id"),
    }
    if config["num_attention_heads"] > hidden:
        raise UnsupportedModelError(f"{name}: {heads:,} heads cannot share {hidden:,} dimensions.")
    head_dim = _whole(gguf, "attention.key_length", hidden // heads)
    if family != "qwen2":  # whose projections always have a bias, and whose heads are always hidden / heads
        config["head_dim"] = head_dim
        config["attention_bias"] = "blk.0.attn_q.bias" in shapes
    if family == "mistral":
        del config["attention_bias"]
        config["sliding_window"] = None
    if "blk.0.ffn_gate.bias" in shapes:
        config["mlp_bias"] = True
    _check_promises(gguf, hidden, vocabulary, head_dim)
    window = _whole(gguf, "attention.sliding_window", config["max_position_embeddings"])
    if window < config["max_position_embeddings"]:
        if family != "mistral":
            raise UnsupportedModelError(f"{name}: sliding windows of attention in {family} files are not supported.")
        config["sliding_window"] = window
    if scaling := _rope_scaling(gguf, head_dim, config["rope_theta"], config["max_position_embeddings"]):
        config["rope_scaling"] = scaling
    return config


def family_of(gguf: GgufFile) -> str:
    """The family that a file says it is of.

    Raises:
        UnsupportedModelError: it is not one that runs here.
    """
    family = gguf.metadata.get("general.architecture")
    if not isinstance(family, str) or family not in ARCHITECTURES:
        told = f"of the family {family:.40}" if isinstance(family, str) else "of no family"
        raise UnsupportedModelError(
            f"{gguf.path.name} is {told}, which cannot be converted. These can: {', '.join(ARCHITECTURES)}."
        )
    return family


def _check_tensors(gguf: GgufFile) -> None:
    """Refuse encodings and tensors that are not known, before any of them is asked for."""
    name = gguf.path.name
    if experts := gguf.metadata.get(f"{family_of(gguf)}.expert_count"):
        raise UnsupportedModelError(f"{name} is a mixture of {experts} experts, which is not supported.")
    for tensor in gguf.tensors:
        if tensor.encoding.name not in ENCODINGS:
            raise UnsupportedModelError(
                f"{name} holds {tensor.name:.80} in {tensor.encoding.name}, and these encodings are read: "
                f"{', '.join(ENCODINGS)}."
            )
        if len(tensor.shape) > 2:
            raise UnsupportedModelError(f"{name}: {tensor.name:.80} has {len(tensor.shape)} dimensions, not 1 or 2.")
        if len(tensor.shape) == 1 and tensor.encoding.name not in ENCODINGS[:3]:
            raise UnsupportedModelError(f"{name} holds the vector {tensor.name:.80} in {tensor.encoding.name}.")
    embedding = next((tensor for tensor in gguf.tensors if tensor.name == "token_embd.weight"), None)
    if embedding is None or len(embedding.shape) != 2:
        raise UnsupportedModelError(
            f"{name} has no embedding (token_embd.weight), so it is no whole model: an adapter, a vision part, or one "
            "of several files, which cannot be converted by itself."
        )


def _check_promises(gguf: GgufFile, hidden: int, vocabulary: int, head_dim: int) -> None:
    """Hold what the metadata says twice against the tensors."""
    for key, found in (
        ("embedding_length", hidden),
        ("vocab_size", vocabulary),
        ("attention.value_length", head_dim),
        ("rope.dimension_count", head_dim),
    ):
        if (said := _whole(gguf, key, found)) != found:
            raise UnsupportedModelError(
                f"{gguf.path.name}: its metadata says {said:,} for {key}, and its other figures say {found:,}."
            )


def _rope_scaling(gguf: GgufFile, head_dim: int, theta: float, context: int) -> dict[str, Any] | None:
    name, metadata, family = gguf.path.name, gguf.metadata, family_of(gguf)
    factors = next((tensor for tensor in gguf.tensors if tensor.name == ROPE_FACTORS), None)
    kind = metadata.get(f"{family}.rope.scaling.type", "none")
    if kind == "none" and f"{family}.rope.scale_linear" in metadata:
        factor = _real(gguf, "rope.scale_linear")
        return {"rope_type": "linear", "factor": factor} if factor != 1.0 else None
    if factors is not None:
        if kind not in ("none", "llama3"):
            raise UnsupportedModelError(f"{name} stretches positions in two ways (rope_freqs and {kind!r:.40}).")
        return _llama3(gguf, factors, head_dim, theta, context)
    if kind == "none":
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": _real(gguf, "rope.scaling.factor")}
    if kind != "yarn":
        raise UnsupportedModelError(f"{name}: this model's RoPE scaling {kind!r:.40} is not supported.")
    for key, usual in (("yarn_ext_factor", 1.0), ("yarn_attn_factor", 1.0), ("attn_factor", 1.0)):
        if _real(gguf, f"rope.scaling.{key}", usual) != usual:
            raise UnsupportedModelError(f"{name}: rope.scaling.{key} other than {usual:g} is not supported.")
    return {
        "rope_type": "yarn",
        "factor": _real(gguf, "rope.scaling.factor"),
        "original_max_position_embeddings": _whole(gguf, "rope.scaling.original_context_length", context),
        "beta_fast": _real(gguf, "rope.scaling.yarn_beta_fast", 32.0),
        "beta_slow": _real(gguf, "rope.scaling.yarn_beta_slow", 1.0),
    }


def _llama3(gguf: GgufFile, tensor: GgufTensor, head_dim: int, theta: float, context: int) -> dict[str, Any] | None:
    """The settings that give the very factors which the file holds.

    Raises:
        UnsupportedModelError: none do.
    """
    if tensor.encoding.name != "F32" or tensor.shape != (head_dim // 2,):
        raise UnsupportedModelError(f"{gguf.path.name}: {ROPE_FACTORS} has the shape {list(tensor.shape)}.")
    found = tensor.read().view("<f4").astype(np.float64)
    if np.allclose(found, 1.0, atol=1e-4):
        return None
    factor = float(found.max())
    if math.isfinite(factor) and factor >= 1:
        for original in dict.fromkeys((_LLAMA3_CONTEXT, round(context / factor))):
            if original and np.allclose(found, _llama3_factors(head_dim, theta, factor, original), rtol=1e-3):
                return {
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": original,
                }
    raise UnsupportedModelError(f"{gguf.path.name}: its factors on positions ({ROPE_FACTORS}) are not Llama 3's.")


def _llama3_factors(head_dim: int, theta: float, factor: float, original: int) -> npt.NDArray[np.float64]:
    """What Llama 3.1 divides RoPE's frequencies by: 1 for short wavelengths, ``factor`` for long ones, smooth between
    a quarter of the original context and all of it (arXiv:2407.21783)."""
    wavelengths = 2 * np.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((original / wavelengths - 1.0) / (4.0 - 1.0), 0.0, 1.0)
    return 1 / ((1 - smooth) / factor + smooth)


def _whole(gguf: GgufFile, key: str, default: int | None = None) -> int:
    """A count of the family's settings."""
    full = f"{family_of(gguf)}.{key}"
    value = gguf.metadata.get(full, default)
    if type(value) is not int or not 1 <= value < 2**31:
        raise UnsupportedModelError(f"{gguf.path.name}: {full} must be a whole number from 1 up, {_told(value)}.")
    return value


def _real(gguf: GgufFile, key: str, default: float | None = None) -> float:
    full = f"{family_of(gguf)}.{key}"
    value = gguf.metadata.get(full, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise UnsupportedModelError(f"{gguf.path.name}: {full} must be a number above 0, {_told(value)}.")
    return value


def _told(value: Any) -> str:
    return "and is missing" if value is None else f"and is {value!r:.60}"


def _shortest(value: float) -> float:
    """A number stored in 32 bits as it was written: 1e-06, not 9.99999997e-07."""
    return float(str(np.float32(value)))
