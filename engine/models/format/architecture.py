"""What a checkpoint's ``config.json`` promises: the shape of a llama-family decoder, and the tensors it is made of.

Read without torch, so that a page can say what is wrong with a folder. Values are those that transformers would
take, its defaults included; what lies outside sane ranges is refused before anything is reserved for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from engine.errors import UnsupportedModelError
from engine.models.format.quantization import read_quantization

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Values of ``model_type`` in ``config.json`` that the decoder runs."""

ROPE_TYPES = ("default", "linear", "llama3", "yarn")
"""Position encodings that the decoder computes (RoPE, arXiv:2104.09864, and its scalings)."""

_DEFAULT_KV_HEADS = {"mistral": 8, "qwen2": 32, "qwen3": 32}
"""What transformers takes where ``num_key_value_heads`` is not given; elsewhere, and for null, all heads."""
_DEFAULT_HEAD_DIM = {"qwen3": 128}

_MOST = {
    "hidden_size": 2**17,
    "intermediate_size": 2**20,
    "num_hidden_layers": 1_024,
    "num_attention_heads": 4_096,
    "num_key_value_heads": 4_096,
    "head_dim": 2_048,
    "vocab_size": 2**24,
    "max_position_embeddings": 2**31,
    "sliding_window": 2**31,
}


