"""Which models are in memory: they are opened, loaded and timed on demand, and stay while there is room."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from engine.backends.base import LoadedModel, OpenCheckpoint, Place, StepwiseModel
from engine.backends.classes import model_class
from engine.errors import InvalidRequestError, ModelInUseError
from engine.machine.memory import require_address_space
from engine.models.checkpoint import PACKED, resolve
from engine.models.decoders.weights import CPU
from engine.models.opening import open_small_files
from engine.models.sources.progress import Progress
from engine.passes import Steps
from engine.serving.memory.holding import Hold
from engine.serving.memory.loading import Errand, Errands
from engine.serving.memory.residents import ModelKey, Residents, Spare
from engine.types import RunConfig, precisions_on


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
        self._models_dir = models_dir
        self.device = device
        self._place = Place(device, models_dir / PACKED)
        self._open: dict[str, OpenCheckpoint] = {}
        self._opening: defaultdict[str, Errands] = defaultdict(Errands)
        """By the model that is opened: one may have to be downloaded first, which must hold no other up."""
        self._loading = Errands()
        self.residents = Residents(device, lambda: self._loading.promised_bytes, budget_bytes, spare, running_kv)
        """What is in memory."""

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
        self.residents.release(model)
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
            InsufficientMemoryError: it does not fit, even with every model gone that nobody holds; final if not even
                with all gone but what ``hold`` has.
            WeightsIntegrityError: a weights file was truncated or altered.
        """
        key = ModelKey(run.model, run.backend, run.precision)
        model = self._known(key, opened)
        if model is None:
            yield from self._loading.turn((key, id(opened)), progress)
            model = self._known(key, opened)
        if model is not None:
            self.residents.keep(key, hold)
            return model
        model = yield from self._load(key, opened, progress, hold)
        hold.add(model)
        is_warm = self._known(key, opened) is model
        if not is_warm:
            if self._open.get(run.model) is opened:  # else its files have been replaced meanwhile
                self.residents.add(key, model)
            progress(f"Warming up {opened.checkpoint.name}", 0.95)
            yield from model.warm_up()
            progress(f"Warming up {opened.checkpoint.name}", 1.0)
        return model

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

    def make_spare_room(self, needed: int) -> bool:
        """See :meth:`Residents.make_spare_room`."""
        return self.residents.make_spare_room(needed)

    def resident(self) -> dict[ModelKey, int]:
        """See :meth:`Residents.sizes`."""
        return self.residents.sizes()

    def unload(self, model: str) -> None:
        """Let all copies of a model of the models folder go, by whatever name it was asked for.

        Raises:
            ModelInUseError: a request answers or drafts with one, or something is being loaded.
        """
        folder = self._models_dir / model
        names = {name for name, opened in self._open.items() if opened.checkpoint.folder == folder}
        if any(self.residents.is_held(name) for name in names):
            raise ModelInUseError(f"{model} answers or drafts for a request that runs. Wait until that has ended.")
        if not all(each.is_idle for each in (self._loading, *self._opening.values())):
            raise ModelInUseError(f"A model is being loaded, which may be {model}. Wait until that has ended.")
        for name in names:
            self.residents.release(name)
            del self._open[name]
        gc.collect()

    def close(self) -> None:
        """Wait for what is being loaded to end, once nobody wants it any more. In any thread."""
        self._loading.close(timeout_s=10)

    def _known(self, key: ModelKey, opened: OpenCheckpoint) -> LoadedModel | None:
        """A model in memory, if it was loaded from the files that were opened."""
        return self.residents.get(key) if self._open.get(key.model) is opened else None

    def _load(self, key: ModelKey, opened: OpenCheckpoint, progress: Progress, hold: Hold) -> Steps[LoadedModel]:
        offered = precisions_on(self.device.type)
        if key.precision not in offered:
            raise InvalidRequestError(
                f"{key.precision} needs an NVIDIA GPU with CUDA, and this engine runs on the CPU. Choose one of "
                f"{', '.join(offered)}."
            )
        load = partial(model_class(key.backend).load, opened, key.precision, self._place)
        if not key.backend.info.shares_passes:  # transformers changes torch for all threads while it loads
            self._admit(key, opened, hold)
            return load(progress)
        errand_key = (key, id(opened))

        def begin() -> Errand[LoadedModel]:
            needed = self._admit(key, opened, hold)
            return Errand(errand_key, f"Loading {opened.checkpoint.name} in {key.precision}", load, needed)

        return (yield from self._loading.run(errand_key, begin, progress))

    def _admit(self, key: ModelKey, opened: OpenCheckpoint, hold: Hold) -> int:
        """Make room for a model; the bytes that it needs."""
        checkpoint, purpose = opened.checkpoint, f"Loading {opened.checkpoint.name} in {key.precision}"
        needed = model_class(key.backend).estimate_bytes(opened, key.precision, self._place)
        self.residents.admit(needed, purpose, hold.weights_bytes)
        mapped = sum(file.stat().st_size for file in checkpoint.weight_files)
        require_address_space(needed + mapped, purpose)
        return needed


def _read(model: str, models_dir: Path, packed_root: Path, progress: Progress) -> OpenCheckpoint:
    """Find a model and read its small files; see :meth:`ModelPool.open`."""
    progress(f"Opening {model}", 0.0)
    checkpoint = resolve(model, models_dir)
    config, tokenizer = open_small_files(checkpoint, checkpoint.kept_in(packed_root))
    return OpenCheckpoint(checkpoint, config, tokenizer)
