"""Who can draft for a request: what is asked for, and for ``auto`` what is in memory anyway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.backends.base import LoadedModel, OpenCheckpoint, StepwiseModel
from engine.cache import KVCache
from engine.errors import InvalidRequestError
from engine.models.sources.progress import Progress
from engine.passes import Steps
from engine.serving.memory.holding import Hold
from engine.serving.memory.pool import ModelPool
from engine.speculation import (
    ANSWER,
    AnswerDrafter,
    Candidate,
    Controller,
    DraftedRun,
    DraftingWeights,
    Speculator,
    draft_source,
)
from engine.speculation.session_texts import SessionTexts
from engine.types import (
    MAX_GAMMA,
    CacheMode,
    Drafter,
    GenerationRequest,
    OptimizationConfig,
    RunConfig,
    SpeculationConfig,
)


@dataclass(frozen=True, slots=True)
class DraftModel:
    """A model in memory that can draft."""

    name: str
    model: StepwiseModel
    drafter: Drafter
    """What it drafts as."""


@dataclass(frozen=True, slots=True)
class Drafters:
    """Who can draft for a request; all of them are in memory."""

    request: GenerationRequest
    model: StepwiseModel
    config: SpeculationConfig | None
    """``None`` with the gear off: then only a smaller tier's answer drafts."""
    earlier: tuple[tuple[int, ...], ...] = ()
    """Texts of the same session."""
    draft_models: tuple[DraftModel, ...] = ()
    unavailable: tuple[str, ...] = ()
    """Why some that were asked for cannot draft, for the user."""

    def speculator(
        self,
        prompt_ids: list[int],
        max_tokens: int,
        cache: KVCache | None,
        answer: Sequence[int],
        cancelled: Callable[[], bool],
    ) -> Speculator:
        """The run's own.

        Args:
            prompt_ids: the prompt.
            max_tokens: of the answer.
            cache: the KV that the answer is written with; ``None`` if none is kept.
            answer: what a smaller tier of a cascade has answered, in the same tokens.
            cancelled: whether the run is to stop.
        """
        run = DraftedRun(
            prompt_ids=prompt_ids,
            sampling=self.request.config.sampling,
            capacity=len(prompt_ids) + max_tokens + MAX_GAMMA,
            earlier=self.earlier,
            cache=cache,
            cancelled=cancelled,
        )
        candidates = [Candidate(ANSWER, AnswerDrafter(answer))] if answer else []
        for drafter in self.config.drafter.text_drafters if self.config else ():
            candidates.append(Candidate(str(drafter), draft_source(drafter, run), drafter.info.prior))
        for draft in self.draft_models:
            if cache is None and draft.drafter.info.needs_kv:
                continue
            weights = DraftingWeights(draft.model.decoder, min(draft.model.vocab_size, self.model.vocab_size))
            source, step_s = draft_source(draft.drafter, run, weights), draft.model.step_times().seconds(1)
            candidates.append(Candidate(draft.name, source, draft.drafter.info.prior, step_s))
        controller = Controller(self.model.step_times(), self.config.gamma if self.config else None)
        return Speculator(controller, candidates, self.unavailable)


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
        hold: Hold,
        *,
        answer_drafts: bool = False,
    ) -> Steps[Drafters | None]:
        """Who drafts for a request, in memory and timed; ``None`` with the gear off.

        Args:
            opened: the model that verifies.
            model: the same, in memory.
            request: says who is asked to draft.
            progress: told how far loading is.
            hold: keeps those that are models in memory.
            answer_drafts: whether a smaller tier's answer may draft, even with the gear off.

        Raises:
            InvalidRequestError: the model asked to draft has another tokenizer.
            GearboxError: it cannot be loaded.
        """
        gears = request.config.optimization
        speculation, verifier = gears.speculation, model.stepwise
        if verifier is None or (speculation is None and not answer_drafts):
            return None
        yield from self._pool.time(opened.checkpoint.name, verifier, progress)
        if speculation is None:
            return Drafters(request, verifier, None)
        found: tuple[DraftModel, ...] = ()
        unavailable: tuple[str, ...] = ()
        if speculation.drafter.info.has_precision:
            found = ((yield from self._asked_for(opened, request.config, speculation, progress, hold)),)
        elif speculation.drafter is Drafter.AUTO and gears.cache_mode is CacheMode.OFF:
            tried = " and ".join(drafter.info.name for drafter in speculation.drafter.text_drafters)
            unavailable = (f"Without a KV cache no model can draft: only {tried} were tried.",)
        elif speculation.drafter is Drafter.AUTO:
            found = yield from self._resident(opened, verifier, request.config, progress, hold)
        for draft in found:
            yield from self._pool.time(draft.name, draft.model, progress)
        earlier = () if request.cold else self._texts.of(request.cache_salt, opened.tokenizer.fingerprint)
        return Drafters(request, verifier, speculation, earlier, found, unavailable)

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
        run: RunConfig,
        speculation: SpeculationConfig,
        progress: Progress,
        hold: Hold,
    ) -> Steps[DraftModel]:
        precision = speculation.draft_precision
        assert precision is not None  # SpeculationConfig has seen to it
        name = speculation.draft_model or run.model
        drafting = yield from self._pool.open(name, progress)
        if reason := why_not(opened, drafting):
            raise InvalidRequestError(reason)
        config = RunConfig(model=name, backend=run.backend, optimization=OptimizationConfig.at(precision))
        loaded = (yield from self._pool.acquire(drafting, config, progress, hold)).stepwise
        assert loaded is not None  # a backend with the gear has such models
        drafter = Drafter.SELF if name == run.model else speculation.drafter
        return DraftModel(f"{drafting.checkpoint.name} {precision}", loaded, drafter)

    def _resident(
        self, opened: OpenCheckpoint, model: StepwiseModel, run: RunConfig, progress: Progress, hold: Hold
    ) -> Steps[tuple[DraftModel, ...]]:
        """Models in memory that could draft: a coarser copy, and smaller models with the same tokenizer."""
        found = []
        for key in self._pool.residents.stepwise():
            is_copy = key.model == run.model and key.precision.info.copy_drafts and not run.precision.info.copy_drafts
            if key.model == run.model and not is_copy:
                continue
            drafting = yield from self._pool.open(key.model, progress)
            loaded = self._pool.residents.stepwise().get(key)  # it may have left meanwhile
            smaller = loaded is not None and loaded.weights_bytes < model.weights_bytes
            if loaded and (is_copy or (smaller and why_not(opened, drafting) is None)):
                self._pool.residents.keep(key, hold)
                drafter = Drafter.SELF if is_copy else Drafter.DRAFT
                found.append(DraftModel(f"{drafting.checkpoint.name} {key.precision}", loaded, drafter))
        return tuple(found)


def why_not(target: OpenCheckpoint, drafting: OpenCheckpoint) -> str | None:
    """Why one model cannot draft for another, for the user; ``None`` if it can."""
    if target.tokenizer.fingerprint != drafting.tokenizer.fingerprint:
        return (
            f"{drafting.checkpoint.name} cannot draft for {target.checkpoint.name}: their tokenizers differ, so the "
            "tokens of one mean nothing to the other."
        )
    return None
