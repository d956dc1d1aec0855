"""Which quantized checkpoints of other tools are read, as their ``config.json`` says it. No weight is read here.

AWQ as AutoAWQ writes it (arXiv:2306.00978), GPTQ as AutoGPTQ and GPTQModel do (arXiv:2210.17323), and NF4 as
bitsandbytes does (arXiv:2305.14314). What is held otherwise is refused by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from engine.errors import UnsupportedModelError

QUANTIZATIONS = ("AWQ in 4 bits (version gemm)", "GPTQ in 4 bits", "bitsandbytes NF4")
"""What is read."""

_LARGEST_GROUP = 2**20
_INT4_GROUP = 32
"""Weights that share a scale in int4 here; larger groups are several of these."""
_WHOLE_ROW = -1


class Method(StrEnum):
    """Whose layout it is."""

    AWQ = "AWQ"
    GPTQ = "GPTQ"
    NF4 = "bitsandbytes NF4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How a checkpoint holds the matrices of its layers."""

    method: Method
    group_size: int | None = None
    """Weights of a row that share a scale; ``None`` for all of them, and for NF4, whose tensors say it themselves."""
    zero_offset: int = 0
    """Added to the zero points that are stored: 1 in GPTQ's first format."""
    act_order: bool = False
    """Whether groups are made of inputs that do not lie side by side (GPTQ's ``desc_act``)."""
    nested: bool = False
    """Whether the scales are quantized too (NF4's double quantization)."""

    @property
    def provenance(self) -> str:
        """Where the 16-bit weights come from, in words."""
        if self.method is Method.NF4:
            return f"dequantized from {self.method}{', double-quantized' if self.nested else ''}"
        groups = f"groups of {self.group_size}" if self.group_size else "a scale a row"
        return f"dequantized from {self.method} 4-bit, {groups}{', act-order' if self.act_order else ''}"

    @property
    def keeps_codes(self) -> bool:
        """Whether int4 takes over its codes."""
        if self.method is Method.NF4:
            return False
        return self.group_size is None or (self.group_size % _INT4_GROUP == 0 and not self.act_order)


def read_quantization(name: str, config: Mapping[str, Any]) -> Quantization | None:
    """What ``config.json`` says of it; ``None`` for a checkpoint in full precision.

    Args:
        name: what the user calls the model; it begins the errors' sentences.
        config: the settings.

    Raises:
        UnsupportedModelError: it is quantized in a way that is not read here.
    """
    if config.get("compression_config") is not None:
        _refuse(name, "compressed-tensors")
    settings = config.get("quantization_config")
    if settings is None:
        return None
    if not isinstance(settings, Mapping):
        _refuse(name, "an unnamed method")
    method = settings.get("quant_method")
    if method is None and ("load_in_4bit" in settings or "load_in_8bit" in settings):
        method = "bitsandbytes"  # which wrote no name at first
    match method:
        case "awq":
            return _awq(name, settings)
        case "gptq":
            return _gptq(name, settings)
        case "bitsandbytes":
            return _nf4(name, settings)
        case str():
            _refuse(name, f"{method:.40}")
        case _:
            _refuse(name, "an unnamed method")


def _awq(name: str, settings: Mapping[str, Any]) -> Quantization:
    version = settings.get("version", settings.get("format", "gemm"))
    if settings.get("backend") == "llm-awq":
        version = "gemv of llm-awq"
    if not isinstance(version, str) or version.lower() != "gemm":
        _refuse(name, f"AWQ, version {version!s:.40}")
    _check_bits(name, "AWQ", settings.get("bits", settings.get("w_bit")))
    if settings.get("zero_point", True) is not True:
        _refuse(name, "AWQ without zero points")
    return Quantization(
        method=Method.AWQ, group_size=_group_size(name, settings.get("group_size", settings.get("q_group_size")))
    )


def _gptq(name: str, settings: Mapping[str, Any]) -> Quantization:
    _check_bits(name, "GPTQ", settings.get("bits"))
    kind = settings.get("checkpoint_format") or settings.get("format") or "gptq"
    if settings.get("is_marlin_format"):
        kind = "marlin"
    if kind not in ("gptq", "gptq_v2"):
        _refuse(name, f"GPTQ, checkpoint_format {kind!s:.40}")
    if settings.get("dynamic"):
        _refuse(name, "GPTQ, layers of several kinds (dynamic)")
    if settings.get("pack_dtype", "int32") != "int32":
        _refuse(name, f"GPTQ, packed in {settings['pack_dtype']!s:.40}")
    return Quantization(
        method=Method.GPTQ,
        group_size=_group_size(name, settings.get("group_size")),
        zero_offset=int(kind == "gptq"),
        act_order=_flag(name, settings, "desc_act"),
    )


def _nf4(name: str, settings: Mapping[str, Any]) -> Quantization:
    if not _flag(name, settings, "load_in_4bit") or _flag(name, settings, "load_in_8bit"):
        _refuse(name, "bitsandbytes int8")
    if (kind := settings.get("bnb_4bit_quant_type", "fp4")) != "nf4":
        _refuse(name, f"bitsandbytes {kind!s:.40}")
    if (storage := settings.get("bnb_4bit_quant_storage") or "uint8") != "uint8":
        _refuse(name, f"bitsandbytes NF4, stored as {storage!s:.40}")
    return Quantization(method=Method.NF4, nested=_flag(name, settings, "bnb_4bit_use_double_quant"))


def _check_bits(name: str, method: str, bits: Any) -> None:
    if type(bits) is not int or bits != 4:
        _refuse(name, f"{method} in {bits!s:.40} bits" if bits is not None else f"{method}, its bits not said")


def _group_size(name: str, value: Any) -> int | None:
    if type(value) is not int or not (value == _WHOLE_ROW or 1 <= value <= _LARGEST_GROUP):
        raise UnsupportedModelError(
            f"{name}: group_size in quantization_config must be -1 or a whole number from 1 to {_LARGEST_GROUP:,}, "
            f"and is {value!r:.80}."
        )
    return None if value == _WHOLE_ROW else value


def _flag(name: str, settings: Mapping[str, Any], key: str) -> bool:
    value = settings.get(key)
    if not isinstance(value, bool | None):
        raise UnsupportedModelError(
            f"{name}: {key} in quantization_config must be true or false, and is {value!r:.80}."
        )
    return bool(value)


def _refuse(name: str, what: str) -> NoReturn:
    raise UnsupportedModelError(
        f"{name} is already quantized ({what}), which is not read. Of quantized checkpoints, these are: "
        f"{', '.join(QUANTIZATIONS)}. Or choose its full-precision checkpoint: it is quantized here."
    )
