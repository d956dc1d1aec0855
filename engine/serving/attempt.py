"""One model's try at a request: all that an answer is made with. In the engine's thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine.backends.base import LoadedModel, OpenCheckpoint, RunTrace
from engine.cache import KVCache
from engine.generation.recorder import TokenSink
from engine.serving.drafting import Drafters
from engine.speculation import Speculator
from engine.types import CacheReport, GenerationRequest, SpeculationReport


@dataclass(slots=True)
class Attempt:
    """A model in memory, with the prompt in its tokens."""

    opened: OpenCheckpoint
    model: LoadedModel
    drafters: Drafters | None
    request: GenerationRequest
    """As it is asked of this model."""
    prompt_ids: list[int]
    max_tokens: int
    read_anew: Mapping[int, str] = field(default_factory=dict)
    """Earlier answers whose own tokens could not be given back; see
    :class:`~engine.models.tokenization.tokenizer.ChatPrompt`."""
    draft_answer: tuple[int, ...] = ()
    """What a smaller model answered, in this one's tokens; drafts for it."""
    trace: RunTrace | None = None
    cache: CacheReport | None = None
    _speculator: Speculator | None = None

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        """What must stay in memory while it lasts."""
        return (self.model, *(self.drafters.models if self.drafters else ()))

    def go(self, sink: TokenSink, kv: KVCache | None, *, verify: bool = False) -> RunTrace:
        """Write the answer."""
        if self.drafters:
            self._speculator = self.drafters.speculator(self.prompt_ids, self.max_tokens, kv, self.draft_answer)
        self.trace = self.model.run(
            self.prompt_ids,
            self.request.config.sampling,
            self.max_tokens,
            sink,
            kv,
            verify=verify,
            speculator=self._speculator,
        )
        return self.trace

    def speculation(self) -> SpeculationReport | None:
        """How speculative decoding went, with what was drafted as text; ``None`` with the gear off."""
        if self._speculator is None or self.request.config.optimization.speculation is None:
            return None
        report, token_text = self._speculator.report(), self.opened.tokenizer.token_text
        rounds = (replace(entry, texts=tuple(map(token_text, entry.token_ids))) for entry in report.rounds)
        return replace(report, rounds=tuple(rounds))

    def salvaged_tokens(self) -> int:
        """Tokens taken over from the smaller model's answer."""
        return self._speculator.salvaged_tokens if self._speculator else 0
