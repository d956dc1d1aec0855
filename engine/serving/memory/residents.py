"""The models that are in memory, and what has to go for others: kept KV first, then the longest unused models."""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch

from engine.backends.base import LoadedModel, StepwiseModel
from engine.errors import InsufficientMemoryError
from engine.machine.memory import held_bytes, require_memory
from engine.serving.memory.holding import Hold
from engine.types import Backend, Precision

log = logging.getLogger(__name__)


class ModelKey(NamedTuple):
    """One copy of weights in memory."""

    model: str
    backend: Backend
    precision: Precision


class Spare(Protocol):
    """Memory that can be had back before a model has to go."""

    @property
    def spare_bytes(self) -> int:
        """What could be had."""
        ...

    def release_oldest(self) -> bool:
        """Give some of it back; ``False`` if there is none."""
        ...


class Residents:
    """Models in memory, longest unused first. Used by one thread."""

    def __init__(
        self,
        device: torch.device,
        promised: Callable[[], int] = lambda: 0,
        budget_bytes: int | None = None,
        spare: Spare | None = None,
        running_kv: Callable[[], int] = lambda: 0,
    ) -> None:
        """
        Args:
            device: whose memory they take.
            promised: bytes that are free and will be taken by what is being loaded.
            budget_bytes: what models may hold together; ``None`` for whatever is free.
            spare: what goes first when memory is short.
            running_kv: bytes that the KV of running sequences takes, all of which will end.
        """
        self._device = device
        self._promised = promised
        self._budget_bytes = budget_bytes
        self._spare = spare
        self._running_kv = running_kv
        self._loaded: OrderedDict[ModelKey, LoadedModel] = OrderedDict()
        self._in_use: list[LoadedModel] = []
        """By requests that run; once for each."""

    @contextmanager
    def hold(self) -> Iterator[Hold]:
        """What is acquired for it stays in memory while a block runs."""
        hold = Hold(self._in_use)
        try:
            yield hold
        finally:
            hold.release()

    def get(self, key: ModelKey) -> LoadedModel | None:
        """A model, if it is in memory."""
        return self._loaded.get(key)

    def add(self, key: ModelKey, model: LoadedModel) -> None:
        """A model has come into memory."""
        self._loaded[key] = model

    def keep(self, key: ModelKey, hold: Hold) -> None:
        """A model that is in memory is used, and stays there while it is held."""
        self._loaded.move_to_end(key)
        hold.add(self._loaded[key])

    def is_held(self, model: str) -> bool:
        """Whether somebody needs a copy of a model in memory."""
        return any(key.model == model and loaded in self._in_use for key, loaded in self._loaded.items())

    def release(self, model: str) -> None:
        """Let go of a model at every precision, once those who hold it have ended."""
        for key in [key for key in self._loaded if key.model == model]:
            del self._loaded[key]

    def stepwise(self) -> dict[ModelKey, StepwiseModel]:
        """The models whose passes can be asked for one by one, longest unused first."""
        return {key: stepwise for key, model in self._loaded.items() if (stepwise := model.stepwise)}

    def sizes(self) -> dict[ModelKey, int]:
        """What is in memory, with its weights' bytes, longest unused first. In any thread."""
        return {key: model.weights_bytes for key, model in self._loaded.copy().items()}

    def admit(self, needed: int, purpose: str, staying: int) -> None:
        """Make room for a model, within the budget where that can be; see :meth:`make_room`."""
        self._evict_to_budget(needed)
        self.make_room(needed, purpose, staying)

    def make_room(self, needed: int, purpose: str, staying: int) -> None:
        """Let spare memory, then the longest unused models, go until ``needed`` bytes fit. No model goes that is held.

        Args:
            needed: estimated bytes.
            purpose: what for, as the subject of a sentence.
            staying: bytes of the models that must stay beside it.

        Raises:
            InsufficientMemoryError: they do not fit all the same; final if not even with all gone but what must stay.
        """
        try:
            self.require_free(needed, purpose, self._reclaimable())  # what is hopeless costs nobody a model
            self._let_go_for(needed, purpose)
        except InsufficientMemoryError:
            self._require_ever(needed, purpose, staying)
            raise

    def require_possible(self, needed: int, purpose: str, staying: int) -> None:
        """Refuse what would not fit even if nothing were kept and nobody else ran with the models that are in use.

        Args:
            needed: estimated bytes.
            purpose: what for, as the subject of a sentence.
            staying: bytes of the models that must stay beside it.

        Raises:
            InsufficientMemoryError: and how much there could be; final if not even with all gone but what must stay.
        """
        try:
            self.require_free(needed, purpose, self._reclaimable() + self._running_kv())
        except InsufficientMemoryError:
            self._require_ever(needed, purpose, staying)
            raise

    def make_spare_room(self, needed: int) -> bool:
        """Let spare memory go, but no model, until ``needed`` bytes fit; ``False``, and none goes, if they cannot."""
        if not self._fits(needed, self._spare_bytes()):
            return False
        while not self._fits(needed):
            if not (self._spare and self._spare.release_oldest()):
                return False
        return True

    def require_free(self, needed: int, purpose: str, reclaimable: int = 0) -> None:
        """Refuse what does not fit beside what is being loaded.

        Args:
            needed: estimated bytes.
            purpose: what for, as the subject of a sentence.
            reclaimable: bytes that could be freed for it.

        Raises:
            InsufficientMemoryError: less is free.
        """
        require_memory(needed, purpose, reclaimable, self._device, self._promised())

    def _require_ever(self, needed: int, purpose: str, staying: int) -> None:
        """Refuse for good what would not fit if this process gave all back that it has but ``staying`` bytes."""
        try:
            require_memory(needed, purpose, max(0, held_bytes(self._device) - staying), self._device)
        except InsufficientMemoryError as error:
            raise InsufficientMemoryError(
                f"{error} That is all there could be if nothing else were in memory.", is_final=True
            ) from None

    def _let_go_for(self, needed: int, purpose: str) -> None:
        while not self._fits(needed):
            if not (self._spare and self._spare.release_oldest()) and not self._release_oldest():
                return self.require_free(needed, purpose)

    def _fits(self, needed: int, reclaimable: int = 0) -> bool:
        try:
            self.require_free(needed, "KV", reclaimable)
        except InsufficientMemoryError:
            return False
        return True

    def _reclaimable(self) -> int:
        models = (model for model in self._loaded.values() if model not in self._in_use)
        return self._spare_bytes() + sum(model.weights_bytes for model in models)

    def _spare_bytes(self) -> int:
        return self._spare.spare_bytes if self._spare else 0

    def _evict_to_budget(self, needed: int) -> None:
        """Let the longest unused models go until the budget holds a new one, or none is left to go."""
        if self._budget_bytes is None:
            return
        while needed + sum(model.weights_bytes for model in self._loaded.values()) > self._budget_bytes:
            if not self._release_oldest():
                return

    def _release_oldest(self) -> bool:
        oldest = next((key for key, model in self._loaded.items() if model not in self._in_use), None)
        if oldest is None:
            return False
        log.info("releasing %s to make room", oldest)
        del self._loaded[oldest]
        gc.collect()
        return True
