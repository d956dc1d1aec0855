"""What the forward pass needs to know of a checkpoint: its architecture, and the numbers RoPE turns by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from engine.cache import KVCache
from engine.errors import UnsupportedModelError
from engine.models.format.architecture import Architecture
from engine.types import KVDtype

_BUILT_IN_REFUSALS = (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, OSError)


def refusals() -> tuple[type[Exception], ...]:
    """What transformers raises at a configuration that it does not take: it says nowhere what else."""
    from huggingface_hub.errors import StrictDataclassError

    return (StrictDataclassError, *_BUILT_IN_REFUSALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig(Architecture):
    """An architecture, with what is computed from its configuration."""

    norm_eps: float
    windows: tuple[int | None, ...]
    """Sliding attention window of each layer, in tokens; ``None`` sees everything."""
    inv_freq: tuple[float, ...]
    """RoPE's inverse frequencies, one for each pair of dimensions."""
    rope_scaling: float
    """Factor on RoPE's cosine and sine (YaRN's attention factor; 1 elsewhere)."""

    @classmethod
    def from_hf(cls, config: Any) -> DecoderConfig:
        """Read the transformers config of a supported family.

        Raises:
            UnsupportedModelError: one of its features is not run by this decoder.
        """
        name = config.name_or_path or "This model"
        architecture = Architecture.from_config(name, config.to_dict())
        inv_freq, rope_scaling = _rope(name, config, architecture.head_dim)
        return cls(
            **asdict(architecture),
            norm_eps=config.rms_norm_eps,
            windows=_windows(name, config),
            inv_freq=inv_freq,
            rope_scaling=rope_scaling,
        )

    def derived(self) -> dict[str, Any]:
        """What is computed from the configuration, as JSON has it."""
        return {
            "norm_eps": float(self.norm_eps),
            "windows": list(self.windows),
            "inv_freq": list(self.inv_freq),
            "rope_scaling": self.rope_scaling,
        }

    @classmethod
    def from_derived(cls, architecture: Architecture, derived: Mapping[str, Any]) -> DecoderConfig:
        """The inverse of :meth:`derived`, for the architecture that it belongs to.

        Raises:
            ValueError, TypeError, KeyError: it does not.
        """
        config = cls(
            **asdict(architecture),
            norm_eps=derived["norm_eps"],
            windows=tuple(derived["windows"]),
            inv_freq=tuple(derived["inv_freq"]),
            rope_scaling=derived["rope_scaling"],
        )
        numbers = [config.norm_eps, *config.inv_freq, config.rope_scaling]
        windows = [window for window in config.windows if window is not None]
        if not all(type(number) is float and math.isfinite(number) for number in numbers):
            raise ValueError("a number of the configuration is none")
        if not all(type(window) is int and 1 <= window <= 2**31 for window in windows):
            raise ValueError("an attention window is none")
        if len(config.windows) != config.n_layers or len(config.inv_freq) != config.head_dim // 2:
            raise ValueError("the configuration is another model's")
        return config

    def kv_bytes(self, tokens: int, dtype: KVDtype = KVDtype.BF16) -> int:
        """Bytes of a KV cache for that many tokens."""
        return KVCache.estimate_bytes(self.n_layers, tokens, self.n_kv_heads, self.head_dim, dtype)


def read_decoder_config(name: str, folder: Path, architecture: Architecture) -> DecoderConfig:
    """The configuration of a checkpoint that has passed the gate.

    Args:
        name: what the user calls the model.
        folder: holds ``config.json``.
        architecture: as the gate read it; transformers must read the same.

    Raises:
        UnsupportedModelError: transformers does not take the configuration, or takes it for another model.
    """
    # from its own module: two threads that import it from the package at once can find it half made
    from transformers.models.auto.configuration_auto import AutoConfig

    try:
        hf = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        config = replace(DecoderConfig.from_hf(hf), tied_head=architecture.tied_head)
    except refusals() as error:
        reason = " ".join(str(error).split())
        raise UnsupportedModelError(f"{name}: transformers does not take its config.json: {reason:.300}.") from error
    for field, wanted in asdict(architecture).items():
        if getattr(config, field) != wanted:
            raise UnsupportedModelError(
                f"{name}: config.json says {field} in two ways, {wanted!r} and {getattr(config, field)!r}."
            )
    return config


def _rope(name: str, config: Any, head_dim: int) -> tuple[tuple[float, ...], float]:
    """RoPE's inverse frequencies and the factor on its cosine and sine, as transformers computes them."""
    parameters = config.rope_parameters
    rope_type = parameters["rope_type"]
    if rope_type == "default":
        steps = torch.arange(0, head_dim, 2, dtype=torch.float) / head_dim
        inv_freq, scaling = 1.0 / (parameters["rope_theta"] ** steps), 1.0
    else:
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        inv_freq, scaling = ROPE_INIT_FUNCTIONS[rope_type](config)
    if len(inv_freq) != head_dim // 2 or not bool(torch.isfinite(inv_freq).all()) or not math.isfinite(scaling):
        raise UnsupportedModelError(f"{name}: its RoPE settings give no usable frequencies.")
    return tuple(inv_freq.tolist()), float(scaling)


def _windows(name: str, config: Any) -> tuple[int | None, ...]:
    window: int | None = getattr(config, "sliding_window", None)
    n_layers: int = config.num_hidden_layers
    if config.model_type == "mistral":
        return (window,) * n_layers
    if config.model_type == "llama":
        return (None,) * n_layers
    kinds = config.layer_types
    if len(kinds) != n_layers or (window is None and "sliding_attention" in kinds):
        raise UnsupportedModelError(
            f"{name}: layer_types does not suit its {n_layers:,} layers and its sliding_window ({window})."
        )
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)
