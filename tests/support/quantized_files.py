"""Tiny checkpoints as AutoAWQ, AutoGPTQ, GPTQModel and bitsandbytes save them, and what they dequantize to.

Codes, scales and zero points are drawn at random and packed here, bit by bit, after each format's definition; NF4 is
what bitsandbytes makes of the weights. Beside each lies the same model in full precision, from the formula by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.tiny import Family, make_tiny_checkpoint

Array = npt.NDArray[Any]

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight outputs lies in each 4 bits of a word, the lowest first."""


def pack_words(values: Array, order: tuple[int, ...] = tuple(range(8))) -> Array:
    """Eight values below 16 along the last axis to a word of 32 bits."""
    words = np.zeros((*values.shape[:-1], values.shape[-1] // 8), dtype=np.uint32)
    for place, which in enumerate(order):
        words |= values[..., which::8].astype(np.uint32) << np.uint32(4 * place)
    return words.view(np.int32)


def quantized_checkpoint(folder: Path, kind: str, family: Family = "llama", **settings: Any) -> Path:
    """A tiny checkpoint in ``folder / "packed"``, and the same dequantized in ``folder / "plain"``; returns ``folder``.

    Args:
        folder: made.
        kind: ``awq``, ``gptq`` or ``nf4``.
        family: of the model.
        settings: ``group_size``, and for GPTQ ``desc_act`` and ``checkpoint_format``; for NF4 ``double`` and
            ``blocksize``. All else goes to the model's configuration.
    """
    known = ("group_size", "desc_act", "checkpoint_format", "double", "blocksize")
    chosen = {key: settings.pop(key) for key in known if key in settings}
    plain = make_tiny_checkpoint(folder / "plain", family, **settings)
    weights = load_file(plain / "model.safetensors")
    packed: dict[str, Tensor] = {}
    generator = np.random.default_rng(5)
    for name, weight in weights.items():
        if weight.dim() == 2 and "layers" in name:
            parts, weights[name] = _MAKERS[kind](weight, generator, **chosen)
            packed |= {f"{name.removesuffix('.weight')}.{part}": tensor for part, tensor in parts.items()}
        else:
            packed[name] = weight
    save_file(weights, plain / "model.safetensors", {"format": "pt"})
    write_packed(folder / "packed", plain, packed, _CONFIGS[kind](**chosen))
    return folder


def write_packed(folder: Path, plain: Path, tensors: dict[str, Tensor], quantization: dict[str, Any]) -> None:
    """A checkpoint with other weights, whose configuration says how they are quantized."""
    folder.mkdir(exist_ok=True)
    for file in plain.iterdir():
        if file.name != "model.safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantization}))


def _random_codes(weight: Tensor, generator: np.random.Generator, groups: int) -> tuple[Array, Array, Array]:
    """Codes ``[in, out]``, scales in fp16 and zero points ``[groups, out]``."""
    out_features, in_features = weight.shape
    scales = generator.uniform(0.01, 0.03, (groups, out_features)).astype(np.float16)
    return (
        generator.integers(0, 16, (in_features, out_features)),
        scales,
        generator.integers(1, 16, (groups, out_features)),
    )


def _dequantized(codes: Array, scales: Array, zeros: Array, group_of: Array) -> Tensor:
    values = (codes - zeros[group_of]) * scales.astype(np.float32)[group_of]
    return torch.from_numpy(values.astype(np.float32)).T.to(torch.bfloat16).contiguous()


def _awq(weight: Tensor, generator: np.random.Generator, group_size: int = 32) -> tuple[dict[str, Tensor], Tensor]:
    in_features = weight.shape[1]
    size = in_features if group_size == -1 else group_size
    codes, scales, zeros = _random_codes(weight, generator, in_features // size)
    parts = {
        "qweight": torch.from_numpy(pack_words(codes, AWQ_ORDER)),
        "qzeros": torch.from_numpy(pack_words(zeros, AWQ_ORDER)),
        "scales": torch.from_numpy(scales),
    }
    return parts, _dequantized(codes, scales, zeros, np.arange(in_features) // size)


def _gptq(
    weight: Tensor,
    generator: np.random.Generator,
    group_size: int = 32,
    desc_act: bool = False,
    checkpoint_format: str | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    in_features = weight.shape[1]
    size = in_features if group_size == -1 else group_size
    codes, scales, zeros = _random_codes(weight, generator, -(-in_features // size))
    group_of = np.arange(in_features) // size
    if desc_act:
        group_of = group_of[generator.permutation(in_features)]
    stored = zeros if checkpoint_format == "gptq_v2" else zeros - 1
    parts = {
        "qweight": torch.from_numpy(pack_words(codes.T).T.copy()),
        "qzeros": torch.from_numpy(pack_words(stored)),
        "scales": torch.from_numpy(scales),
        "g_idx": torch.from_numpy(group_of.astype(np.int32)),
    }
    return parts, _dequantized(codes, scales, zeros, group_of)


def _nf4(
    weight: Tensor, generator: np.random.Generator, double: bool = False, blocksize: int = 64
) -> tuple[dict[str, Tensor], Tensor]:
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    # a block a row: where blocks span rows, its own dequantizing goes wrong on processors with AVX-512
    rows = weight.reshape(-1, blocksize)
    codes, state = quantize_4bit(rows, blocksize=blocksize, quant_type="nf4", compress_statistics=double)
    dequantized = dequantize_4bit(codes, state).view(weight.shape)
    state.shape = weight.shape
    saved = {f"weight.{part}": tensor for part, tensor in state.as_dict(packed=True).items()}
    return {"weight": codes, **saved}, dequantized


_MAKERS: dict[str, Any] = {"awq": _awq, "gptq": _gptq, "nf4": _nf4}


def _awq_config(group_size: int = 32) -> dict[str, Any]:
    """As AutoAWQ writes it."""
    return {
        "quant_method": "awq", "bits": 4, "group_size": group_size, "zero_point": True, "version": "gemm",
        "modules_to_not_convert": None,
    }  # fmt: skip


def _gptq_config(group_size: int = 32, desc_act: bool = False, checkpoint_format: str | None = None) -> dict[str, Any]:
    """As AutoGPTQ writes it, and newer tools with the format."""
    written = {"checkpoint_format": checkpoint_format} if checkpoint_format else {}
    return {
        "quant_method": "gptq", "bits": 4, "group_size": group_size, "damp_percent": 0.1, "desc_act": desc_act,
        "static_groups": False, "sym": False, "true_sequential": True, **written,
    }  # fmt: skip


def _nf4_config(double: bool = False, blocksize: int = 64) -> dict[str, Any]:
    """As transformers writes it."""
    return {
        "quant_method": "bitsandbytes", "_load_in_4bit": True, "_load_in_8bit": False, "load_in_4bit": True,
        "load_in_8bit": False, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": double,
        "bnb_4bit_compute_dtype": "bfloat16", "bnb_4bit_quant_storage": "uint8", "llm_int8_skip_modules": None,
        "llm_int8_threshold": 6.0, "llm_int8_enable_fp32_cpu_offload": False, "llm_int8_has_fp16_weight": False,
    }  # fmt: skip


_CONFIGS: dict[str, Any] = {"awq": _awq_config, "gptq": _gptq_config, "nf4": _nf4_config}
