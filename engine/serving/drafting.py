"""Who can draft for a request: what is asked for, and for ``auto`` what is in memory anyway."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from engine.backends.base import LoadedModel
from engine.backends.local import LocalModel
from engine.cache import KVCache
from engine.errors import InvalidRequestError
from engine.models.sources.progress import Progress
from engine.serving.pool import ModelPool, OpenCheckpoint
from engine.speculation import (
    AnswerDrafter,
    Candidate,
    Controller,
    ModelDrafter,
    NgramDrafter,
    SharedKVDrafter,
    Speculator,
)
from engine.speculation.session_texts import SessionTexts
from engine.types import (
    MAX_GAMMA,
    Backend,
    CacheMode,
    Drafter,
    GenerationRequest,
    OptimizationConfig,
    Precision,
    RunConfig,
    SpeculationConfig,
)

SELF_PRIOR, DRAFT_PRIOR = 0.8, 0.6
"""First guesses of the acceptance."""
COPIES = (Precision.INT4, Precision.NF4)
"""Precisions that a model drafts for itself in."""


@dataclass(frozen=True, slots=True)
class DraftModel:
    """A model in memory that can draft."""

    name: str
    model: LocalModel
    shares_kv: bool
    """Whether it is a copy of the model it drafts for."""


@dataclass(frozen=True, slots=True)
class Drafters:
    """Who can draft for a request; all of them are in memory."""

    request: GenerationRequest
    model: LocalModel
    config: SpeculationConfig | None
    """``None`` with the gear off: then only a smaller tier's answer drafts."""
    earlier: tuple[tuple[int, ...], ...] = ()
    """Texts of the same session."""
    draft_models: tuple[DraftModel, ...] = ()
    unavailable: tuple[str, ...] = ()
    """Why some that were asked for cannot draft, for the user."""

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        """What must stay in memory."""
        return tuple(draft.model for draft in self.draft_models)

    def speculator(
        self, prompt_ids: list[int], max_tokens: int, cache: KVCache | None, answer: Sequence[int] = ()
    ) -> Speculator:
        """The run's own.

        Args:
            prompt_ids: the prompt.
            max_tokens: of the answer.
            cache: the KV that the answer is written with; ``None`` if none is kept.
            answer: what a smaller tier of a cascade has answered, in the same tokens.
        """
        sampling = self.request.config.sampling
        capacity = len(prompt_ids) + max_tokens + MAX_GAMMA
        candidates = []
        for draft in self.draft_models if cache is not None else ():
            decoder, vocab_size = draft.model.decoder, min(draft.model.vocab_size, self.model.vocab_size)
            source = (
                SharedKVDrafter(decoder, vocab_size, sampling, cache)
                if draft.shares_kv and cache is not None
                else ModelDrafter(decoder, vocab_size, sampling, capacity)
            )
            prior = SELF_PRIOR if draft.shares_kv else DRAFT_PRIOR
            candidates.append(Candidate(draft.name, source, prior, draft.model.step_times().seconds(1)))
        uses_ngrams = self.config is not None and self.config.drafter in (Drafter.AUTO, Drafter.NGRAM)
        return Speculator(
            Controller(self.model.step_times(), self.config.gamma if self.config else None),
            NgramDrafter(self.earlier, prompt_ids) if uses_ngrams else None,
            candidates,
            self.unavailable,
            AnswerDrafter(answer) if answer else None,
        )


