"""Which models are in memory. The longest unused leave when another one needs their room."""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from engine.backends import model_class
from engine.backends.base import LoadedModel, OpenCheckpoint, Place, StepwiseModel
from engine.errors import InsufficientMemoryError, InvalidRequestError, ModelInUseError
from engine.machine.memory import held_bytes, require_address_space, require_memory
from engine.models.checkpoint import PACKED, resolve
from engine.models.decoders.weights import CPU
from engine.models.opening import open_small_files
from engine.models.sources.progress import Progress
from engine.passes import Steps
from engine.serving.memory.holding import Hold
from engine.serving.memory.loading import Errand, Errands
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
        running_kv: Callable[[], int] = lambda: 0,
    ) -> None:
        """
        Args:
            models_dir: where catalogue models and packed weights are kept.
            budget_bytes: what models may hold together; ``None`` for whatever is free.
            device: where models run, and whose memory they take.
            spare: what goes first when memory is short.
            running_kv: bytes that the KV of running sequences takes, all of which will end.
        """
        self._running_kv = running_kv
        self._models_dir = models_dir
        self._spare = spare
        self._budget_bytes = budget_bytes
        self.device = device
        self._place = Place(device, models_dir / PACKED)
        self._open: dict[str, OpenCheckpoint] = {}
        self._loaded: OrderedDict[ModelKey, LoadedModel] = OrderedDict()
        self._in_use: list[LoadedModel] = []
        """By requests that run; once for each."""
        self._opening: defaultdict[str, Errands] = defaultdict(Errands)
        """By the model that is opened: one may have to be downloaded first, which must hold no other up."""
        self._loading = Errands()

    @contextmanager
    def hold(self) -> Iterator[Hold]:
        """What is acquired for it stays in memory while a block runs."""
        hold = Hold(self._in_use)
        try:
            yield hold
        finally:
            hold.release()

    def open(self, model: str, progress: Progress) -> Steps[OpenCheckpoint]:
        """Find a model and read its configuration and tokenizer: beside the engine's thread the first time.

        Args:
            model: its name, folder or hub id.
            progress: told while that goes on; what it raises ends the wait.

        Raises:
            UnknownModelError, ModelNotInstalledError, UnsupportedModelError: as they say.
        """
        known = self._open.get(model)
        if known is not None and known.checkpoint == resolve(model, self._models_dir):
            return known
        opening, read = self._opening[model], partial(_read, model, self._models_dir, self._place.packed_root)
        try:
            yield from opening.turn(model, progress)
            opened = yield from opening.run(model, lambda: Errand(model, f"Opening {model}", read), progress)
        finally:
            if opening.is_idle:
                self._opening.pop(model, None)
        latest = self._open.get(model)
        if latest is not None and latest.checkpoint == opened.checkpoint:  # who waited beside this one came first
            return latest
        self._release(model)
        self._open[model] = opened
        return opened

    def acquire(self, opened: OpenCheckpoint, run: RunConfig, progress: Progress, hold: Hold) -> Steps[LoadedModel]:
        """The model as a configuration wants it, loaded if it is not there yet: beside the engine's thread, which goes
        on with other sequences.

        Args:
            opened: from :meth:`open`.
            run: says the backend and the precision.
            progress: told how far loading is; what it raises comes out here, and ends the loading if nobody else waits
                for the same model.
            hold: of who needs it; the model is added to it.

        Raises:
            InvalidRequestError: the device has no kernels for the precision.
            InsufficientMemoryError: it does not fit, even with every model gone that nobody holds.
            WeightsIntegrityError: a weights file was truncated or altered.
        """
        key = ModelKey(run.model, run.backend, run.precision)
        model = self._known(key, opened)
        if model is None:
            yield from self._loading.turn((key, id(opened)), progress)
            model = self._known(key, opened)
        if model is not None:
            self.keep(key, hold)
            return model
        model = yield from self._load(key, opened, progress)
        hold.add(model)
        is_warm = self._known(key, opened) is model
        if not is_warm:
            if self._open.get(run.model) is opened:  # else its files have been replaced meanwhile
                self._loaded[key] = model
            progress(f"Warming up {opened.checkpoint.name}", 0.95)
            yield from model.warm_up()
            progress(f"Warming up {opened.checkpoint.name}", 1.0)
        return model

    def keep(self, key: ModelKey, hold: Hold) -> None:
        """A model that is in memory is used, and stays there while it is held."""
        self._loaded.move_to_end(key)
        hold.add(self._loaded[key])

    def loads_nothing(self, progress: Progress) -> Steps[None]:
        """Wait until no model is being loaded: for what is to be timed.

        Args:
            progress: told while it waits; what it raises ends the wait.
        """
        yield from self._loading.turn(None, progress)

    def time(self, name: str, model: StepwiseModel, progress: Progress) -> Steps[None]:
        """See to it that a model's steps have been timed. Others' passes come between them, but nothing is loaded.

        Args:
            name: for the progress.
            model: one in memory.
            progress: told of it; what it raises comes out here.
        """
        while not model.is_timed:
            yield from self.loads_nothing(progress)
            if not model.is_timed:  # somebody else may have waited for the same
                stage = f"Timing {name}"
                progress(stage, 0.0)
                with self._loading.reserved(stage):
                    yield from model.time_steps()

    def close(self) -> None:
        """Wait for what is being loaded to end, once nobody wants it any more. In any thread."""
        self._loading.close(timeout_s=10)

    def _known(self, key: ModelKey, opened: OpenCheckpoint) -> LoadedModel | None:
        """A model in memory, if it was loaded from the files that were opened."""
        return self._loaded.get(key) if self._open.get(key.model) is opened else None

    def _load(self, key: ModelKey, opened: OpenCheckpoint, progress: Progress) -> Steps[LoadedModel]:
        offered = precisions_on(self.device.type)
        if key.precision not in offered:
            raise InvalidRequestError(
                f"{key.precision} needs an NVIDIA GPU with CUDA, and this engine runs on the CPU. Choose one of "
                f"{', '.join(offered)}."
            )
        load = partial(model_class(key.backend).load, opened, key.precision, self._place)
        if not key.backend.info.shares_passes:  # transformers changes torch for all threads while it loads
            self._admit(key, opened)
            return load(progress)
        errand_key = (key, id(opened))

        def begin() -> Errand[LoadedModel]:
            needed = self._admit(key, opened)
            return Errand(errand_key, f"Loading {opened.checkpoint.name} in {key.precision}", load, needed)

        return (yield from self._loading.run(errand_key, begin, progress))

    def _admit(self, key: ModelKey, opened: OpenCheckpoint) -> int:
        """Make room for a model; the bytes that it needs."""
        checkpoint, purpose = opened.checkpoint, f"Loading {opened.checkpoint.name} in {key.precision}"
        needed = model_class(key.backend).estimate_bytes(opened, key.precision, self._place)
        self._evict_to_budget(needed)
        self.make_room(needed, purpose)
        mapped = sum(file.stat().st_size for file in checkpoint.weight_files)
        require_address_space(needed + mapped, purpose)
        return needed

    def stepwise(self) -> dict[ModelKey, StepwiseModel]:
        """The models in memory whose passes can be asked for one by one, longest unused first."""
        return {key: stepwise for key, model in self._loaded.items() if (stepwise := model.stepwise)}

    def make_room(self, needed: int, purpose: str) -> None:
        """Let spare memory, then the longest unused models, go until ``needed`` bytes fit. No model goes that is held.

        Raises:
            InsufficientMemoryError: they do not fit all the same.
        """
        self.require_free(needed, purpose, self._reclaimable())  # what is hopeless costs nobody a model
        while True:
            try:
                self.require_free(needed, purpose)
                return
            except InsufficientMemoryError:
                if self._spare and self._spare.release_oldest():
                    continue
                if not self._release_oldest():
                    raise

    def require_possible(self, needed: int, purpose: str, beside: LoadedModel) -> None:
        """Refuse what would not fit even if nothing were kept and nobody else ran with the models that are in use.

        Args:
            needed: estimated bytes.
            purpose: what for, as the subject of a sentence.
            beside: the model that it is for.

        Raises:
            InsufficientMemoryError: and how much there could be; final if not even with all gone but that model.
        """
        try:
            self.require_free(needed, purpose, self._reclaimable() + self._running_kv())
        except InsufficientMemoryError:
            others = max(0, held_bytes(self.device) - beside.weights_bytes)
            try:
                require_memory(needed, purpose, others, self.device)
            except InsufficientMemoryError as error:
                raise InsufficientMemoryError(str(error), is_final=True) from None
            raise

    def make_spare_room(self, needed: int) -> bool:
        """Let spare memory go, but no model, until ``needed`` bytes fit; ``False``, and none goes, if they cannot."""
        if not self._fits(needed, self._spare_bytes()):
            return False
        while not self._fits(needed):
            if not (self._spare and self._spare.release_oldest()):
                return False
        return True

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

    def require_free(self, needed: int, purpose: str, reclaimable: int = 0) -> None:
        """Refuse what does not fit beside what is being loaded.

        Args:
            needed: estimated bytes.
            purpose: what for, as the subject of a sentence.
            reclaimable: bytes that could be freed for it.

        Raises:
            InsufficientMemoryError: less is free.
        """
        require_memory(needed, purpose, reclaimable, self.device, self._loading.promised_bytes)

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

    def unload(self, model: str) -> None:
        """Let all copies of a model of the models folder go, by whatever name it was asked for.

        Raises:
            ModelInUseError: a request answers or drafts with one, or something is being loaded.
        """
        folder = self._models_dir / model
        names = {name for name, opened in self._open.items() if opened.checkpoint.folder == folder}
        if any(key.model in names and loaded in self._in_use for key, loaded in self._loaded.items()):
            raise ModelInUseError(f"{model} answers or drafts for a request that runs. Wait until that has ended.")
        if not self._loading.is_idle or self._opening:
            raise ModelInUseError(f"A model is being loaded, which may be {model}. Wait until that has ended.")
        for name in names:
            self._release(name)
            del self._open[name]
        gc.collect()

    def resident(self) -> dict[ModelKey, int]:
        """What is in memory, with its weights' bytes, longest unused first."""
        return {key: model.weights_bytes for key, model in self._loaded.copy().items()}

    def _release(self, model: str) -> None:
        for key in [key for key in self._loaded if key.model == model]:
            del self._loaded[key]


def _read(model: str, models_dir: Path, packed_root: Path, progress: Progress) -> OpenCheckpoint:
    """Find a model and read its small files; see :meth:`ModelPool.open`."""
    progress(f"Opening {model}", 0.0)
    checkpoint = resolve(model, models_dir)
    config, tokenizer = open_small_files(checkpoint, checkpoint.kept_in(packed_root))
    return OpenCheckpoint(checkpoint, config, tokenizer)
