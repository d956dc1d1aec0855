"""Which models are in memory. The longest unused leave when another one needs their room."""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from engine.backends import model_class
from engine.backends.base import LoadedModel, OpenCheckpoint, Place, StepwiseModel
from engine.errors import InsufficientMemoryError, InvalidRequestError, WeightsIntegrityError
from engine.machine.memory import require_address_space, require_memory
from engine.models.checkpoint import resolve
from engine.models.decoders.weights import CPU
from engine.models.format.decoder_config import read_decoder_config
from engine.models.format.gate import check_largest_id
from engine.models.sources.progress import Progress
from engine.models.tokenization.tokenizer import ChatTokenizer
from engine.models.tokenization.tokenizer_calls import call
from engine.types import Backend, Precision, RunConfig, precisions_on

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


class ModelPool:
    """Loads models on demand and keeps them while there is room. Used by one thread."""

    def __init__(
        self,
        models_dir: Path,
        budget_bytes: int | None = None,
        device: torch.device = CPU,
        spare: Spare | None = None,
    ) -> None:
        """
        Args:
            models_dir: where catalogue models and packed weights are kept.
            budget_bytes: what models may hold together; ``None`` for whatever is free.
            device: where models run, and whose memory they take.
            spare: what goes first when memory is short.
        """
        self._models_dir = models_dir
        self._spare = spare
        self._budget_bytes = budget_bytes
        self.device = device
        self._place = Place(device, models_dir / ".packed")
        self._open: dict[str, OpenCheckpoint] = {}
        self._loaded: OrderedDict[ModelKey, LoadedModel] = OrderedDict()
        self._in_use: list[LoadedModel] = []
        """By requests that run; once for each."""

    @contextmanager
    def in_use(self, models: Collection[LoadedModel]) -> Iterator[None]:
        """Keep models in memory while a block runs."""
        self._in_use += models
        try:
            yield
        finally:
            for model in models:
                self._in_use.remove(model)

    def open(self, model: str) -> OpenCheckpoint:
        """Find a model and read its configuration and tokenizer.

        Raises:
            UnknownModelError, ModelNotInstalledError, UnsupportedModelError: as they say.
        """
        checkpoint = resolve(model, self._models_dir)
        known = self._open.get(model)
        if known is None or known.checkpoint != checkpoint:
            self._release(model)
            config = read_decoder_config(model, checkpoint.folder, checkpoint.architecture)
            tokenizer = _open_tokenizer(model, checkpoint.folder)
            check_largest_id(model, tokenizer.vocab_size - 1, config.vocab_size)
            known = OpenCheckpoint(checkpoint, config, tokenizer)
            self._open[model] = known
        return known

    def acquire(
        self, opened: OpenCheckpoint, run: RunConfig, progress: Progress, pinned: Collection[LoadedModel] = ()
    ) -> LoadedModel:
        """The model as a configuration wants it, loaded if it is not there yet.

        Args:
            opened: from :meth:`open`.
            run: says the backend and the precision.
            progress: told how far loading is.
            pinned: models that must stay in memory beside it.

        Raises:
            InvalidRequestError: the device has no kernels for the precision.
            InsufficientMemoryError: it does not fit, even with every other model gone.
            WeightsIntegrityError: a weights file was truncated or altered.
        """
        key = ModelKey(run.model, run.backend, run.precision)
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key]
        offered = precisions_on(self.device.type)
        if run.precision not in offered:
            raise InvalidRequestError(
                f"{run.precision} needs an NVIDIA GPU with CUDA, and this engine runs on the CPU. Choose one of "
                f"{', '.join(offered)}."
            )
        loaded_as, checkpoint = model_class(run.backend), opened.checkpoint
        needed = loaded_as.estimate_bytes(opened, run.precision, self._place)
        self._evict_to_budget(needed, pinned)
        self.make_room(needed, f"Loading {checkpoint.name} in {run.precision}", pinned)
        mapped = sum(file.stat().st_size for file in checkpoint.weight_files)
        require_address_space(needed + mapped, f"Loading {checkpoint.name} in {run.precision}")
        model = loaded_as.load(opened, run.precision, self._place, progress)
        self._loaded[key] = model
        return model

    def stepwise(self) -> dict[ModelKey, StepwiseModel]:
        """The models in memory whose passes can be asked for one by one, longest unused first."""
        return {key: stepwise for key, model in self._loaded.items() if (stepwise := model.stepwise)}

    def make_room(self, needed: int, purpose: str, pinned: Collection[LoadedModel] = ()) -> None:
        """Let spare memory, then the longest unused models, go until ``needed`` bytes fit.

        Raises:
            InsufficientMemoryError: they do not fit all the same.
        """
        reclaimable = self._spare.spare_bytes if self._spare else 0
        reclaimable += sum(model.weights_bytes for model in self._loaded.values() if self._may_go(model, pinned))
        require_memory(needed, purpose, reclaimable, self.device)  # what is hopeless costs nobody a model
        while True:
            try:
                require_memory(needed, purpose, device=self.device)
                return
            except InsufficientMemoryError:
                if self._spare and self._spare.release_oldest():
                    continue
                if not self._release_oldest(pinned):
                    raise

    def _evict_to_budget(self, needed: int, pinned: Collection[LoadedModel]) -> None:
        """Let the longest unused models go until the budget holds a new one, or none is left to go."""
        if self._budget_bytes is None:
            return
        while needed + sum(model.weights_bytes for model in self._loaded.values()) > self._budget_bytes:
            if not self._release_oldest(pinned):
                return

    def _release_oldest(self, pinned: Collection[LoadedModel]) -> bool:
        oldest = next((key for key, model in self._loaded.items() if self._may_go(model, pinned)), None)
        if oldest is None:
            return False
        log.info("releasing %s to make room", oldest)
        del self._loaded[oldest]
        gc.collect()
        return True

    def _may_go(self, model: LoadedModel, pinned: Collection[LoadedModel]) -> bool:
        return model not in pinned and model not in self._in_use

    def resident(self) -> dict[ModelKey, int]:
        """What is in memory, with its weights' bytes, longest unused first."""
        return {key: model.weights_bytes for key, model in self._loaded.copy().items()}

    def _release(self, model: str) -> None:
        for key in [key for key in self._loaded if key.model == model]:
            del self._loaded[key]


def _open_tokenizer(model: str, folder: Path) -> ChatTokenizer:
    """A checkpoint's tokenizer.

    Raises:
        WeightsIntegrityError: its files cannot be used.
    """
    try:
        return call(ChatTokenizer, folder)
    except InvalidRequestError as error:
        raise WeightsIntegrityError(f"{model}: {error}") from error
