"""One model's try at a request: all that an answer is made with. In the engine's thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine.backends.base import LoadedModel, OpenCheckpoint, RunTrace
from engine.cache import KVCache
from engine.cascade import TierIdentity
from engine.generation.choosing import Constraint
from engine.generation.recording import Recording, TokenSink
from engine.passes import Steps
from engine.serving.drafting import Drafters
from engine.speculation import ANSWER, Speculator
from engine.types import CacheReport, DraftRound, GenerationRequest, SpeculationReport, Tier


@dataclass(slots=True)
class Attempt:
    """A model in memory, with the prompt in its tokens."""

    opened: OpenCheckpoint
    model: LoadedModel
    drafters: Drafters | None
    request: GenerationRequest
    """As it is asked of this model."""
    place: int
    """Of this model in the request's ladder, from the smallest up."""
    prompt_ids: list[int]
    max_tokens: int
    retokenized: Mapping[int, str] = field(default_factory=dict)
    """Earlier answers whose own tokens could not be given back; see
    :class:`~engine.models.tokenization.tokenizer.ChatPrompt`."""
    constraint: Constraint | None = None
    """On the answer, where it is held to a schema."""
    draft_answer: tuple[int, ...] = ()
    """What a smaller model answered, in this one's tokens; drafts for it."""
    trace: RunTrace | None = None
    cache: CacheReport | None = None
    _speculator: Speculator | None = None

    @property
    def tier(self) -> Tier:
        """The model and its precision."""
        return Tier(model=self.request.config.model, precision=self.request.config.precision)

    @property
    def identity(self) -> TierIdentity:
        """What a router's profile knows it by."""
        weights = self.opened.checkpoint.weights_sha256
        return TierIdentity(model=self.tier.model, precision=self.tier.precision, weights_sha256=weights)

    @property
    def fingerprint(self) -> str | None:
        """Of its tokenizer: what one writes can draft for another that has the same."""
        return self.opened.tokenizer.fingerprint

    @property
    def prompt_tokens(self) -> int:
        """All that it reads."""
        return len(self.prompt_ids)

    @property
    def kv_bytes(self) -> int:
        """KV cache in use at the end."""
        return self.trace.kv_bytes if self.trace else 0

    def recording(self, tier: str | None) -> Recording:
        """What the recorder must know of it.

        Args:
            tier: who its tokens are said to be from; ``None`` where nobody else could have answered.
        """
        tokenizer = self.opened.tokenizer
        return Recording(
            decode=tokenizer.decode,
            stop_ids=tokenizer.stop_ids,
            control_tokens=tokenizer.control_tokens,
            token_text=tokenizer.token_text,
            max_tokens=self.max_tokens,
            prompt_tokens=len(self.prompt_ids),
            tier=tier,
            has_ids=True,
        )

    def generate(self, sink: TokenSink, kv: KVCache | None, *, verify: bool = False) -> Steps[RunTrace]:
        """Write the answer.

        Args:
            sink: takes its tokens.
            kv: begins with what is reused of the prompt; ``None`` for a backend that keeps its own, or none.
            verify: whether to compute anew what is reused, and compare.
        """
        if self.drafters and (self.drafters.config or self.draft_answer):
            self._speculator = self.drafters.speculator(
                self.prompt_ids, self.max_tokens, kv, self.draft_answer, sink.cancelled
            )
        self.trace = yield from self.model.run(
            self.prompt_ids,
            self.request.config.sampling,
            self.max_tokens,
            sink,
            kv,
            verify=verify,
            speculator=self._speculator,
            constraint=self.constraint,
            answered=len(self.request.prefix_ids),
        )
        return self.trace

    def speculation(self) -> SpeculationReport | None:
        """How speculative decoding went, with what was drafted as text; ``None`` with the gear off."""
        if self._speculator is None or self.request.config.optimization.speculation is None:
            return None
        report, token_text = self._speculator.report(), self.opened.tokenizer.token_text
        rounds = (replace(entry, texts=tuple(map(token_text, entry.token_ids))) for entry in report.rounds)
        return replace(report, rounds=tuple(rounds))

    @property
    def draft_rounds(self) -> tuple[DraftRound, ...]:
        """What was drafted, by a smaller model's answer too where the gear is off; without its text."""
        return self._speculator.rounds if self._speculator else ()

    def reused_draft_tokens(self) -> int:
        """Tokens accepted from the smaller model's answer."""
        return self._speculator.reused_draft_tokens if self._speculator else 0

    def salvaged_s(self) -> float:
        """Derived from the times of passes: what plain steps to the tokens that came of the smaller model's answer
        would have taken beyond its verification; below 0 where that took longer."""
        if self._speculator is None or self.model.stepwise is None:
            return 0.0
        times = self.model.stepwise.step_times()
        return sum(
            (each.accepted + 1) * times.seconds(1) - times.seconds(len(each.token_ids) + 1)
            for each in self._speculator.rounds
            if each.drafter == ANSWER
        )
