"""What a peer is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a lane's figures hold for."""

    weights_bytes: int
    bytes_per_token: int
    """Weights that one decode step reads: all but an embedding table that is no head as well."""
    threads: int
    kernel: str
    """What computes, in the engine's own words."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One greedy answer."""

    ttft_s: float
    """From the call, with token ids, to the first token."""
    tpot_s: float | None
    """Undefined below two tokens."""


@dataclass(frozen=True, slots=True)
class LongTiming:
    """Some tokens behind a long context."""

    tpot_s: float
    kv_bytes: int
    """What the KV of the context takes."""


class Peer(Protocol):
    """An engine with a model loaded, greedy, nothing of one answer kept for the next."""

    def facts(self) -> Facts:
        """What the figures hold for."""
        ...

    def answer(self, prompt_ids: Sequence[int], max_tokens: int) -> Timing:
        """Write exactly ``max_tokens`` tokens, end marks passed over."""
        ...

    def logits(self, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> Logits:
        """Read an answer one token a step, as decoding does: ``[answer, vocab]``, each row before its token."""
        ...


class BatchingPeer(Peer, Protocol):
    """One that can answer several prompts in the same passes."""

    def answers(self, prompts_ids: Sequence[Sequence[int]], max_tokens: int) -> list[Timing]:
        """Answer all of them at once, as :meth:`Peer.answer` does one. Making room for them counts in no time."""
        ...


class LongContextPeer(Peer, Protocol):
    """One that can be asked behind a long context."""

    def behind(self, tokens: int, new_tokens: int, kv: str) -> LongTiming:
        """Write some tokens behind so many, which are read at the first call and kept in a type of ``kv``."""
        ...


class WritingPeer(Peer, Protocol):
    """One whose greedy answers can be had as tokens."""

    def written(self, prompt_ids: Sequence[int], max_tokens: int) -> list[int]:
        """The tokens of an answer of exactly so many, end marks passed over."""
        ...


class TokenizingPeer(Protocol):
    """A tokenizer of a GGUF file."""

    def tokens(self, texts: Sequence[str], controls: bool) -> list[list[int]]:
        """The ids of each text, no mark put before it; control tokens spelled out in it taken for such or not."""
        ...