_ROPE_RANGES = {
    "factor": (1e-6, 1e9),
    "low_freq_factor": (1e-6, 1e9),
    "high_freq_factor": (1e-6, 1e9),
    "beta_fast": (1e-6, 1e9),
    "beta_slow": (1e-6, 1e9),
    "attention_factor": (1e-3, 1e3),
    "mscale": (1e-3, 1e3),
    "mscale_all_dim": (1e-3, 1e3),
}
_ALLOWED: Mapping[str, tuple[Any, ...]] = {
    "is_causal": (None, True),
    "return_dict": (None, True),
    "text_config": (None,),
    "decoder": (None,),
    "generator": (None,),
    "configuration_files": (None,),
    "cache_implementation": (None,),
    "attn_implementation": (None, "eager", "sdpa"),
    "_attn_implementation": (None, "eager", "sdpa"),
    "experts_implementation": (None,),
    "_experts_implementation": (None,),
}
"""Settings that make another model of it, or that transformers refuses, with the values that change nothing."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """One matrix of the decoder and the tensors of a checkpoint it is joined from."""

    name: str
    sources: tuple[str, ...]
    """Names without ``.weight`` and ``.bias``."""
    rows: tuple[int, ...]
    """Outputs of each source."""
    in_features: int
    biased: bool = False
    """Whether each source has a bias."""
    is_head: bool = False
    """An embedding or an output head."""

    @property
    def out_features(self) -> int:
        return sum(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The shape of a decoder."""

    family: str
    hidden_size: int
    intermediate_size: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    context_length: int
    tied_head: bool
    """Whether the embedding is the output head too."""
    attention_bias: bool
    """Whether the projections to queries, keys and values have biases."""
    output_bias: bool
    """Whether the projection from attention has one."""
    mlp_bias: bool
    qk_norms: bool
    """Whether each head's queries and keys are normed."""

    @classmethod
    def from_config(cls, name: str, config: Mapping[str, Any]) -> Self:
        """Read the settings of a ``config.json``, of transformers 4 or 5.

        Args:
            name: what the user calls the model; it begins the errors' sentences.
            config: the settings.

        Raises:
            UnsupportedModelError: the family or one of its features does not run here, or a value is out of range.
        """
        family = config.get("model_type")
        if family not in FAMILIES:
            raise UnsupportedModelError(f"{name} is of the family {family}, and these run here: {', '.join(FAMILIES)}.")
        _check_features(name, config)
        heads = _size(name, config, "num_attention_heads")
        hidden = _size(name, config, "hidden_size")
        found = cls(
            family=family,
            hidden_size=hidden,
            intermediate_size=_size(name, config, "intermediate_size"),
            n_layers=_size(name, config, "num_hidden_layers"),
            n_heads=heads,
            n_kv_heads=_size(name, config, "num_key_value_heads", _DEFAULT_KV_HEADS.get(family), heads),
            head_dim=_size(name, config, "head_dim", _DEFAULT_HEAD_DIM.get(family), hidden // heads),
            vocab_size=_size(name, config, "vocab_size"),
            context_length=_size(name, config, "max_position_embeddings"),
            tied_head=_flag(name, config, "tie_word_embeddings"),
            attention_bias=family == "qwen2" or (family != "mistral" and _flag(name, config, "attention_bias")),
            output_bias=family in ("llama", "qwen3") and _flag(name, config, "attention_bias"),
            mlp_bias=family == "llama" and _flag(name, config, "mlp_bias"),
            qk_norms=family == "qwen3",
        )
        if found.n_heads % found.n_kv_heads:
            raise UnsupportedModelError(
                f"{name}: num_attention_heads ({heads:,}) is no multiple of num_key_value_heads ({found.n_kv_heads:,})."
            )
        if found.head_dim % 2:
            raise UnsupportedModelError(f"{name}: head_dim is {found.head_dim:,}, and must be even.")
        if family == "llama" and hidden % heads:
            raise UnsupportedModelError(
                f"{name}: hidden_size ({hidden:,}) is no multiple of num_attention_heads ({heads:,})."
            )
        return found

    def matrices(self) -> Iterator[Matrix]:
        """All matrices, joined where several share an input."""
        hidden, inner = self.hidden_size, self.intermediate_size
        query, key = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        yield Matrix("embedding", ("model.embed_tokens",), (self.vocab_size,), hidden, is_head=True)
        if not self.tied_head:
            yield Matrix("head", ("lm_head",), (self.vocab_size,), hidden, is_head=True)
        for i in range(self.n_layers):
            attn, mlp = f"model.layers.{i}.self_attn", f"model.layers.{i}.mlp"
            qkv = (f"{attn}.q_proj", f"{attn}.k_proj", f"{attn}.v_proj")
            yield Matrix(f"layers.{i}.qkv", qkv, (query, key, key), hidden, self.attention_bias)
            yield Matrix(f"layers.{i}.o", (f"{attn}.o_proj",), (hidden,), query, self.output_bias)
            gate_up = (f"{mlp}.gate_proj", f"{mlp}.up_proj")
            yield Matrix(f"layers.{i}.gate_up", gate_up, (inner, inner), hidden, self.mlp_bias)
            yield Matrix(f"layers.{i}.down", (f"{mlp}.down_proj",), (hidden,), inner, self.mlp_bias)

    def norms(self) -> Iterator[tuple[str, str, int]]:
        """All norm vectors: our name, the checkpoint's, and the length."""
        yield "norm", "model.norm.weight", self.hidden_size
        for i in range(self.n_layers):
            layer = f"model.layers.{i}"
            yield f"layers.{i}.input_norm", f"{layer}.input_layernorm.weight", self.hidden_size
            yield f"layers.{i}.post_norm", f"{layer}.post_attention_layernorm.weight", self.hidden_size
            if self.qk_norms:
                yield f"layers.{i}.q_norm", f"{layer}.self_attn.q_norm.weight", self.head_dim
                yield f"layers.{i}.k_norm", f"{layer}.self_attn.k_norm.weight", self.head_dim

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors of a checkpoint, by name."""
        shapes: dict[str, tuple[int, ...]] = {}
        for matrix in self.matrices():
            for source, rows in zip(matrix.sources, matrix.rows, strict=True):
                shapes[f"{source}.weight"] = (rows, matrix.in_features)
                if matrix.biased:
                    shapes[f"{source}.bias"] = (rows,)
        return shapes | {source: (length,) for _, source, length in self.norms()}


def _check_features(name: str, config: Mapping[str, Any]) -> None:
    """Refuse what would change the model's arithmetic in a way that the decoder does not follow."""
    read_quantization(name, config)
    if (activation := config.get("hidden_act", "silu")) != "silu":
        raise UnsupportedModelError(f"{name}: this model's activation {activation!r} is not supported, only silu.")
    if "transformers_weights" in config:
        raise UnsupportedModelError(
            f"{name}: config.json names a weights file of its own (transformers_weights), which is not supported. "
            "Call it model.safetensors and remove the setting."
        )
    for key, allowed in _ALLOWED.items():
        value = config.get(key)
        if not any(value is taken or (isinstance(value, str) and value == taken) for taken in allowed):
            raise UnsupportedModelError(f"{name}: {key} in config.json is {value!r:.80}, which is not supported.")
    padding = config.get("pad_token_id")
    if type(padding) is int and type(config.get("vocab_size")) is int and padding >= config["vocab_size"]:
        raise UnsupportedModelError(
            f"{name}: pad_token_id in config.json is {padding:,}, beyond the vocabulary of {config['vocab_size']:,}."
        )
    _number(name, config, "rms_norm_eps", 0.0, 1.0, 1e-6)
    _number(name, config, "rope_theta", 1e-3, 1e15, 10_000.0)
    for key in ("rope_parameters", "rope_scaling"):
        _check_rope(name, key, config.get(key))
    if config.get("sliding_window") is not None:
        _size(name, config, "sliding_window")
    _check_layer_types(name, config)


def _check_rope(name: str, key: str, rope: Any) -> None:
    if rope is None:
        return
    if not isinstance(rope, Mapping):
        raise UnsupportedModelError(f"{name}: {key} must be an object or null, and is {rope!r:.80}.")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ROPE_TYPES:
        raise UnsupportedModelError(f"{name}: this model's RoPE scaling {kind!r:.80} is not supported.")
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise UnsupportedModelError(f"{name}: this model rotates only part of each head, which is not supported.")
    _number(name, rope, "rope_theta", 1e-3, 1e15, 10_000.0)
    for setting, (least, most) in _ROPE_RANGES.items():
        if rope.get(setting) is not None:
            _number(name, rope, setting, least, most, 1.0)


def _check_layer_types(name: str, config: Mapping[str, Any]) -> None:
    kinds = config.get("layer_types")
    if kinds is None:
        return
    known = ("full_attention", "sliding_attention")
    if not isinstance(kinds, list) or any(kind not in known for kind in kinds):
        raise UnsupportedModelError(f"{name}: layer_types may hold {' and '.join(known)} only.")
    if config.get("model_type") in ("llama", "mistral") and set(kinds) - {"full_attention"}:
        raise UnsupportedModelError(f"{name}: layers of different attention are not supported in this family.")


def _size(name: str, config: Mapping[str, Any], key: str, missing: int | None = None, null: int | None = None) -> int:
    """A count of at least 1 in a sane range; ``missing`` and ``null`` stand for a key that is not there, or null."""
    value = config.get(key, missing)
    value = null if value is None else value
    if value is None:
        raise UnsupportedModelError(f"{name}: config.json does not say {key}, which the model's shape depends on.")
    if type(value) is not int or not 1 <= value <= _MOST[key]:
        raise UnsupportedModelError(
            f"{name}: {key} in config.json must be a whole number from 1 to {_MOST[key]:,}, and is {value!r:.80}."
        )
    return value


def _flag(name: str, config: Mapping[str, Any], key: str) -> bool:
    value = config.get(key, False)
    if not isinstance(value, bool):
        raise UnsupportedModelError(f"{name}: {key} in config.json must be true or false, and is {value!r:.80}.")
    return value


def _number(name: str, config: Mapping[str, Any], key: str, least: float, most: float, default: float) -> None:
    value = config.get(key, default)
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    if not (numeric and least <= value <= most):
        raise UnsupportedModelError(
            f"{name}: {key} in config.json must be a number from {least:g} to {most:g}, and is {value!r:.80}."
        )
