"""What 3 bits or nf4 for some matrices would cost and save, the rest at int4: one matrix at a time in thousandths of a
nat, then the cheapest of them together, up to a divergence of 0.05.

KLD is from the 16-bit model, over its own answers to sample prompts. Three bits are codes of 0 to 7 with a scale and a
minimum for each 32 inputs, held as int4 to be measured: the same kernel multiplies them. Where they were kept they
would take 4 bits a weight, scales included; int4 takes 5, nf4 4.5, the head 8, and in groups of 32 at 4 bits 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from app.runs.prompts import load_prompts
from engine import list_models
from engine.backends.base import OpenCheckpoint
from engine.evaluation.divergence import DivergenceStats
from engine.models.decoders.native_decoder import NativeDecoder
from engine.models.format.architecture import Matrix
from engine.quantization import GROUP_SIZE, GroupCodes, Linear
from engine.quantization.int4 import NativeInt4Linear
from engine.quantization.nf4 import NativeNf4Linear
from engine.serving.memory.pool import ModelPool
from engine.types import Precision
from tests.benchmarks.decode import THREADS, Options
from tests.benchmarks.divergence import Answer, answer_prompts, divergence, open_decoder
from tests.benchmarks.table import Row
from tests.support.loading import open_model

PROMPTS = 3
"""Whose answers are read some 250 times."""
KLD_LIMIT = 0.05
SAVING_WANTED = 0.15
"""Of the bytes that a token of int4 reads."""
_LEVELS = 7
_SHRINKS = (1.0, 0.9, 0.8, 0.7)
_SLICE_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Form:
    """How a matrix could be held instead."""

    name: str
    bits: float
    """A weight, scales included."""
    pack: Callable[[Tensor, Tensor | None], Linear]


def three_bits(weight: Tensor) -> GroupCodes:
    """Codes of 0 to 7 with the least squared error of a few grids for each group, as for 4 bits."""
    return GroupCodes.joined([_three_bits(rows.float()) for rows in weight.split(_SLICE_ROWS)])


def _three_bits(rows: Tensor) -> GroupCodes:
    groups = rows.view(len(rows), -1, GROUP_SIZE)
    low, high = (bound[..., None] for bound in torch.aminmax(groups, dim=-1))
    best = torch.zeros_like(groups), torch.ones_like(low), torch.zeros_like(low)
    least = torch.full_like(low, torch.inf)
    for shrink in _SHRINKS:
        scale, minimum = ((high - low) * shrink / _LEVELS).clamp_min(1e-8), low + (high - low) * (1 - shrink) / 2
        for _ in range(2):  # codes, then the scale and minimum that suit them best, and once more
            codes = ((groups - minimum) / scale).round().clamp(0, _LEVELS)
            spread = codes - codes.mean(-1, keepdim=True)
            around = groups - groups.mean(-1, keepdim=True)
            fitted = (spread * around).sum(-1, keepdim=True) / spread.square().sum(-1, keepdim=True).clamp_min(1e-8)
            scale = fitted.clamp_min(1e-7).half().float()
            minimum = (groups.mean(-1, keepdim=True) - scale * codes.mean(-1, keepdim=True)).half().float()
        codes = ((groups - minimum) / scale).round().clamp(0, _LEVELS)
        error = (codes * scale + minimum - groups).square().sum(-1, keepdim=True)
        better = error < least
        best = tuple(torch.where(better, new, old) for new, old in zip((codes, scale, minimum), best, strict=True))
        least = torch.minimum(least, error)
    codes, scale, minimum = best
    return GroupCodes(codes.to(torch.uint8).view(rows.shape), scale.squeeze(-1), minimum.squeeze(-1))


INT3 = Form("int3", 4.0, lambda weight, bias: NativeInt4Linear.pack(weight, bias, three_bits(weight)))
NF4 = Form("nf4", 4.5, NativeNf4Linear.pack)
INT4_HEAD = Form("int4", 5.0, NativeInt4Linear.pack)
FORMS = (INT3, NF4)
_HELD_BITS = {False: 5.0, True: 8.0}
"""At int4: of a matrix in the layers, and of the head."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One matrix held otherwise."""

    matrix: Matrix
    form: Form

    @property
    def saved_bytes(self) -> float:
        """Of those that int4 reads for a token."""
        weights = self.matrix.out_features * self.matrix.in_features
        return weights * (_HELD_BITS[self.matrix.is_head] - self.form.bits) / 8


