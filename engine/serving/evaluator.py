"""The units of an evaluation, in passes that others' come between; all in the engine's thread."""

from __future__ import annotations

from collections.abc import Sequence

from engine.backends.base import LoadedModel, OpenCheckpoint
from engine.backends.reading import PassReader
from engine.errors import ContextLengthError, InsufficientMemoryError, InvalidRequestError
from engine.evaluation import AnswerDivergence, Corpus, CorpusPrompt, Window, WindowDivergence
from engine.evaluation.comparison import answer_divergence, window_divergence, window_divergences
from engine.evaluation.corpus import WINDOW_TOKENS, text_windows
from engine.models.sources.progress import Progress, part
from engine.passes import Steps
from engine.serving.memory.holding import Hold
from engine.serving.memory.pool import ModelPool
from engine.serving.memory.room import Room
from engine.serving.scheduling.jobs import Job
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
_NO_ANSWER = "There is no answer to compare: it has no tokens."


class Evaluator:
    """Measures models of a pool, for one job of the engine's thread."""

    def __init__(self, pool: ModelPool, room: Room, job: Job) -> None:
        """
        Args:
            pool: the models.
            room: where memory that is short is waited for.
            job: whose steps these are.
        """
        self.pool = pool
        self._room = room
        self._job = job

    def weights_sha256(self, model: str, progress: Progress) -> Steps[str]:
        """Identity of a model's weights."""
        return (yield from self.pool.open(model, progress)).checkpoint.weights_sha256

    def cut_text(self, model: str, corpus: Corpus, progress: Progress) -> Steps[tuple[Window, ...]]:
        """Running text as windows of this model's tokens.

        Raises:
            CorpusError: it is shorter than a window.
            InvalidRequestError: the model cannot read a window.
        """
        opened = yield from self.pool.open(model, progress)
        if opened.config.context_length < WINDOW_TOKENS:
            raise InvalidRequestError(
                f"{model} reads at most {opened.config.context_length:,} tokens, and a window takes {WINDOW_TOKENS}."
            )
        return text_windows(opened.tokenizer.encode_document(corpus.text), opened.tokenizer.bos_id)

    def encode_prompt(self, model: str, prompt: CorpusPrompt, progress: Progress) -> Steps[tuple[int, ...]]:
        """A prompt as this model's tokens. What ``progress`` raises while the chat template is at work ends that.

        Raises:
            ContextLengthError: it leaves no room for an answer.
            InvalidRequestError: the model's chat template refuses it.
        """
        opened = yield from self.pool.open(model, progress)
        ids = opened.tokenizer.encode_chat(prompt.messages, lambda: progress(_READING, 0.0))
        if len(ids) >= opened.config.context_length:
            raise ContextLengthError(len(ids), opened.config.context_length)
        return tuple(ids)

    def compare_window(
        self, model: str, precision: Precision, window: Window, progress: Progress
    ) -> Steps[WindowDivergence]:
        """See :meth:`engine.Engine.compare_window`."""
        opened = yield from self.pool.open(model, progress)
        _require_readable(opened, window.token_ids)
        with self._room.at_work(self._job), self.pool.residents.hold() as hold:
            candidates = (OptimizationConfig.at(precision),)
            reference, (candidate,) = yield from self._readers(
                opened, model, candidates, len(window.token_ids), progress, hold
            )
            return (yield from window_divergence(reference, candidate, _vocab_size(opened), window))

    def compare_candidates(
        self,
        request: GenerationRequest,
        token_ids: Sequence[int],
        candidates: Sequence[OptimizationConfig],
        progress: Progress,
    ) -> Steps[tuple[WindowDivergence, ...]]:
        """See :meth:`engine.Engine.compare_candidates`."""
        if not token_ids:
            raise InvalidRequestError(_NO_ANSWER)
        if any(each.window is not None for each in candidates):
            raise InvalidRequestError(
                "A sliding window forgets while an answer is written, and an answer that is there is read at once."
            )
        model = request.config.model
        opened = yield from self.pool.open(model, progress)
        prompt_ids = opened.tokenizer.read_prompt(request, lambda: progress(_READING, 0.0)).ids
        window = Window((*prompt_ids, *token_ids), len(prompt_ids))
        _require_readable(opened, window.token_ids)
        with self._room.at_work(self._job), self.pool.residents.hold() as hold:
            readers = yield from self._readers(opened, model, candidates, len(window.token_ids), progress, hold)
            return (yield from window_divergences(*readers, _vocab_size(opened), window))

    def compare_answer(
        self, request: GenerationRequest, token_ids: Sequence[int], progress: Progress
    ) -> Steps[AnswerDivergence]:
        """See :meth:`engine.Engine.compare_answer`."""
        if not token_ids:
            raise InvalidRequestError(_NO_ANSWER)
        config = request.config
        opened = yield from self.pool.open(config.model, progress)
        prompt_ids = opened.tokenizer.read_prompt(request, lambda: progress(_READING, 0.0)).ids
        _require_readable(opened, [*prompt_ids, *token_ids])
        n_tokens = len(prompt_ids) + len(token_ids)
        with self._room.at_work(self._job), self.pool.residents.hold() as hold:
            candidates = (OptimizationConfig.at(config.precision),)
            reference, (candidate,) = yield from self._readers(
                opened, config.model, candidates, n_tokens, progress, hold
            )
            return (
                yield from answer_divergence(
                    reference,
                    candidate,
                    _vocab_size(opened),
                    opened.tokenizer,
                    prompt_ids,
                    token_ids,
                    greedy=config.sampling.takes_the_likeliest,
                )
            )

    def check_losslessness(
        self, request: GenerationRequest, token_ids: Sequence[int], progress: Progress
    ) -> Steps[Losslessness]:
        """See :meth:`engine.Engine.check_losslessness`."""
        if not token_ids:
            raise InvalidRequestError("There is no answer to check: it has no tokens.")
        config, gears = request.config, request.config.optimization
        opened = yield from self.pool.open(config.model, progress)
        prompt_ids = opened.tokenizer.read_prompt(request, lambda: progress(_READING, 0.0)).ids
        _require_known(opened, [*prompt_ids, *token_ids])
        constraint = constraint_of(opened, request, lambda: progress(_READING, 0.0))
        n_tokens = gears.window or len(prompt_ids) + len(token_ids)

        def acquire(hold: Hold) -> Steps[PassReader]:
            model = yield from self.pool.acquire(opened, config, progress, hold)
            reader = _reader(model)
            needed, purpose = model.kv_bytes(n_tokens, gears.kv_dtype), f"A KV cache of {n_tokens:,} tokens"
            self.pool.residents.make_room(needed, purpose, hold.weights_bytes)
            return reader

        with self._room.at_work(self._job), self.pool.residents.hold() as hold:
            reader = yield from self._room.once_there_is_room(self._job, lambda _: acquire(hold), hold)
            return (
                yield from check(
                    reader.decoder,
                    reader,
                    lambda: reader.decoder.new_cache(n_tokens, gears.kv_dtype, gears.window),
                    _vocab_size(opened),
                    config.sampling,
                    prompt_ids,
                    token_ids,
                    opened.tokenizer.token_text,
                    constraint,
                )
            )

    def _readers(
        self,
        opened: OpenCheckpoint,
        model: str,
        candidates: Sequence[OptimizationConfig],
        n_tokens: int,
        progress: Progress,
        hold: Hold,
    ) -> Steps[tuple[PassReader, tuple[PassReader, ...]]]:
        """The 16-bit model and the candidates, all in memory, with room to read ``n_tokens``. What is the 16-bit model
        itself is the same reader."""
        precisions = tuple(dict.fromkeys(each.precision for each in candidates))
        parts = len(precisions) + 1

        def acquire() -> Steps[tuple[LoadedModel, dict[Precision, LoadedModel]]]:
            within = part(progress, 0.0, 1 / parts)
            reference = yield from self.pool.acquire(opened, RunConfig(model=model), within, hold)
            loaded: dict[Precision, LoadedModel] = {}
            try:
                for place, precision in enumerate(precisions, 1):
                    run = RunConfig(model=model, optimization=OptimizationConfig.at(precision))
                    within = part(progress, place / parts, (place + 1) / parts)
                    loaded[precision] = yield from self.pool.acquire(opened, run, within, hold)
                needed, purpose = reference.kv_bytes(n_tokens, KVDtype.BF16), f"A KV cache of {n_tokens:,} tokens"
                self.pool.residents.make_room(needed, purpose, hold.weights_bytes)
            except InsufficientMemoryError as error:
                several = "both" if len(precisions) == 1 else "all of them"
                raise InsufficientMemoryError(
                    f"{model} in {', '.join(precisions)} is compared with its 16-bit self, and {several} must be in "
                    f"memory at once. {error}",
                    is_final=error.is_final,
                ) from error
            return reference, loaded

        reference, loaded = yield from self._room.once_there_is_room(self._job, lambda _: acquire(), hold)
        reader = _reader(reference)
        return reader, tuple(
            reader
            if loaded[each.precision] is reference and each.kv_dtype is KVDtype.BF16
            else _reader(loaded[each.precision], each.kv_dtype)
            for each in candidates
        )


def _reader(model: LoadedModel, kv_dtype: KVDtype = KVDtype.BF16) -> PassReader:
    if model.stepwise is None:
        raise InvalidRequestError("This backend gives answers alone: its models cannot be read token by token.")
    return PassReader(model.stepwise.decoder, kv_dtype)


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
