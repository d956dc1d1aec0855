"""What is asked for: the messages, how tokens are chosen, which gears are on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal, Self

from engine.errors import InvalidRequestError


class Backend(StrEnum):
    """Who runs the model."""

    LOCAL = "local"
    """Gearbox's own decoder."""
    REFERENCE = "reference"
    """transformers' own ``model.generate``, as it comes out of the box."""


class DeviceChoice(StrEnum):
    """Where models are asked to run."""

    AUTO = "auto"
    """CUDA where torch finds it, else the CPU."""
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """How the weights are held while they are multiplied."""

    BF16 = "bf16"
    INT8 = "int8"
    """8-bit integers, one scale for each output; activations in 8 bits too, each token in groups of 32, on
    CUDA with one scale."""
    INT4 = "int4"
    """4-bit integers in groups of 32 with a scale and a minimum each; the head in 8 bits, on CUDA in 16."""
    NF4 = "nf4"
    """4-bit normal-float (QLoRA, arXiv:2305.14314) as bitsandbytes quantizes it."""
    LLM_INT8 = "llm.int8"
    """LLM.int8() (arXiv:2208.07339): 8-bit integers, input columns with outliers multiplied in 16 bits; CUDA only."""


CPU_PRECISIONS = tuple(precision for precision in Precision if precision is not Precision.LLM_INT8)
"""What a model can be held in on the CPU. On CUDA it is every precision."""


Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    token_ids: tuple[int, ...] = ()
    """The very tokens an answer was written in, if they are known: reading its text again may give others,
    and then nothing kept after it could be reused. They count only where they spell ``content``."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        known = {"token_ids": list(self.token_ids)} if self.token_ids else {}
        return {"role": self.role, "content": self.content, **known}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`."""
        return cls(tree["role"], tree["content"], tuple(tree.get("token_ids", ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen. Temperature 0 is greedy, and ignores top-p, top-k and seed."""

    temperature: float = 0.0
    top_p: float = 1.0
    """Keep the smallest set of tokens whose probabilities reach this share; 1 keeps all."""
    top_k: int = 0
    """Keep the k likeliest tokens; 0 keeps all."""
    repetition_penalty: float = 1.0
    """Divides the positive and multiplies the negative logits of tokens seen before
    (CTRL, arXiv:1909.05858); 1 is off."""
    seed: int = 0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    """Strings that end the answer; they are not part of it."""

    def __post_init__(self) -> None:
        _check(math.isfinite(self.temperature) and 0 <= self.temperature <= 5, "Temperature must be between 0 and 5.")
        _check(0 < self.top_p <= 1, "Top-p must be above 0 and at most 1.")
        _check(self.top_k >= 0, "Top-k must be 0 (off) or more.")
        _check(0.1 <= self.repetition_penalty <= 5, "Repetition penalty must be between 0.1 and 5.")
        _check(0 <= self.seed < 2**63, "Seed must be between 0 and 2^63 − 1.")
        _check(self.max_tokens >= 1, "Max tokens must be at least 1.")
        _check(all(self.stop), "A stop string must not be empty.")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationConfig:
    """The quantization gear. Sixteen bits is this gear turned off, so that one state has one name."""

    precision: Precision = Precision.INT4

    def __post_init__(self) -> None:
        _check(self.precision is not Precision.BF16, "Quantization to 16 bits is no quantization: turn the gear off.")


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
        _check(
            self.mode is not CacheMode.OFF or plain,
            "Without a KV cache there is nothing to keep in 8 bits or in a window.",
        )
        _check(
            self.mode is not CacheMode.KV or not plain,
            "A 16-bit KV cache within one request is what every run has: turn the gear off.",
        )
        _check(
            self.window is None or self.window >= MIN_WINDOW, f"A sliding window needs at least {MIN_WINDOW} tokens."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationConfig:
    """Which gears are on. A part that is ``None`` is a gear that is off."""

    quantization: QuantizationConfig | None = None
    kv_cache: KVCacheConfig | None = None

    @classmethod
    def at(
        cls,
        precision: Precision,
        cache_mode: CacheMode = CacheMode.KV,
        kv_dtype: KVDtype = KVDtype.BF16,
        window: int | None = None,
    ) -> Self:
        """A precision of the weights and how KV is kept; what stands for a gear that is off becomes ``None``."""
        plain = (cache_mode, kv_dtype, window) == (CacheMode.KV, KVDtype.BF16, None)
        return cls(
            quantization=None if precision is Precision.BF16 else QuantizationConfig(precision=precision),
            kv_cache=None if plain else KVCacheConfig(mode=cache_mode, dtype=kv_dtype, window=window),
        )

    @property
    def precision(self) -> Precision:
        """The precision the weights are held in: 16 bits unless the quantization gear is on."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """All that decides what a run computes, apart from its messages."""

    model: str
    """A catalogue name, a local folder, or a hub id."""
    backend: Backend = Backend.LOCAL
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    sampling: SamplingParams = field(default_factory=SamplingParams)

    def __post_init__(self) -> None:
        _check(bool(self.model.strip()), "Choose a model.")
        _check(
            self.backend is not Backend.REFERENCE or self.optimization == OptimizationConfig(),
            "The reference backend runs the model as it is: turn its gears off.",
        )

    @property
    def precision(self) -> Precision:
        """The precision the weights are held in."""
        return self.optimization.precision

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values. Gears that are off are left out, so that a gear added later
        changes no hash of a run without it."""
        tree = asdict(self)
        tree["optimization"] = {k: v for k, v in tree["optimization"].items() if v is not None}
        return tree

    def canonical_json(self) -> str:
        """One text for one configuration: sorted keys, no spaces, and no seed, which is a draw from a
        configuration and not a part of it."""
        tree = self.to_dict()
        del tree["sampling"]["seed"]
        return json.dumps(tree, sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> str:
        """Identity used when runs are compared: 16 hex digits of the canonical JSON's sha256."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:16]

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            InvalidRequestError: a value is out of range.
        """
        gears = tree.get("optimization", {})
        quantization, kv_cache = gears.get("quantization"), gears.get("kv_cache")
        sampling = dict(tree.get("sampling", {}))
        sampling["stop"] = tuple(sampling.get("stop", ()))
        return cls(
            model=tree["model"],
            backend=Backend(tree.get("backend", Backend.LOCAL)),
            optimization=OptimizationConfig(
                quantization=QuantizationConfig(precision=Precision(quantization["precision"]))
                if quantization
                else None,
                kv_cache=KVCacheConfig(
                    mode=CacheMode(kv_cache["mode"]), dtype=KVDtype(kv_cache["dtype"]), window=kv_cache["window"]
                )
                if kv_cache
                else None,
            ),
            sampling=SamplingParams(**sampling),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One answer asked for."""

    messages: tuple[Message, ...]
    config: RunConfig
    cache_salt: str = ""
    """Whose request it is: a kept prefix is reused only for the same salt."""
    cold: bool = False
    """Compute the whole prompt even where a part of it is kept, so that a repeated prompt fakes no gain."""
    begun: tuple[int, ...] = ()
    """First tokens of the answer that are there already: they are read with the prompt, and the run goes on from them.
    With all but the last token of an answer and ``max_tokens=1`` the prefix cache keeps what it kept after it."""

    def __post_init__(self) -> None:
        _check(bool(self.messages) and self.messages[-1].role == "user", "The last message must be the user's.")
        _check(bool(self.messages[-1].content.strip()), "The prompt is empty: type something to answer.")

    @property
    def prompt(self) -> str:
        """The user's last message."""
        return self.messages[-1].content


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidRequestError(message)