class Drafting:
    """Finds and loads drafters. Used by the engine's thread, but for :meth:`forget`."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._texts = SessionTexts()

    def drafters(
        self,
        opened: OpenCheckpoint,
        model: LoadedModel,
        request: GenerationRequest,
        progress: Progress,
        keep: Collection[LoadedModel],
        *,
        salvages: bool = False,
    ) -> Drafters | None:
        """Who drafts for a request, in memory and timed; ``None`` with the gear off.

        Args:
            opened: the model that verifies.
            model: the same, in memory.
            request: says who is asked to draft.
            progress: told how far loading is.
            keep: what else must stay in memory.
            salvages: whether a smaller tier's answer may draft, even with the gear off.

        Raises:
            InvalidRequestError: the model asked to draft has another tokenizer.
            GearboxError: it cannot be loaded.
        """
        gears = request.config.optimization
        speculation = gears.speculation
        if not isinstance(model, LocalModel) or (speculation is None and not salvages):
            return None
        progress(f"Timing {opened.checkpoint.name}", 0.0)
        model.step_times()
        if speculation is None:
            return Drafters(request, model, None)
        found: tuple[DraftModel, ...] = ()
        unavailable: tuple[str, ...] = ()
        match speculation.drafter:
            case Drafter.AUTO if gears.cache_mode is CacheMode.OFF:
                unavailable = ("Without a KV cache no model can draft: only n-grams were tried.",)
            case Drafter.AUTO:
                found = tuple(self._resident(opened, model, request))
            case Drafter.SELF | Drafter.DRAFT:
                found = (self._asked_for(opened, model, request.config, speculation, progress, keep),)
            case Drafter.NGRAM:
                pass
        for draft in found:
            progress(f"Timing {draft.name}", 0.5)
            draft.model.step_times()
        earlier = () if request.cold else self._texts.of(request.cache_salt, opened.tokenizer.fingerprint)
        return Drafters(request, model, speculation, earlier, found, unavailable)

    def remember(self, opened: OpenCheckpoint, request: GenerationRequest, ids: tuple[int, ...]) -> None:
        """A run with the gear on has ended: its text may help the session's next."""
        if request.config.optimization.speculation:
            self._texts.add(request.cache_salt, opened.tokenizer.fingerprint, ids)

    def forget(self, salt: str) -> None:
        """A session has ended: none of its texts is kept."""
        self._texts.forget(salt)

    def _asked_for(
        self,
        opened: OpenCheckpoint,
        model: LocalModel,
        run: RunConfig,
        speculation: SpeculationConfig,
        progress: Progress,
        keep: Collection[LoadedModel],
    ) -> DraftModel:
        precision = speculation.draft_precision
        assert precision is not None  # SpeculationConfig has seen to it
        name = speculation.draft_model or run.model
        drafting = self._pool.open(name)
        if reason := why_not(opened, drafting):
            raise InvalidRequestError(reason)
        config = RunConfig(model=name, optimization=OptimizationConfig.at(precision))
        loaded = self._pool.acquire(drafting, config, progress, keep=(model, *keep))
        assert isinstance(loaded, LocalModel)  # the backend of the configuration
        return DraftModel(f"{drafting.checkpoint.name} {precision}", loaded, shares_kv=name == run.model)

    def _resident(self, opened: OpenCheckpoint, model: LocalModel, request: GenerationRequest) -> Iterator[DraftModel]:
        """Models in memory that could draft: a 4-bit copy, and smaller models with the same tokenizer."""
        run = request.config
        for key in self._pool.resident():
            is_copy = key.model == run.model and key.precision in COPIES and run.precision not in COPIES
            if key.backend is not Backend.LOCAL or (key.model == run.model and not is_copy):
                continue
            drafting = self._pool.open(key.model)
            config = replace(run, model=key.model, optimization=OptimizationConfig.at(key.precision))
            loaded = self._pool.acquire(drafting, config, lambda stage, fraction: None)
            smaller = isinstance(loaded, LocalModel) and loaded.weights_bytes < model.weights_bytes
            if isinstance(loaded, LocalModel) and (is_copy or (smaller and why_not(opened, drafting) is None)):
                yield DraftModel(f"{drafting.checkpoint.name} {key.precision}", loaded, shares_kv=is_copy)


def why_not(target: OpenCheckpoint, drafting: OpenCheckpoint) -> str | None:
    """Why one model cannot draft for another, for the user; ``None`` if it can."""
    if target.tokenizer.fingerprint != drafting.tokenizer.fingerprint:
        return (
            f"{drafting.checkpoint.name} cannot draft for {target.checkpoint.name}: their tokenizers differ, so the "
            "tokens of one mean nothing to the other."
        )
    return None
