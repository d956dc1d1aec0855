"""transformers' own ``model.generate`` in bf16: what one gets without an engine.

Nothing of it is tuned: default attention, default cache, the same threads. A hook on the head
remembers where the logits are, and a stopping criterion reports each token with its probability,
which costs what it costs the local backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any, Self

import torch
from torch import Tensor

from engine.backends.base import OpenCheckpoint, Place, RunTrace
from engine.cache import KVCache
from engine.errors import UnsupportedModelError
from engine.generation.choice import Choice
from engine.generation.choosing import Constraint
from engine.generation.confidence import confidence, likeliest
from engine.generation.recording import TokenSink
from engine.generation.sampling import adjusted
from engine.models.checkpoint import Checkpoint
from engine.models.decoders.weights import estimate_bytes
from engine.models.format.decoder_config import DecoderConfig, refusals
from engine.models.sources.progress import Progress
from engine.passes import Steps, Whole, ask
from engine.speculation import Speculator
from engine.types import KVDtype, Precision, SamplingParams


class ReferenceModel:
    """A transformers model in memory."""

    def __init__(self, model: Any, config: DecoderConfig, vocab_size: int, stop_ids: frozenset[int]) -> None:
        self._model = model
        self._config = config
        self.vocab_size = vocab_size
        self._stop_ids = sorted(stop_ids)
        storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in model.parameters()}
        self.weights_bytes = sum(storages.values())
        self.environment: Mapping[str, Any] = {"kernel": "transformers generate"}

    @classmethod
    def load(cls, opened: OpenCheckpoint, precision: Precision, place: Place, progress: Progress) -> Self:
        """As transformers loads it by default, in bf16, which is the one precision of this backend."""
        from transformers.generation.configuration_utils import GenerationConfig
        from transformers.utils import logging

        checkpoint = opened.checkpoint
        logging.disable_progress_bar()
        progress(f"Loading {checkpoint.name} in transformers", 0.0)
        checkpoint.verify()
        try:
            loaded = _dequantized(checkpoint) if checkpoint.quantization else _as_published(checkpoint)
        except refusals() as error:
            reason = " ".join(str(error).split())
            raise UnsupportedModelError(f"{checkpoint.name}: transformers does not load it: {reason:.300}.") from error
        model = loaded.to(place.device).eval()
        # the checkpoint's own defaults (penalties, temperatures) must not mix with what the user set
        model.generation_config = GenerationConfig()
        vocab_size = min(opened.tokenizer.vocab_size, opened.config.vocab_size)
        return cls(model, opened.config, vocab_size, opened.tokenizer.stop_ids)

    def warm_up(self) -> Steps[None]:
        yield from ask(Whole(self._generate_a_few))

    def _generate_a_few(self) -> None:
        from transformers.generation.configuration_utils import GenerationConfig

        ids = torch.zeros((1, 24), dtype=torch.long, device=self._model.device)
        few = GenerationConfig(max_new_tokens=3, do_sample=False)
        self._model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=few)

    @classmethod
    def estimate_bytes(cls, opened: OpenCheckpoint, precision: Precision, place: Place) -> int:
        return estimate_bytes(opened.config, precision, place.device)

    @property
    def stepwise(self) -> None:
        """Its passes belong to ``generate``."""

    @property
    def kv_by_use(self) -> bool:
        return False

    def kv_bytes(self, tokens: int, dtype: KVDtype) -> int:
        return self._config.kv_bytes(tokens, dtype)

    def new_cache(self, capacity: int, dtype: KVDtype, window: int | None) -> None:
        """None of ours: ``generate`` keeps its own."""

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
        shaping = _Shaping(sampling, len(prompt_ids) - answered, len(prompt_ids), constraint)
        trace = yield from ask(Whole(lambda: self._generate(prompt_ids, sampling, max_tokens, sink, shaping)))
        return trace

    def _generate(
        self, prompt_ids: list[int], sampling: SamplingParams, max_tokens: int, sink: TokenSink, shaping: _Shaping
    ) -> RunTrace:
        from transformers.generation.configuration_utils import GenerationConfig

        if sink.cancelled():
            return RunTrace(0)
        cuts = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
        greedy = sampling.temperature == 0
        settings = GenerationConfig(
            max_new_tokens=max_tokens,
            eos_token_id=self._stop_ids,
            pad_token_id=self._stop_ids[0] if self._stop_ids else None,
            repetition_penalty=sampling.repetition_penalty,
            do_sample=not greedy,
            return_dict_in_generate=True,
            **({} if greedy else cuts),
        )
        torch.manual_seed(sampling.seed)
        ids = torch.tensor([prompt_ids], device=self._model.device)
        observer = _Observer(sink, len(prompt_ids), self.vocab_size, sampling.top_logprobs)
        hook = self._model.get_output_embeddings().register_forward_hook(observer.head_called)
        try:
            result = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                generation_config=settings,
                logits_processor=[shaping] if shaping.is_needed else [],
                stopping_criteria=[observer.token_chosen],
            )
        finally:
            hook.remove()
        held = sum(t.nbytes for layer in result.past_key_values.layers for t in (layer.keys, layer.values))
        return RunTrace(held)


def _as_published(checkpoint: Checkpoint) -> Any:
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        checkpoint.folder,
        dtype=torch.bfloat16,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )


def _dequantized(checkpoint: Checkpoint) -> Any:
    """From the weights in 16 bits, so that no package of the tool that quantized them is needed."""
    from transformers.models.auto.configuration_auto import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
    del config.quantization_config
    with checkpoint.open_weights() as weights:
        state = {name: weights.read(name) for name in checkpoint.architecture.tensors()}
    family: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    return family.from_pretrained(None, config=config, state_dict=state, dtype=torch.bfloat16)


class _Shaping:
    """Has ``generate`` choose by the penalties, biases and constraints that transformers does not have: a logits
    processor, which comes after the repetition penalty and before the temperature."""

    def __init__(
        self, sampling: SamplingParams, answer_start: int, prompt_tokens: int, constraint: Constraint | None
    ) -> None:
        self._sampling = replace(sampling, repetition_penalty=1.0, temperature=0.0)
        self._answer_start = answer_start
        self._accepted = prompt_tokens
        self._constraint = constraint

    @property
    def is_needed(self) -> bool:
        """Whether anything but what transformers does by itself is asked for."""
        return not self._sampling.takes_the_likeliest

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """``input_ids [1, length]``, ``scores [1, vocab]``."""
        seen = input_ids[0].cpu()
        if self._constraint:
            for token_id in seen[self._accepted :].tolist():
                self._constraint.accept(token_id)
            self._accepted = len(seen)
        allowed = self._constraint.allowed if self._constraint else None
        shaped = adjusted(scores[0].cpu(), self._sampling, seen, self._answer_start, allowed)
        return shaped[None].to(scores.device)


class _Observer:
    """Turns what ``generate`` does into what the sink wants to hear."""

    def __init__(self, sink: TokenSink, prompt_tokens: int, vocab_size: int, n_likeliest: int) -> None:
        self._sink = sink
        self._prompt_tokens = prompt_tokens
        self._vocab_size = vocab_size
        self._n_likeliest = n_likeliest
        self._logits: Tensor | None = None

    def head_called(self, module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """After each call of the head: ``output [1, rows, vocab]``."""
        if self._logits is None:
            self._sink.prefilled(0, self._prompt_tokens, ())
        self._logits = output[0, -1]

    def token_chosen(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """After each choice: ``input_ids [1, length]``. True ends the run."""
        if self._logits is None:
            raise RuntimeError("a token was chosen before the head was called")
        token_id = int(input_ids[0, -1])
        logits = self._logits.float().cpu()
        top = likeliest(logits[: self._vocab_size], self._n_likeliest)
        choice = Choice(token_id, confidence(logits, token_id), perf_counter(), likeliest=top)
        _, go_on = self._sink.take([choice])
        return torch.tensor([not go_on], device=input_ids.device)