class Mixtures:
    """One model with any of its matrices held otherwise."""

    def __init__(self, opened: OpenCheckpoint, int4: NativeDecoder, answers: Sequence[Answer]) -> None:
        self._int4 = int4
        self._answers = answers
        self._files = opened.checkpoint.weight_files
        self._packed: dict[Choice, Linear] = {}
        matrices = list(int4.config.matrices())
        self.body = [matrix for matrix in matrices if not matrix.is_head]
        self.head = [matrix for matrix in matrices if matrix.is_head][-1]
        """The head, or the embedding that is the head too."""
        read = [*self.body, self.head]
        self.token_bytes = sum(m.out_features * m.in_features * _HELD_BITS[m.is_head] / 8 for m in read)
        """What a token reads of matrices at int4."""

    def measure(self, choices: Sequence[Choice]) -> DivergenceStats:
        """From the 16-bit model, over its own answers."""
        replaced = {("head" if c.matrix.is_head else c.matrix.name): self._linear(c) for c in choices}
        int4 = self._int4
        decoder = NativeDecoder(int4.config, int4._library, int4._modules | replaced, int4._norms)

        def read(prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> Tensor:
            ids = torch.tensor([*prompt_ids, *answer_ids[:-1]])
            hidden = decoder.forward(ids, decoder.new_cache(len(ids)))
            return decoder.logits(hidden[len(prompt_ids) - 1 :])

        return divergence(self._answers, read)

    def _linear(self, choice: Choice) -> Linear:
        if choice not in self._packed:
            matrix = choice.matrix
            bias = self._joined(matrix, "bias") if matrix.biased else None
            self._packed[choice] = choice.form.pack(self._joined(matrix, "weight"), bias)
        return self._packed[choice]

    def _joined(self, matrix: Matrix, part: str) -> Tensor:
        found = {}
        for file in self._files:
            with safe_open(file, framework="pt") as reader:
                for name in {f"{source}.{part}" for source in matrix.sources} & set(reader.keys()):
                    found[name] = reader.get_tensor(name).to(torch.bfloat16)
        return torch.cat([found[f"{source}.{part}"] for source in matrix.sources])


def run(models_dir: Path, options: Options) -> list[Row]:
    """Measure each installed model that is asked for: a row for each layer and form, then whole plans."""
    torch.set_num_threads(THREADS)
    installed = {model.name for model in list_models(models_dir) if model.installed}
    rows: list[Row] = []
    with torch.inference_mode():
        for model in options.models:
            if model in installed:
                rows += [{"model": model} | row for row in _measure(ModelPool(models_dir), model)]
    return rows


def _measure(pool: ModelPool, model: str) -> list[Row]:
    answers = answer_prompts(pool, model, [sample.prompt for sample in load_prompts()[:PROMPTS]])
    int4 = open_decoder(pool, model, Precision.INT4)
    assert isinstance(int4, NativeDecoder)
    mixtures = Mixtures(open_model(pool, model), int4, answers)
    alone = {form: [Choice(matrix, form) for matrix in mixtures.body] for form in FORMS}
    head = Choice(mixtures.head, INT4_HEAD)
    at_int4 = mixtures.measure(()).kld_mean
    added = {c: mixtures.measure((c,)).kld_mean - at_int4 for c in (*alone[INT3], *alone[NF4], head)}
    plans = {"int4": [], "head at int4": [head], **{f"{form.name} in every layer": alone[form] for form in FORMS}}
    plans["the best of them"] = _best(mixtures, added)
    return [*_table(added), *(_plan(name, mixtures, plan) for name, plan in plans.items())]


def _best(mixtures: Mixtures, added: dict[Choice, float]) -> list[Choice]:
    """As many as the limit allows of those that cost least for a byte, each matrix in one form."""
    cheapest: dict[str, Choice] = {}
    for choice in sorted(added, key=lambda c: max(added[c], 0.0) / c.saved_bytes):
        cheapest.setdefault(choice.matrix.name, choice)
    order = list(cheapest.values())
    fits, too_many = 0, len(order) + 1
    while too_many - fits > 1:
        tried = (fits + too_many) // 2
        if mixtures.measure(order[:tried]).kld_mean <= KLD_LIMIT:
            fits = tried
        else:
            too_many = tried
    return order[:fits]


def _table(added: dict[Choice, float]) -> list[Row]:
    """A row for each layer and form: what each matrix adds to the KLD of int4."""
    rows: dict[tuple[str, str], Row] = {}
    for choice, kld in added.items():
        layer, _, kind = choice.matrix.name.removeprefix("layers.").rpartition(".")
        if not choice.matrix.is_head:
            row = rows.setdefault((layer, choice.form.name), {"layer": int(layer), "form": choice.form.name})
            row[f"{kind} (mnat)"] = 1000 * kld
    return [rows[key] for key in sorted(rows, key=lambda key: (key[1], int(key[0])))]


def _plan(name: str, mixtures: Mixtures, plan: Sequence[Choice]) -> Row:
    """What several matrices come to together."""
    stats, saved = mixtures.measure(plan), sum(choice.saved_bytes for choice in plan) / mixtures.token_bytes
    return {
        "plan": name,
        "int3": sum(choice.form is INT3 for choice in plan),
        "nf4": sum(choice.form is NF4 for choice in plan),
        "kld_mean": stats.kld_mean,
        "standard error": stats.kld_mean_se,
        "top1_agreement": stats.same_top,
        "bytes saved": f"{saved:.1%}",
        "worth it": "yes" if saved >= SAVING_WANTED and stats.kld_mean <= KLD_LIMIT else "no",
    }
