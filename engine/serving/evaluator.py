"""The units of an evaluation, each short enough for others to wait for; all in the engine's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from engine.backends.base import LoadedModel, OpenCheckpoint
from engine.cache import KVCache
from engine.errors import ContextLengthError, InsufficientMemoryError, InvalidRequestError
from engine.evaluation import AnswerDivergence, Corpus, CorpusPrompt, Window, WindowDivergence
from engine.evaluation.comparison import Reader, answer_divergence, window_divergence
from engine.evaluation.corpus import WINDOW_TOKENS, text_windows
from engine.models.decoders.decoder import Decoder
from engine.models.sources.progress import Progress, part
from engine.serving.pool import ModelPool
from engine.serving.tiers import constraint_of
from engine.speculation.losslessness import check
from engine.types import (
    GenerationRequest,
    KVDtype,
    Losslessness,
    OptimizationConfig,
    Precision,
    RunConfig,
)

_READING = "Reading the prompt"


class Evaluator:
    """Measures models of a pool. Used by one thread."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    def weights_sha256(self, model: str) -> str:
        """Identity of a model's weights."""
        return self._pool.open(model).checkpoint.weights_sha256

    def cut_text(self, model: str, corpus: Corpus) -> tuple[Window, ...]:
        """Running text as windows of this model's tokens.

        Raises:
            CorpusError: it is shorter than a window.
            InvalidRequestError: the model cannot read a window.
        """
        opened = self._pool.open(model)
        if opened.config.context_length < WINDOW_TOKENS:
            raise InvalidRequestError(
                f"{model} reads at most {opened.config.context_length:,} tokens, and a window takes {WINDOW_TOKENS}."
            )
        return text_windows(opened.tokenizer.encode_document(corpus.text), opened.tokenizer.bos_id)

    def encode_prompt(self, model: str, prompt: CorpusPrompt, waiting: Callable[[], object]) -> tuple[int, ...]:
        """A prompt as this model's tokens. What ``waiting`` raises while the chat template is at work ends that.

        Raises:
            ContextLengthError: it leaves no room for an answer.
            InvalidRequestError: the model's chat template refuses it.
        """
        opened = self._pool.open(model)
        ids = opened.tokenizer.encode_chat(prompt.messages, waiting)
        if len(ids) >= opened.config.context_length:
            raise ContextLengthError(len(ids), opened.config.context_length)
        return tuple(ids)

    def compare_window(self, model: str, precision: Precision, window: Window, progress: Progress) -> WindowDivergence:
        """See :meth:`engine.Engine.compare_window`."""
        opened = self._pool.open(model)
        _require_readable(opened, window.token_ids)
        with torch.inference_mode():
            reference, candidate = _both(self._pool, opened, model, precision, len(window.token_ids), progress)
            return window_divergence(reference, candidate, _vocab_size(opened), window)

    def compare_answer(
        self, request: GenerationRequest, token_ids: Sequence[int], progress: Progress
    ) -> AnswerDivergence:
        """See :meth:`engine.Engine.compare_answer`."""
        if not token_ids:
            raise InvalidRequestError("There is no answer to compare: it has no tokens.")
        config = request.config
        opened = self._pool.open(config.model)
        prompt_ids = opened.tokenizer.read_prompt(request, lambda: progress(_READING, 0.0)).ids
        _require_readable(opened, [*prompt_ids, *token_ids])
        n_tokens = len(prompt_ids) + len(token_ids)
        with torch.inference_mode():
            reference, candidate = _both(self._pool, opened, config.model, config.precision, n_tokens, progress)
            return answer_divergence(
                reference,
                candidate,
                _vocab_size(opened),
                opened.tokenizer,
                prompt_ids,
                token_ids,
                greedy=config.sampling.takes_the_likeliest,
            )

    def check_losslessness(
        self, request: GenerationRequest, token_ids: Sequence[int], progress: Progress
    ) -> Losslessness:
        """See :meth:`engine.Engine.check_losslessness`."""
        if not token_ids:
            raise InvalidRequestError("There is no answer to check: it has no tokens.")
        config, gears = request.config, request.config.optimization
        opened = self._pool.open(config.model)
        prompt_ids = opened.tokenizer.read_prompt(request, lambda: progress(_READING, 0.0)).ids
        _require_known(opened, [*prompt_ids, *token_ids])
        constraint = constraint_of(opened, request, lambda: progress(_READING, 0.0))
        n_tokens = gears.window or len(prompt_ids) + len(token_ids)
        with torch.inference_mode():
            model = self._pool.acquire(opened, config, progress)
            decoder = _reader(model)
            self._pool.make_room(
                model.kv_bytes(n_tokens, gears.kv_dtype), f"A KV cache of {n_tokens:,} tokens", pinned=(model,)
            )

            def new_cache() -> KVCache:
                return decoder.new_cache(n_tokens, gears.kv_dtype, gears.window)

            return check(
                decoder,
                new_cache,
                _vocab_size(opened),
                config.sampling,
                prompt_ids,
                token_ids,
                opened.tokenizer.token_text,
                constraint,
            )


def _both(
    pool: ModelPool, opened: OpenCheckpoint, model: str, precision: Precision, n_tokens: int, progress: Progress
) -> tuple[Reader, Reader]:
    """The 16-bit model and the candidate, both in memory, with room to read ``n_tokens``."""
    reference = pool.acquire(opened, RunConfig(model=model), part(progress, 0.0, 0.5))
    run = RunConfig(model=model, optimization=OptimizationConfig.at(precision))
    try:
        candidate = pool.acquire(opened, run, part(progress, 0.5, 1.0), pinned=(reference,))
        purpose = f"A KV cache of {n_tokens:,} tokens"
        pool.make_room(reference.kv_bytes(n_tokens, KVDtype.BF16), purpose, pinned=(reference, candidate))
    except InsufficientMemoryError as error:
        raise InsufficientMemoryError(
            f"{model} in {precision} is compared with its 16-bit self, and both must be in memory at once. {error}"
        ) from error
    return _reader(reference), _reader(candidate)


def _reader(model: LoadedModel) -> Decoder:
    if model.stepwise is None:
        raise InvalidRequestError("This backend gives answers alone: its models cannot be read token by token.")
    return model.stepwise.decoder


def _vocab_size(opened: OpenCheckpoint) -> int:
    return min(opened.tokenizer.vocab_size, opened.config.vocab_size)


def _require_readable(opened: OpenCheckpoint, token_ids: Sequence[int]) -> None:
    """Refuse more tokens than a model reads, and tokens of another one."""
    longest = opened.config.context_length
    if len(token_ids) > longest:
        raise InvalidRequestError(f"There are {len(token_ids):,} tokens, and the model reads at most {longest:,}.")
    _require_known(opened, token_ids)


def _require_known(opened: OpenCheckpoint, token_ids: Sequence[int]) -> None:
    """Refuse tokens of another model."""
    if not all(0 <= token_id < _vocab_size(opened) for token_id in token_ids):
        raise InvalidRequestError("Some of these tokens are none of this model's: they come from another one.")
