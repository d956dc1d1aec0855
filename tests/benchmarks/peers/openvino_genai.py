"""OpenVINO GenAI on the CPU, from the GGUF file itself.

Its pipeline hands out no logits. It can save the model that it made of the file, though, and OpenVINO
runs that with the same weights and the same settings for the processor; only the KV cache is kept another
way (per sequence, where the pipeline's is paged). The weights are not quite the file's: Q4_1's minimum
becomes a whole 4-bit zero point, off by a quarter of a step on average, and Q6_K is widened to 8 bits.
So bytes are counted on the saved model, and its KLD says what the rounding costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import openvino
import openvino_genai

from tests.benchmarks.peers.contract import Facts, Logits, Timing

DEVICE = "CPU"


class OpenVinoGenAi:
    """A pipeline, and the model it saved."""

    def __init__(self, gguf: Path, threads: int) -> None:
        # the model is saved beside the file it is made of, so the file gets a folder of its own
        self._folder = TemporaryDirectory()
        link = Path(self._folder.name) / gguf.name
        link.symlink_to(gguf.resolve())
        self._settings = {"INFERENCE_NUM_THREADS": threads}
        scheduler = openvino_genai.SchedulerConfig()
        # by default it keeps prompts: from the second round on, prefill would be a look-up
        scheduler.enable_prefix_caching = False
        scheduler.max_num_batched_tokens = 2**31 - 1  # a prompt in one go, as by default
        self._pipeline = openvino_genai.LLMPipeline(
            str(link), DEVICE, scheduler_config=scheduler, enable_save_ov_model=True, **self._settings
        )
        self._core = openvino.Core()
        self._model = self._core.read_model(Path(self._folder.name) / "openvino_model.xml")

    def facts(self) -> Facts:
        compiled = self._core.compile_model(self._model, DEVICE, self._settings)
        precision, kv_cache = compiled.get_property("INFERENCE_PRECISION_HINT"), _type_of_kv_cache(compiled)
        group = compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")
        capabilities = " ".join(self._core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))
        return Facts(
            weights_bytes=sum(_constants(self._model, with_lookups=True)),
            bytes_per_token=sum(_constants(self._model, with_lookups=False)),
            threads=compiled.get_property("INFERENCE_NUM_THREADS"),
            kernel=f"{capabilities}; computes in {precision.get_type_name()}, activations quantized in groups of "
            f"{group}; KV cache in {kv_cache}",
        )

    def answer(self, prompt_ids: Sequence[int], max_tokens: int) -> Timing:
        ids = np.array([prompt_ids], np.int64)
        result = self._pipeline.generate(
            openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids))),
            openvino_genai.GenerationConfig(max_new_tokens=max_tokens, ignore_eos=True, do_sample=False),
        )
        measured = result.perf_metrics.raw_metrics
        times_ms = measured.m_new_token_times
        return Timing(
            measured.m_times_to_first_token[0] / 1e6,  # in µs
            (times_ms[-1] - times_ms[0]) / 1e3 / (max_tokens - 1) if max_tokens > 1 else None,
        )

    def logits(self, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> Logits:
        request = self._core.compile_model(self._model, DEVICE, self._settings).create_infer_request()
        rows = []
        past = 0
        for chunk in [prompt_ids, *([token] for token in answer_ids[:-1])]:
            end = past + len(chunk)
            outputs = request.infer(
                {
                    "input_ids": np.array([chunk], np.int64),
                    "attention_mask": np.ones((1, end), np.int64),
                    "position_ids": np.arange(past, end, dtype=np.int64)[None],
                    "beam_idx": np.zeros(1, np.int32),
                }
            )
            rows.append(outputs["logits"][0, -1].copy())
            past = end
        return np.stack(rows)


def _type_of_kv_cache(compiled: Any) -> str:
    name: str = compiled.get_property("KV_CACHE_PRECISION").get_type_name()
    return name


def _constants(model: Any, *, with_lookups: bool) -> list[int]:
    """Bytes of every constant that the outputs depend on, those behind a look-up in a table of the
    vocabulary's length (the embedding) only if asked for."""
    vocab_size = model.output("logits").get_partial_shape()[-1].get_length()
    seen: set[str] = set()
    waiting = [result.input_value(0).get_node() for result in model.get_results()]
    sizes = []
    while waiting:
        node = waiting.pop()
        if node.get_name() in seen:
            continue
        seen.add(node.get_name())
        if node.get_type_name() == "Constant":
            sizes.append(node.get_byte_size())
        if not with_lookups and node.get_type_name() == "Gather" and _length(node.input_value(0)) == vocab_size:
            continue
        waiting += [value.get_node() for value in node.input_values()]
    return sizes


def _length(value: Any) -> int | None:
    """Of the first dimension; ``None`` if it is not fixed."""
    shape = value.get_partial_shape()
    fixed = shape.rank.is_static and shape.rank.get_length() and shape[0].is_static
    return shape[0].get_length() if fixed else None
