"""What the engine asks of a model that is in memory, whoever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch

from engine.cache import KVCache
from engine.generation.choosing import Constraint
from engine.generation.recording import TokenSink
from engine.models.checkpoint import Checkpoint
from engine.models.decoders.decoder import Decoder
from engine.models.format.decoder_config import DecoderConfig
from engine.models.sources.progress import Progress
from engine.models.tokenization.tokenizer import ChatTokenizer
from engine.passes import Steps
from engine.speculation import Speculator, StepTimes
from engine.types import KVDtype, Precision, SamplingParams


@dataclass(frozen=True, slots=True)
class OpenCheckpoint:
    """A checkpoint whose small files have been read; its weights have not."""

    checkpoint: Checkpoint
    config: DecoderConfig
    tokenizer: ChatTokenizer


@dataclass(frozen=True, slots=True)
class Place:
    """Where models of this machine are kept and run."""

    device: torch.device
    packed_root: Path
    """Folder for packed weights."""


@dataclass(frozen=True, slots=True)
class RunTrace:
    """What a run tells at its end beside its tokens."""

    kv_bytes: int
    """KV cache in use."""
    verified: bool | None = None
    """Whether the reused KV gave the logits of KV computed anew; ``None`` where that was not looked at."""


class LoadedModel(Protocol):
    """A model ready to answer, used by the engine's thread alone."""

    weights_bytes: int
    """Measured size of the weights in memory."""
    environment: Mapping[str, Any]
    """What multiplies: belongs to the figures of every run."""

    @classmethod
    def load(cls, opened: OpenCheckpoint, precision: Precision, place: Place, progress: Progress) -> Self:
        """Read its weights into memory. It computes with no model, and where the backend shares passes, in another
        thread than the engine's, while that goes on.

        Raises:
            WeightsIntegrityError: a weights file was truncated or altered, or holds what is no number.
            UnsupportedModelError: the backend does not run this model.
        """
        ...

    def warm_up(self) -> Steps[None]:
        """Run it once, so that the first answer pays for nothing."""
        ...

    @classmethod
    def estimate_bytes(cls, opened: OpenCheckpoint, precision: Precision, place: Place) -> int:
        """Bytes that its weights will take in the place's memory, known beforehand."""
        ...

    @property
    def stepwise(self) -> StepwiseModel | None:
        """This very model, where its passes can be asked for one by one; ``None`` where it gives answers alone."""
        ...

    def run(
        self,
        prompt_ids: list[int],
        sampling: SamplingParams,
        max_tokens: int,
        sink: TokenSink,
        kv: KVCache | None,
        *,
        verify: bool = False,
        speculator: Speculator | None = None,
        constraint: Constraint | None = None,
        answered: int = 0,
    ) -> Steps[RunTrace]:
        """Answer a prompt, telling the sink of every token: yields what it wants computed.

        Args:
            prompt_ids: at least one token, fewer than the context.
            sampling: how tokens are chosen.
            max_tokens: room for the answer.
            sink: told of progress; ends the run by its answer.
            kv: from :meth:`new_cache`; what it holds is the beginning of the prompt, and is not computed again.
                ``None`` keeps nothing from one token to the next.
            verify: compute what ``kv`` holds again all the same, and compare.
            speculator: drafts tokens for the model to verify; ``None`` with the gear off.
            constraint: on the answer; ``None`` where any token may come.
            answered: how many of the prompt's last tokens are the answer's first.
        """
        ...

    def new_cache(self, capacity: int, dtype: KVDtype, window: int | None) -> KVCache | None:
        """An empty KV cache of so many positions or more, or a sliding window; ``None`` for a backend that keeps its
        own."""
        ...

    @property
    def kv_by_use(self) -> bool:
        """Whether a KV cache takes memory as it is used, and not all of it when it is made."""
        ...

    def kv_bytes(self, tokens: int, dtype: KVDtype) -> int:
        """Bytes a KV cache for that many tokens takes, known beforehand."""
        ...


class StepwiseModel(LoadedModel, Protocol):
    """A model whose passes can be asked for one by one: it drafts, verifies drafts, and its logits can be read."""

    decoder: Decoder
    vocab_size: int
    """Ids that the tokenizer knows; the model's table may be padded beyond them."""

    @property
    def is_timed(self) -> bool:
        """Whether :meth:`time_steps` has been done."""
        ...

    def time_steps(self) -> Steps[None]:
        """Measure how long a pass takes by its rows, for :meth:`step_times`."""
        ...

    def step_times(self) -> StepTimes:
        """How long a pass takes by its rows; once they have been measured."""
        ...
