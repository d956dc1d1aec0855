"""Alterations of a checkpoint folder, as plain data: what hypothesis draws, prints and shrinks.

Each is a name and arguments, and :func:`apply` carries a list of them out on a folder. Nothing here computes with
torch: weights are moved about as bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

Alteration = tuple[Any, ...]

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


@dataclass
class Stored:
    """One tensor of a safetensors file."""

    dtype: str
    shape: list[int]
    data: bytes


def read_weights(path: Path) -> dict[str, Stored]:
    """All tensors of a file."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    return {
        name: Stored(entry["dtype"], entry["shape"], raw[8 + length :][slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }


def write_weights(path: Path, tensors: dict[str, Stored]) -> None:
    """The inverse of :func:`read_weights`."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in tensors.items():
        end = at + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensor.data for tensor in tensors.values()))


# --- weights -------------------------------------------------------------------------------------------------------

OTHER_NAMES = (
    "lm_head.weight", "model.norm.weight", "model.layers.1.self_attn.k_proj.bias", "model.layers.0.mlp.down_proj.bias",
    "model.layers.0.self_attn.q_norm.weight", "model.layers.1.input_layernorm.weight",
    "model.layers.2.input_layernorm.weight", "model.layers.0.self_attn.rotary_emb.inv_freq", "score.weight",
    "model.layers.0.self_attn.q_proj.lora_A.weight", "embed_tokens.weight", "layers.0.mlp.up_proj.weight", "",
)  # fmt: skip


def _edit_weights(folder: Path, edit: Callable[[dict[str, Stored]], None]) -> None:
    path = folder / WEIGHTS
    if path.exists():
        tensors = read_weights(path)
        edit(tensors)
        write_weights(path, tensors)


def _edit_tensor(folder: Path, index: int, edit: Callable[[dict[str, Stored], str, Stored], None]) -> None:
    """``edit`` gets all tensors, and the name and content of one, chosen by its place in the alphabet."""

    def on_all(tensors: dict[str, Stored]) -> None:
        if tensors:
            name = sorted(tensors)[index % len(tensors)]
            edit(tensors, name, tensors[name])

    _edit_weights(folder, on_all)


def _drop(folder: Path, index: int) -> None:
    _edit_tensor(folder, index, lambda tensors, name, _: tensors.pop(name) and None)


def _rename(folder: Path, index: int, new: str) -> None:
    _edit_tensor(folder, index, lambda tensors, name, _: tensors.update({new: tensors.pop(name)}))


def _copy(folder: Path, index: int, new: str) -> None:
    _edit_tensor(folder, index, lambda tensors, _, tensor: tensors.update({new: tensor}))


def _reshape(folder: Path, index: int, how: str) -> None:
    """The same number of elements, or some rows fewer or more."""

    def edit(tensors: dict[str, Stored], name: str, tensor: Stored) -> None:
        rows, rest = tensor.shape[0], tensor.shape[1:]
        row_bytes = len(tensor.data) // max(1, rows)
        match how:
            case "turn":
                tensor.shape = tensor.shape[::-1]
            case "flatten":
                tensor.shape = [rows * (rest[0] if rest else 1)]
            case "wrap":
                tensor.shape = [1, *tensor.shape]
            case "halve":
                tensor.shape, tensor.data = [rows // 2, *rest], tensor.data[: rows // 2 * row_bytes]
            case "shorten":
                tensor.shape, tensor.data = [rows - 1, *rest], tensor.data[: (rows - 1) * row_bytes]
            case "lengthen":
                tensor.shape, tensor.data = [rows + 8, *rest], tensor.data + tensor.data[: 8 * row_bytes]
            case "empty":
                tensor.shape, tensor.data = [0, *rest], b""

    _edit_tensor(folder, index, edit)


def _convert(folder: Path, index: int, dtype: str) -> None:
    """Another type: bf16 widened to fp32 keeps its values, all else reads the bytes as something else."""

    def edit(tensors: dict[str, Stored], name: str, tensor: Stored) -> None:
        if tensor.dtype != "BF16":
            return
        if dtype == "F32":
            tensor.data = b"".join(b"\0\0" + tensor.data[i : i + 2] for i in range(0, len(tensor.data), 2))
        elif dtype in ("F64", "I64"):
            tensor.data = bytes(4 * len(tensor.data))
        elif dtype in ("I8", "U8", "BOOL", "F8_E4M3"):
            tensor.data = bytes(len(tensor.data) // 2)
        tensor.dtype = dtype

    _edit_tensor(folder, index, edit)


def _poison(folder: Path, index: int, value: str) -> None:
    """One element becomes NaN, infinite, huge or zero; or all become zero."""
    patterns = {"nan": b"\xc0\x7f", "inf": b"\x80\x7f", "huge": b"\x7f\x7f", "zero": b"\0\0"}

    def edit(tensors: dict[str, Stored], name: str, tensor: Stored) -> None:
        if value == "zeros":
            tensor.data = bytes(len(tensor.data))
        elif tensor.dtype == "BF16" and len(tensor.data) >= 8:
            tensor.data = tensor.data[:4] + patterns[value] + tensor.data[6:]

    _edit_tensor(folder, index, edit)


def _swap(folder: Path, index: int, other: int) -> None:
    def edit(tensors: dict[str, Stored], name: str, tensor: Stored) -> None:
        second = sorted(tensors)[other % len(tensors)]
        tensors[name], tensors[second] = tensors[second], tensor

    _edit_tensor(folder, index, edit)


def _add_head(folder: Path, same: bool) -> None:
    """A head beside tied embeddings: the same weights, or its halves in the other order."""

    def edit(tensors: dict[str, Stored]) -> None:
        embedding = tensors.get("model.embed_tokens.weight")
        if embedding:
            half = 0 if same else len(embedding.data) // 2
            data = embedding.data[half:] + embedding.data[:half]
            tensors["lm_head.weight"] = Stored(embedding.dtype, list(embedding.shape), data)

    _edit_weights(folder, edit)


def _damage(folder: Path, how: str, at: int) -> None:
    """Bytes cut, appended or changed, as an interrupted download or a bad disk leaves them."""
    path = folder / WEIGHTS
    if not path.exists():
        return
    raw = bytearray(path.read_bytes())
    match how:
        case "cut":
            del raw[max(0, len(raw) - 1 - at) :]
        case "append":
            raw += bytes(at % 64 + 1)
        case "header":
            raw[at % min(len(raw), 4096)] ^= 0x55
        case "length":
            raw[:8] = struct.pack("<Q", at * 7919)
    path.write_bytes(raw)


def _shard(folder: Path, count: int, fault: str) -> None:
    """Split the weights over files with an index, perhaps a faulty one."""
    path = folder / WEIGHTS
    if not path.exists():
        return
    tensors = read_weights(path)
    names = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    where = {tensor: names[i * count // len(tensors)] for i, tensor in enumerate(tensors)}
    for name in names:
        write_weights(folder / name, {t: tensors[t] for t in tensors if where[t] == name})
    if fault != "beside":
        path.unlink()
    match fault:
        case "moved":  # the index says another file
            first = next(iter(where))
            where[first] = names[-1]
        case "unnamed":
            where.popitem()
        case "unknown":
            where["model.layers.0.other.weight"] = names[0]
        case "lost":
            (folder / names[-1]).unlink()
        case "cut":
            last = folder / names[-1]
            last.write_bytes(last.read_bytes()[:-100])
        case "twice":
            extra = read_weights(folder / names[-1])
            first = next(iter(tensors))
            write_weights(folder / names[-1], {**extra, first: tensors[first]})
        case "outside":
            where[next(iter(where))] = "../" + names[0]
    if fault == "no index":
        return
    text = "{" if fault == "broken" else json.dumps({"metadata": {}, "weight_map": where})
    (folder / INDEX).write_text(text)


def _stray(folder: Path, name: str) -> None:
    """A file that nobody should read."""
    path = folder / WEIGHTS
    if not path.exists():
        return
    if name == "adapter_config.json":
        (folder / name).write_text('{"peft_type": "LORA"}')
        return
    tensors = read_weights(path)
    for tensor in tensors.values():
        tensor.data = bytes(len(tensor.data))
    write_weights(folder / name, tensors)


# --- settings ------------------------------------------------------------------------------------------------------

CONFIG_KEYS = (
    "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps", "rope_theta",
    "rope_scaling", "rope_parameters", "sliding_window", "use_sliding_window", "max_window_layers", "layer_types",
    "tie_word_embeddings", "attention_bias", "mlp_bias", "torch_dtype", "dtype", "quantization_config",
    "architectures", "eos_token_id", "bos_token_id", "pad_token_id", "initializer_range", "attention_dropout",
    "use_cache", "auto_map", "transformers_weights", "pretraining_tp", "partial_rotary_factor",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, 0, -1, 1, 2, 3, 4, 7, 8, 16, 32, 64, 96, 383, 385, 10**9, 10**30, True, False, "", "x", "64", 1.5, 1e-30,
    1e30, float("nan"), float("inf"), [], [1], {}, {"rope_type": "linear", "factor": 2.0}, {"type": "dynamic"},
    {"rope_type": "linear"}, {"rope_type": "linear", "factor": "x"}, {"rope_type": "llama3", "factor": 8.0},
    {"rope_type": "default", "rope_theta": 500.0}, {"rope_theta": -1.0}, {"rope_type": "default", "rope_theta": 0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}, {"full_attention": {}},
    {"quant_method": "awq"}, "llama", "mistral", "qwen2", "qwen3", "gpt2", "silu", "gelu", "float16", "float32",
    ["full_attention", "full_attention"], ["full_attention", "sliding_attention"], ["sliding_attention"],
    ["LlamaForCausalLM"], {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
)  # fmt: skip


def _edit_json(path: Path, edit: Callable[[Any], None]) -> None:
    if path.exists():
        tree = json.loads(path.read_text())
        edit(tree)
        path.write_text(json.dumps(tree))


def _unset(folder: Path, key: str) -> None:
    _edit_json(folder / "config.json", lambda config: config.pop(key, None))


def _set(folder: Path, key: str, value: Any) -> None:
    _edit_json(folder / "config.json", lambda config: config.update({key: value}))


def _overwrite(folder: Path, name: str, how: str) -> None:
    """A small file becomes something else."""
    path = folder / name
    texts = {
        "empty": b"",
        "brace": b"{",
        "list": b"[]",
        "null": b"null",
        "deep": b'{"a":' * 50_000,
        "latin": '{"é": 1}'.encode("latin-1"),
        "object": b"{}",
    }
    if how == "mark":
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() if path.exists() else b"")
    elif how == "gone":
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(texts[how])


def _generation(folder: Path, key: str, value: Any) -> None:
    _edit_json(folder / "generation_config.json", lambda settings: settings.update({key: value}))


# --- tokenizer -----------------------------------------------------------------------------------------------------

TEMPLATES = (
    None,
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
    "{% for m in messages %}[{{ m['content'] | trim }}]{% endfor %}{{ eos_token }}",
    "{{ messages[0].content",
    "{{ nothing.at.all }}",
    "{{ raise_exception('no') }}",
    "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}",
    "",
)
NORMALIZERS: tuple[Any, ...] = (
    None,
    {"type": "Lowercase"},
    {"type": "NFC"},
    {"type": "NFKC"},
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    {"type": "Nonsense"},
)
PRE_TOKENIZERS: tuple[Any, ...] = (
    None,
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    {"type": "Nonsense"},
)


def _add_token(folder: Path, token_id: int, special: bool) -> None:
    def edit(tokenizer: Any) -> None:
        tokenizer["added_tokens"].append({
            "id": token_id, "content": f"<extra{token_id}>", "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": special,
        })  # fmt: skip

    _edit_json(folder / "tokenizer.json", edit)


def _move_id(folder: Path, old: int, new: int) -> None:
    """A token of the vocabulary gets another id; whoever has that takes the old one."""

    def edit(tokenizer: Any) -> None:
        vocabulary = tokenizer["model"]["vocab"]
        by_id = {token_id: token for token, token_id in vocabulary.items()}
        if old in by_id:
            vocabulary[by_id[old]] = new
        if new in by_id:
            vocabulary[by_id[new]] = old

    _edit_json(folder / "tokenizer.json", edit)


def _forget_token(folder: Path, token_id: int) -> None:
    def edit(tokenizer: Any) -> None:
        vocabulary = tokenizer["model"]["vocab"]
        for token in [token for token, found in vocabulary.items() if found == token_id]:
            del vocabulary[token]

    _edit_json(folder / "tokenizer.json", edit)


def _tokenizer_part(folder: Path, part: str, value: Any) -> None:
    _edit_json(folder / "tokenizer.json", lambda tokenizer: tokenizer.update({part: value}))


def _template(folder: Path, template: str | None) -> None:
    path = folder / "chat_template.jinja"
    if template is None:
        path.unlink(missing_ok=True)
        _edit_json(folder / "tokenizer_config.json", lambda settings: settings.pop("chat_template", None))
    else:
        path.write_text(template)


def _tokenizer_setting(folder: Path, key: str, value: Any) -> None:
    _edit_json(folder / "tokenizer_config.json", lambda settings: settings.update({key: value}))


_ACTIONS: dict[str, Callable[..., None]] = {
    "drop": _drop, "rename": _rename, "copy": _copy, "reshape": _reshape, "convert": _convert, "poison": _poison,
    "swap": _swap, "add head": _add_head, "damage": _damage, "shard": _shard, "stray": _stray, "unset": _unset,
    "set": _set, "overwrite": _overwrite, "generation": _generation, "add token": _add_token, "move id": _move_id,
    "forget token": _forget_token, "tokenizer part": _tokenizer_part, "template": _template,
    "tokenizer setting": _tokenizer_setting,
}  # fmt: skip


def apply(folder: Path, alterations: list[Alteration]) -> None:
    """Carry alterations out, one after the other; one that has nothing to work on changes nothing."""
    for name, *arguments in alterations:
        with suppress(ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error):  # damaged before
            _ACTIONS[name](folder, *arguments)


def _one_of(name: str, *choices: Any) -> st.SearchStrategy[Alteration]:
    return st.tuples(st.just(name), *choices)


_tensor = st.integers(0, 40)
_new_name = st.sampled_from(OTHER_NAMES)
_token_id = st.sampled_from([0, 1, 2, 5, 100, 270, 300, 310, 319, 320, 330, 383, 384, 385, 400, 49_152, 2**40])

WEIGHT_ALTERATIONS = st.one_of(
    _one_of("drop", _tensor),
    _one_of("rename", _tensor, _new_name),
    _one_of("copy", _tensor, _new_name),
    _one_of(
        "reshape",
        _tensor,
        st.sampled_from(["turn", "flatten", "wrap", "halve", "shorten", "lengthen", "empty"]),
    ),
    _one_of(
        "convert",
        _tensor,
        st.sampled_from(["F32", "F16", "F64", "I8", "U8", "I64", "BOOL", "F8_E4M3", "nonsense"]),
    ),
    _one_of("poison", _tensor, st.sampled_from(["nan", "inf", "huge", "zero", "zeros"])),
    _one_of("swap", _tensor, _tensor),
    _one_of("add head", st.booleans()),
    _one_of("damage", st.sampled_from(["cut", "append", "header", "length"]), st.integers(0, 5_000)),
    _one_of(
        "shard",
        st.integers(1, 3),
        st.sampled_from(
            ["", "", "moved", "unnamed", "unknown", "lost", "cut", "twice", "outside", "beside", "no index", "broken"]
        ),
    ),
    _one_of(
        "stray",
        st.sampled_from(["model_old.safetensors", "a.safetensors", "consolidated.safetensors", "adapter_config.json"]),
    ),
)
SETTING_ALTERATIONS = st.one_of(
    _one_of("unset", st.sampled_from(CONFIG_KEYS)),
    _one_of("set", st.sampled_from(CONFIG_KEYS), st.sampled_from(ODD_VALUES)),
    _one_of("set", st.sampled_from(CONFIG_KEYS), st.sampled_from(ODD_VALUES)),
    _one_of(
        "overwrite",
        st.sampled_from(["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]),
        st.sampled_from(["empty", "brace", "list", "null", "deep", "latin", "object", "mark", "gone"]),
    ),
    _one_of(
        "generation", st.sampled_from(["eos_token_id", "temperature", "pad_token_id"]), st.sampled_from(ODD_VALUES)
    ),
)
TOKENIZER_ALTERATIONS = st.one_of(
    _one_of("add token", _token_id, st.booleans()),
    _one_of("move id", _token_id, _token_id),
    _one_of("forget token", _token_id),
    _one_of("tokenizer part", st.just("normalizer"), st.sampled_from(NORMALIZERS)),
    _one_of("tokenizer part", st.just("pre_tokenizer"), st.sampled_from(PRE_TOKENIZERS)),
    _one_of("template", st.sampled_from(TEMPLATES)),
    _one_of(
        "tokenizer setting",
        st.sampled_from(["eos_token", "bos_token", "pad_token", "unk_token", "model_max_length", "tokenizer_class"]),
        st.sampled_from([None, "", "zq", "<|im_end|>", "<new>", 5, [], "LlamaTokenizer", "Qwen2Tokenizer", "Nonsense"]),
    ),
)
ALTERATIONS = st.lists(
    st.one_of(WEIGHT_ALTERATIONS, WEIGHT_ALTERATIONS, SETTING_ALTERATIONS, SETTING_ALTERATIONS, TOKENIZER_ALTERATIONS),
    min_size=1,
    max_size=3,
)
