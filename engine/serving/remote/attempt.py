"""A server's try at a request: a tier of a cascade that is waited for, not computed. In the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from engine.backends.remote.mailbox import Mailbox
from engine.backends.remote.network import Network
from engine.backends.remote.spelling import Spelling
from engine.cascade import TierIdentity
from engine.errors import GearboxError
from engine.generation.recorder import RunRecorder
from engine.generation.recording import Recording, TokenSink, ToldCounts
from engine.passes import Steps, Wait, ask
from engine.serving.remote.answers import (
    environment_of,
    finish_reason_of,
    identity_of,
    recording,
    report_of,
    told_by,
    unasked,
)
from engine.types import CacheReport, DraftRound, GenerationRequest, RemoteModel, SpeculationReport, Tier


class RemoteAttempt:
    """A server's model, with the request as it is asked of it. What has no meaning for it is said so by its properties:
    no tokens of ours, no passes, no KV."""

    fingerprint: str | None = None
    """Of its tokenizer, which nobody knows here: nothing is taken over from another's tokens, nor by another."""
    kv_bytes = 0
    cache: CacheReport | None = None
    draft_rounds: tuple[DraftRound, ...] = ()

    def __init__(self, network: Network, model: RemoteModel, request: GenerationRequest, place: int) -> None:
        """
        Args:
            network: where servers are asked.
            model: who is asked.
            request: as it is asked of this model.
            place: of it in the request's ladder, from the smallest up.
        """
        self.model = model
        self.request = request
        self.place = place
        self.read_s = 0.0
        """From asking to the first piece of its answer."""
        self.aside_s = 0.0
        """Spent on the server's counters, which is no part of its answer's time."""
        self._network = network
        self._mailbox: Mailbox | None = None
        self._spelling = Spelling(request.config.sampling.top_logprobs)
        self._asked = 0.0

    @property
    def tier(self) -> Tier:
        return self.request.config.ladder[-1]

    @property
    def identity(self) -> TierIdentity:
        """What a router's profile knows it by."""
        return TierIdentity(
            model=self.model.name, precision=self.tier.precision, weights_sha256=identity_of(self.model)
        )

    @property
    def prompt_tokens(self) -> int:
        """As the server counted; 0 while that is not known."""
        exchange = self._mailbox.exchange if self._mailbox else None
        return (exchange.reader.prompt_tokens or 0) if exchange else 0

    def recording(self, tier: str | None) -> Recording:
        """What the recorder must know of it; see :meth:`engine.serving.attempt.Attempt.recording`."""
        return recording(self._spelling, self.request, tier)

    def reach(self, is_cancelled: Callable[[], bool]) -> Steps[GearboxError | None]:
        """Ask, and wait until it begins to answer.

        Args:
            is_cancelled: ends the wait.

        Returns:
            Why it does not; ``None`` if it does, or if the wait was ended.
        """
        self._asked = perf_counter()
        self._mailbox = mailbox = Mailbox(self._network, self.model, self.request)
        yield from ask(Wait(lambda: mailbox.has_news or is_cancelled()))
        if is_cancelled():
            mailbox.close()
        self.read_s = perf_counter() - self._asked - mailbox.held_up_s
        return mailbox.error

    def generate(self, sink: TokenSink, recorder: RunRecorder) -> Steps[None]:
        """Record the answer up to its end, or to where the sink ends it.

        Args:
            sink: takes its pieces.
            recorder: told that it ended.

        Raises:
            RemoteError: the server cannot be asked, or broke off.
        """
        if self._mailbox is None and (error := (yield from self.reach(sink.cancelled))):
            raise error
        mailbox = self._mailbox
        assert mailbox is not None
        begun = False
        try:
            while True:
                yield from ask(Wait(lambda: mailbox.has_news or sink.cancelled()))
                is_answered = mailbox.is_answered  # before the last pieces are taken
                for piece, t in mailbox.take():
                    if not begun:
                        begun = True
                        sink.prefilled(0, 0, ())
                    if not sink.take(self._spelling.choices(piece, t))[1]:
                        return
                if sink.cancelled():
                    return
                if is_answered:
                    if mailbox.error is not None:
                        raise mailbox.error
                    assert mailbox.exchange is not None
                    recorder.end(finish_reason_of(mailbox.exchange))
                    yield from ask(Wait(lambda: mailbox.is_over or sink.cancelled()))
                    return
        finally:
            self.aside_s += mailbox.held_up_s + (0.0 if mailbox.ended is None else perf_counter() - mailbox.ended)
            mailbox.close()

    def give_up(self) -> None:
        """Its answer is not wanted any more; it can be asked anew."""
        if self._mailbox is not None:
            self._mailbox.close()
            self._mailbox = None

    def speculation(self) -> SpeculationReport | None:
        """Nobody sees how a server drafts."""
        return None

    def told(self) -> ToldCounts:
        """What the server counted."""
        mailbox = self._mailbox
        if mailbox is None or mailbox.exchange is None:
            return ToldCounts()
        report = report_of(mailbox.exchange, mailbox.before, mailbox.after)
        return told_by(report, mailbox.exchange)

    def environment(self) -> dict[str, Any]:
        """What its figures hold for."""
        mailbox = self._mailbox
        if mailbox is None or mailbox.exchange is None:
            return environment_of(unasked(self.model))
        return environment_of(report_of(mailbox.exchange, mailbox.before, mailbox.after))
