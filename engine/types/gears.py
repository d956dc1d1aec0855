"""The gears: what may be turned on to make an answer cheaper. A part that is ``None`` is a gear that is off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from engine.types.cascade import CascadeConfig
from engine.types.precision import Precision
from engine.types.requirement import require
from engine.types.speculation import SpeculationConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationConfig:
    """The quantization gear. Sixteen bits is this gear turned off, so that one state has one name."""

    precision: Precision = Precision.INT4

    def __post_init__(self) -> None:
        require(self.precision is not Precision.BF16, "Quantization to 16 bits is no quantization: turn the gear off.")
        require(self.precision is not Precision.UNKNOWN, "Choose a precision to quantize to.")


class CacheMode(StrEnum):
    """What of the attention state is kept, and for how long."""

    OFF = "off"
    """Nothing: every token computes the whole text again."""
    KV = "kv"
    """Keys and values within one request, as every engine keeps them."""
    PREFIX = "prefix"
    """Across requests too: the beginning a prompt shares with a kept sequence is not computed again."""


MIN_WINDOW = 64
SINK_TOKENS = 4
"""First tokens of a text that a sliding window never lets go: attention leans on them whatever they say
(StreamingLLM, arXiv:2309.17453)."""

DEFAULT_KV_CACHE_BYTES = 512 * 2**20
"""What KV kept across requests may take unless told otherwise."""


class KVDtype(StrEnum):
    """How keys and values are kept."""

    BF16 = "bf16"
    INT8 = "int8"
    """8-bit integers, one scale for each token and head: about half the memory. Lossy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KVCacheConfig:
    """The KV caching gear. A bf16 cache within one request is this gear turned off, so that one state has one name."""

    mode: CacheMode = CacheMode.PREFIX
    dtype: KVDtype = KVDtype.BF16
    window: int | None = None
    """Tokens that are kept, the first :data:`SINK_TOKENS` among them; older ones are forgotten, which is lossy.
    ``None`` keeps all, up to the model's context."""

    def __post_init__(self) -> None:
        plain = self.dtype is KVDtype.BF16 and self.window is None
        require(
            self.mode is not CacheMode.OFF or plain,
            "Without a KV cache there is nothing to keep in 8 bits or in a window.",
        )
        require(
            self.mode is not CacheMode.KV or not plain,
            "A 16-bit KV cache within one request is what every run has: turn the gear off.",
        )
        require(
            self.window is None or self.window >= MIN_WINDOW, f"A sliding window needs at least {MIN_WINDOW} tokens."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationConfig:
    """Which gears are on. A part that is ``None`` is a gear that is off."""

    quantization: QuantizationConfig | None = None
    kv_cache: KVCacheConfig | None = None
    speculation: SpeculationConfig | None = None
    cascade: CascadeConfig | None = None

    def __post_init__(self) -> None:
        drafting = self.speculation
        require(
            drafting is None
            or not drafting.drafter.info.copies_model
            or drafting.draft_precision is not self.precision,
            f"The model is in {self.precision} already: a copy in the same precision would draft no faster.",
        )
        require(
            drafting is None or not drafting.drafter.info.needs_kv or self.cache_mode is not CacheMode.OFF,
            "A model that drafts needs a KV cache: choose n-grams, or keep KV at least within the run.",
        )

    @classmethod
    def at(
        cls,
        precision: Precision,
        cache_mode: CacheMode = CacheMode.KV,
        kv_dtype: KVDtype = KVDtype.BF16,
        window: int | None = None,
        speculation: SpeculationConfig | None = None,
        cascade: CascadeConfig | None = None,
    ) -> Self:
        """A precision of the weights, how KV is kept, who drafts and what smaller models try first; what stands for
        a gear that is off becomes ``None``."""
        plain = (cache_mode, kv_dtype, window) == (CacheMode.KV, KVDtype.BF16, None)
        is_plain = precision in (Precision.BF16, Precision.UNKNOWN)
        return cls(
            quantization=None if is_plain else QuantizationConfig(precision=precision),
            kv_cache=None if plain else KVCacheConfig(mode=cache_mode, dtype=kv_dtype, window=window),
            speculation=speculation,
            cascade=cascade,
        )

    @property
    def precision(self) -> Precision:
        """The precision the weights are held in on this machine: 16 bits unless the quantization gear is on."""
        return self.quantization.precision if self.quantization else Precision.BF16

    @property
    def cache_mode(self) -> CacheMode:
        """What is kept of the attention state: within one request unless the KV caching gear is on."""
        return self.kv_cache.mode if self.kv_cache else CacheMode.KV

    @property
    def kv_dtype(self) -> KVDtype:
        """How keys and values are kept: in 16 bits unless the KV caching gear says otherwise."""
        return self.kv_cache.dtype if self.kv_cache else KVDtype.BF16

    @property
    def window(self) -> int | None:
        """Tokens of a sliding window; ``None`` unless the KV caching gear has one."""
        return self.kv_cache.window if self.kv_cache else None

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of ``asdict``; gears that are off may be left out.

        Raises:
            InvalidRequestError: a value is out of range.
        """
        quantization, kv_cache = tree.get("quantization"), tree.get("kv_cache")
        speculation, cascade = tree.get("speculation"), tree.get("cascade")
        return cls(
            quantization=QuantizationConfig(precision=Precision(quantization["precision"])) if quantization else None,
            kv_cache=KVCacheConfig(
                mode=CacheMode(kv_cache["mode"]), dtype=KVDtype(kv_cache["dtype"]), window=kv_cache["window"]
            )
            if kv_cache
            else None,
            speculation=SpeculationConfig.from_dict(speculation) if speculation else None,
            cascade=CascadeConfig.from_dict(cascade) if cascade else None,
        )
