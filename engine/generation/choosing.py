"""Choosing the tokens of one text, by the kernels where they are built."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence as Sequences
from ctypes import c_double, c_float, c_int32, c_int64
from functools import cache
from time import perf_counter
from typing import Protocol

import torch
from torch import Tensor

from engine.generation.choice import Choice, Confidence
from engine.generation.confidence import confidence, likeliest
from engine.generation.sampling import adjusted, draw, greedy_token, next_token_probabilities
from engine.generation.token_buffer import TokenBuffer
from engine.native.kernels import Library, Sequence, address_of, check, library
from engine.types import SamplingParams, TokenSource

MOST_AT_ONCE = 64
"""Tokens that the kernels write in one call."""


class Constraint(Protocol):
    """Says after each token which ones may follow. Made for one text."""

    @property
    def allowed(self) -> Tensor:
        """A bit for each id that may come next, the lowest first: int32 ``[⌈vocab / 32⌉]``, contiguous, at the same
        place as long as it lives."""
        ...

    def accept(self, token_id: int) -> None:
        """A token was chosen; ``allowed`` is of the next one from now on."""
        ...


class Chooser:
    """Chooses the next tokens of a text and appends them. It has random numbers of its own: what other texts draw
    meanwhile changes nothing."""

    def __init__(
        self,
        text: TokenBuffer,
        sampling: SamplingParams,
        vocab_size: int,
        stop_ids: Collection[int] = (),
        constraint: Constraint | None = None,
    ) -> None:
        """
        Args:
            text: all tokens before the next one, which penalties look at.
            sampling: how tokens are chosen.
            vocab_size: ids that are tokens; logits may be padded beyond them.
            stop_ids: ids that end a text.
            constraint: on the text; ``None`` where any token may come.
        """
        self.text = text
        self.sampling = sampling
        self.vocab_size = vocab_size
        self.generator = torch.Generator().manual_seed(sampling.seed)
        self._constraint = constraint
        kernels = library()
        self._native = None
        if kernels and (sampling.temperature == 0 or draws_as_torch()):
            self._native = _NativeChooser(
                kernels, text, sampling, vocab_size, self.generator, sorted(stop_ids), self.allowed
            )

    @property
    def allowed(self) -> Tensor | None:
        """A bit for each token that may come next; ``None`` where all may."""
        return self._constraint.allowed if self._constraint else None

    def adjusted(self, logits: Tensor) -> Tensor:
        """What the next token is chosen by: fp32 ``[vocab]``, padded or not, after all but temperature and cuts."""
        text = self.text
        return adjusted(logits[: self.vocab_size], self.sampling, text.ids, text.answer_start, self.allowed)

    def choose(self, logits: Tensor, source: TokenSource = "target") -> Choice:
        """Append the next token.

        Args:
            logits: fp32 ``[vocab]``, padded or not.
            source: who proposed it.

        Raises:
            NonFiniteLogitsError: above temperature 0, there is no probability to draw by.
        """
        if self._native:
            choice = self._native.choose(logits)._replace(source=source)
            self._accept(choice.token_id)
            return choice
        logits, before = logits[: self.vocab_size], (self.text.ids, self.text.answer_start, self.allowed)
        if self.sampling.temperature == 0:
            token = greedy_token(logits, self.sampling, *before)
        else:
            token = draw(next_token_probabilities(logits, self.sampling, *before), self.generator)
        return self.append(token, logits, source)

    def append(self, token: int, logits: Tensor, source: TokenSource) -> Choice:
        """Append a token that was chosen otherwise, from fp32 ``[vocab]``."""
        logits = logits[: self.vocab_size]
        self.text.append(token)
        self._accept(token)
        top = likeliest(logits, self.sampling.top_logprobs)
        return Choice(token, confidence(logits, token), perf_counter(), source, top)

    def ask(self, interrupt: c_int32, most: int, seconds: float) -> Sequence | None:
        """What the kernels need to know to write behind the text; ``None`` where they cannot choose as this machine's
        torch does. :meth:`take` tells what they have written; until then nothing has changed.

        Args:
            interrupt: ends it once it is not 0.
            most: tokens at most; one comes where a constraint has to be asked after each.
            seconds: no token is begun after so long.
        """
        return self._native.ask(interrupt, 1 if self._constraint else most, seconds) if self._native else None

    def take(self) -> list[Choice]:
        """Add to the text what the kernels have written since :meth:`ask`.

        Raises:
            NonFiniteLogitsError: they have written nothing, for there is no probability to draw by.
            InvalidRequestError: what may follow is beyond the constraint's limits.
        """
        if self._native is None:
            raise ValueError("the kernels were asked for nothing")
        choices = self._native.take()
        for choice in choices:
            self._accept(choice.token_id)
        return choices

    def _accept(self, token_id: int) -> None:
        if self._constraint:
            self._constraint.accept(token_id)


def choose_beside(choosers: Sequences[Chooser], logits: Sequences[Tensor]) -> bool:
    """Have the kernels choose one token for each of several texts, on all threads; then :meth:`Chooser.take` tells.

    Args:
        choosers: each of another text.
        logits: contiguous fp32 ``[vocab]`` each.

    Returns:
        Whether they can; if not, nothing has changed.
    """
    if not choosers:
        return True
    kernels, never = library(), c_int32(0)
    asked = [sequence for chooser in choosers if (sequence := chooser.ask(never, 1, 0.0)) is not None]
    if kernels is None or len(asked) < len(choosers):
        return False
    kernels.choose(logits, asked)
    return True


class _NativeChooser:
    """The same by the kernels."""

    def __init__(
        self,
        kernels: Library,
        text: TokenBuffer,
        sampling: SamplingParams,
        vocab_size: int,
        generator: torch.Generator,
        stop_ids: list[int],
        allowed: Tensor | None = None,
    ) -> None:
        self._kernels = kernels
        self._text = text
        self._generator = generator if sampling.temperature > 0 else None
        # all that the structure points to lives as long as it does
        self._stop_ids = (c_int64 * len(stop_ids))(*stop_ids)
        biases = sampling.logit_bias
        self._bias_ids = (c_int64 * len(biases))(*(token_id for token_id, _ in biases))
        self._biases = (c_float * len(biases))(*(bias for _, bias in biases))
        self._allowed = allowed
        self._n_top = min(sampling.top_logprobs, vocab_size)
        self._top_ids = (c_int64 * (MOST_AT_ONCE * self._n_top))()
        self._top_logprobs = (c_double * (MOST_AT_ONCE * self._n_top))()
        self._out = [(c_double * MOST_AT_ONCE)() for _ in range(4)]
        self._never = c_int32(0)
        self._state = generator.get_state()
        logprobs, entropies, margins, times = self._out
        self._sequence = Sequence(
            ids=self._text.address,
            room=self._text.capacity,
            vocabulary=vocab_size,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            penalty=sampling.repetition_penalty,
            top_k=min(sampling.top_k, vocab_size),
            frequency=sampling.frequency_penalty,
            presence=sampling.presence_penalty,
            answer_start=text.answer_start,
            bias_ids=self._bias_ids,
            biases=self._biases,
            n_biases=len(biases),
            n_top=self._n_top,
            allowed=None if allowed is None else address_of(allowed, torch.int32, ((vocab_size + 31) // 32,)),
            top_ids=self._top_ids,
            top_logprobs=self._top_logprobs,
            stop_ids=self._stop_ids,
            n_stop_ids=len(stop_ids),
            logprobs=logprobs,
            entropies=entropies,
            margins=margins,
            times=times,
        )

    def choose(self, logits: Tensor) -> Choice:
        self._kernels.choose([logits.contiguous()], [self.ask(self._never, 1, 0.0)])
        (choice,) = self.take()
        return choice

    def ask(self, interrupt: c_int32, most: int, seconds: float) -> Sequence:
        sequence = self._sequence
        sequence.length, sequence.most, sequence.seconds = len(self._text), min(most, MOST_AT_ONCE), seconds
        sequence.interrupted.contents = interrupt
        if self._generator:
            self._state = self._generator.get_state()
            sequence.generator = self._state.data_ptr()
        return sequence

    def take(self) -> list[Choice]:
        check(self._sequence.status)
        if self._generator:
            self._generator.set_state(self._state)
        start, written = len(self._text), self._sequence.written
        self._text.grew(written)
        logprobs, entropies, margins, times = self._out
        ids = self._text.since(start)
        return [
            Choice(ids[i], Confidence(logprobs[i], entropies[i], margins[i]), times[i], likeliest=self._likeliest(i))
            for i in range(written)
        ]

    def _likeliest(self, index: int) -> tuple[tuple[int, float], ...]:
        """Of a token written, as many as were asked for."""
        if not self._n_top:
            return ()
        told = slice(index * self._n_top, (index + 1) * self._n_top)
        pairs = zip(self._top_ids[told], self._top_logprobs[told], strict=True)
        return tuple((token_id, logprob) for token_id, logprob in pairs if token_id >= 0)


@cache
def draws_as_torch() -> bool:
    """Whether the kernels draw the tokens that this build of torch draws, by the same random numbers.

    torch's generator and its exponential distribution are its own affair: so they are compared, once.
    """
    kernels = library()
    if kernels is None:
        return False
    weights = torch.rand(1024, generator=torch.Generator().manual_seed(7))
    sampling = SamplingParams(temperature=1.0, seed=11)
    mine, theirs = (torch.Generator().manual_seed(sampling.seed) for _ in range(2))
    native = _NativeChooser(kernels, TokenBuffer([0], 10), sampling, len(weights), mine, [])
    try:
        drawn = [native.choose(weights.log()).token_id for _ in range(8)]
    except ValueError:  # the state is not laid out as the kernels know it
        return False
    return drawn == [draw(weights, theirs) for _ in drawn] and torch.equal(mine.get_state(), theirs.get_state())
