"""Loads altered checkpoints in children that may die, and holds them against transformers.

``python -m tests.support.oracle`` imports everything and computes nothing, so that it can fork: a process whose threads
have started cannot, and a fresh import for each checkpoint would take seconds. It reads a folder a line and writes a
JSON object a line.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

TEXT = "What is 6 times 7? The numbers are 1, 2 and 42."
CHUNK = 16
"""Tokens read first: few rows and many take different kernels in 16 bits."""
LARGEST_WEIGHT = 1e3
"""A row with a larger one leaves nothing of its others in 8 bits, so there is nothing to compare."""
LIMIT_S = 120
"""Of one child: a guard against hanging, far above what one takes."""


def judge(folder: Path) -> dict[str, Any]:
    """What becomes of a checkpoint here: refused in words, equal to transformers, or neither."""
    from engine.errors import GearboxError
    from engine.serving.memory.pool import ModelPool
    from engine.types import Message, OptimizationConfig, Precision, RunConfig
    from tests.support.loading import load_model, open_model

    pool = ModelPool(folder.parent)
    logits, unlike = {}, []
    try:
        opened = open_model(pool, str(folder))
        ids = opened.tokenizer.encode_chat([Message("user", TEXT)]) or [0]
        for precision in (Precision.BF16, Precision.INT8, Precision.INT4, Precision.NF4):
            run = RunConfig(model=str(folder), optimization=OptimizationConfig.at(precision))
            model: Any = load_model(pool, run)
            logits[precision] = _logits(model.decoder, ids)
    except GearboxError as error:
        return {"outcome": "refused", "kind": type(error).__name__, "why": str(error)}
    wanted_ids, wanted, rounding, largest = _reference(folder)
    if ids != (wanted_ids or [0]):
        unlike.append(f"ids {ids} for {wanted_ids}")
    elif not _alike(logits[Precision.BF16], wanted, (0.05, 0.3), rounding):
        unlike.append("logits in 16 bits")
    elif largest < LARGEST_WEIGHT and not _alike(logits[Precision.INT8], wanted, (0.3, 0.7), rounding):
        unlike.append("logits in int8")
    return {"outcome": "neither" if unlike else "equal", "why": ", ".join(unlike)}


def _logits(decoder: Any, ids: list[int]) -> Any:
    import torch

    with torch.inference_mode():
        cache = decoder.new_cache(len(ids))
        chunks = torch.tensor(ids).split([min(CHUNK, len(ids)), max(0, len(ids) - CHUNK)])
        return torch.cat([decoder.logits(decoder.forward(chunk, cache)) for chunk in chunks if len(chunk)])


def _reference(folder: Path) -> tuple[list[int], Any, Any, float]:
    """transformers' ids of the chat, its logits for them, what rounding does to each row of those, ``None``
    where finite weights overflow in 32 bits too, and the largest weight."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": TEXT}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
    else:
        ids = tokenizer(TEXT)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    with torch.inference_mode():
        largest = max(float(weight.abs().max()) for weight in model.parameters())
        logits = model(torch.tensor([ids or [0]])).logits[0].float()
        exact = model.float()(torch.tensor([ids or [0]])).logits[0]
        overflows = not exact.isfinite().all() and all(weight.isfinite().all() for weight in model.parameters())
        rounding = _errors(logits, exact)
        # of one row it is a single draw, which may be small by chance
        amplified = torch.maximum(rounding, rounding.median())
        return list(ids), logits, None if overflows else amplified.nan_to_num(0.0), largest


def _errors(got: Any, wanted: Any) -> Any:
    """How far each row of logits is from another, relative to it."""
    return (got - wanted).norm(dim=-1) / wanted.norm(dim=-1).clamp_min(1e-3)


def _alike(got: Any, wanted: Any, tolerance: tuple[float, float], rounding: Any) -> bool:
    """Rows of logits agree to rounding, or the reference is no number either. Where it overflows, what comes out hangs
    on the order of additions, and there is nothing to compare.

    Args:
        got, wanted: logits, ``[rows, vocab]`` each.
        tolerance: relative error of a row that is allowed of ordinary weights, and at most of altered ones, which may
            amplify rounding. Logits that have nothing to do with each other differ by about 1.4.
        rounding: what rounding to 16 bits does to each row of the reference; up to 1.25 % is ordinary.
    """
    import torch

    if got.shape != wanted.shape:
        return False
    if rounding is None:
        return True
    if not bool(torch.isfinite(wanted).all()):
        return not bool(torch.isfinite(got).all())
    ordinary, most = tolerance
    allowed = (ordinary * rounding / 0.0125).clamp(ordinary, most)
    return bool((_errors(got, wanted) < allowed).all())


def serve() -> None:
    """Judge the folders that come in, each in a child of its own."""
    import transformers.models.llama.modeling_llama
    import transformers.models.mistral.modeling_mistral
    import transformers.models.qwen2.modeling_qwen2
    import transformers.models.qwen3.modeling_qwen3  # noqa: F401

    import engine.serving.memory.pool  # noqa: F401 (imported, so that children have it)
    from engine.quantization.bnb import bitsandbytes

    bitsandbytes()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    for line in sys.stdin:
        answers.write(json.dumps(_in_child(Path(json.loads(line)))) + "\n")
        answers.flush()


def _in_child(folder: Path) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            result = judge(folder)
        except BaseException as error:  # noqa: BLE001 (a defect, which the test is to learn of)
            result = {"outcome": "neither", "why": f"{type(error).__name__}: {error}"[:2_000]}
        with os.fdopen(writing, "w") as end:
            json.dump(result, end)
        os._exit(0)
    os.close(writing)
    said = b""
    deadline = time.monotonic() + LIMIT_S
    while ready := select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(reading, 2**16)
        if not part:
            break
        said += part
    os.close(reading)
    if not ready:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not ready:
        return {"outcome": "neither", "why": f"it took longer than {LIMIT_S} s"}
    if not said:
        return {"outcome": "neither", "why": f"the process died with status {status}"}
    result: dict[str, Any] = json.loads(said)
    return result


class Oracle:
    """The process that judges, as a context manager."""

    def __enter__(self) -> Self:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "TRANSFORMERS_VERBOSITY": "error",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.oracle"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env=environment, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def judge(self, folder: Path) -> dict[str, Any]:
        """See :func:`judge`; a child that dies is neither."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(str(folder)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        result: dict[str, Any] = json.loads(line)
        return result


if __name__ == "__main__":
    serve()
