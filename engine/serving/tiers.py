"""Making the tiers of a request ready to answer: opened, the prompt in their tokens, in memory, with their drafters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

from engine.backends.base import OpenCheckpoint
from engine.backends.remote.network import Network
from engine.errors import (
    ContextLengthError,
    GearboxError,
    InsufficientMemoryError,
    InvalidRequestError,
    ModelNotInstalledError,
    UnknownModelError,
)
from engine.generation.choosing import Constraint
from engine.generation.constraint import JsonConstraint
from engine.passes import Steps
from engine.serving.attempt import Attempt
from engine.serving.drafting import Drafting
from engine.serving.memory.holding import Hold
from engine.serving.memory.pool import ModelPool
from engine.serving.remote.attempt import RemoteAttempt
from engine.serving.scheduling.jobs import GenerationJob
from engine.types import (
    Backend,
    Drafter,
    GenerationRequest,
    Loading,
    OptimizationConfig,
    RemoteModel,
    SpeculationConfig,
    Tier,
    backend_of,
)

_FAR_TOO_LONG = 16
"""Characters for each token of the context, from which on a prompt is looked at before it is read: few texts have as
many in a token."""


_NUMBERED_APART = "Logit bias names tokens by number, and the tiers of this cascade number them apart."


class CancelledWhileLoadingError(Exception):
    """Ends loading, or waiting for a chat template, from inside."""


def unless_cancelled(is_cancelled: Callable[[], bool]) -> Callable[[], None]:
    """What to call while waiting: it ends the wait with :class:`CancelledWhileLoadingError` once that is so."""

    def waiting() -> None:
        if is_cancelled():
            raise CancelledWhileLoadingError

    return waiting


AnyAttempt = Attempt | RemoteAttempt

Remotes = Mapping[str, RemoteModel | GearboxError]
"""The servers' models of a request by their names, or why one cannot be asked."""


@dataclass(slots=True)
class Tiers:
    """The models that take part in a request."""

    largest: GenerationRequest
    """The request as it is asked of the model that it names, whether that takes part or not."""
    attempts: list[AnyAttempt] = field(default_factory=list)
    """From the smallest tier up; the model alone with the gear off."""
    unavailable: list[str] = field(default_factory=list)
    """Tiers that cannot take part, with the reason."""
    tokenizing_s: float = 0.0
    """Seconds spent on the prompt while they were loaded."""


def prepare_tiers(
    job: GenerationJob,
    pool: ModelPool,
    drafting: Drafting,
    hold: Hold,
    network: Network,
    remotes: Remotes,
    *,
    room_may_come: bool = False,
) -> Steps[Tiers]:
    """All tiers of a request in memory, with the prompt in the tokens of each. A tier of a cascade that cannot take
    part is left out. Others' passes go on while models are loaded.

    Args:
        job: whose request it is.
        pool: the models.
        drafting: finds who drafts.
        hold: keeps the tiers' models, and those that draft, in memory.
        network: where servers are asked.
        remotes: the servers' models among the tiers.
        room_may_come: whether memory may be free later: then no tier is left out that could ever fit.

    Raises:
        CancelledWhileLoadingError: the request was cancelled before they were there.
        GearboxError: what keeps the model, or all tiers of a cascade, from answering.
    """
    waiting = unless_cancelled(job.is_cancelled)

    def loading(stage: str, fraction: float) -> None:
        waiting()
        job.notify(Loading(stage, fraction))

    if job.exclusive:
        yield from pool.loads_nothing(loading)
    asked = _requests(job.request)
    tiers = Tiers(largest=asked[-1])
    for place, request in _asked_here(job.request, asked):
        if request.config.backend is Backend.REMOTE:
            _add_remote(tiers, remotes, network, request, place)
            continue
        try:
            opened = yield from pool.open(request.config.model, loading)
            opened.tokenizer.prepare(waiting)
            if request.config.sampling.json_schema is not None:
                loading(f"Preparing {opened.checkpoint.name} to write JSON", 0.0)
                _ = opened.tokenizer.for_grammars  # made once
            begun = perf_counter()
            _refuse_far_too_long(opened, request)
            prompt = opened.tokenizer.read_prompt(request, waiting)
            prompt_ids = [*prompt.ids, *request.prefix_ids]
            max_tokens = _room(opened, request, len(prompt_ids))
            constraint = constraint_of(opened, request, waiting)
            tiers.tokenizing_s += perf_counter() - begun
            _check_bias(opened, request, tiers)
            model = yield from pool.acquire(opened, request.config, loading, hold)
        except (ModelNotInstalledError, UnknownModelError, ContextLengthError, InsufficientMemoryError) as error:
            if job.request.config.optimization.cascade is None:
                raise
            if room_may_come and isinstance(error, InsufficientMemoryError) and not error.is_final:
                raise
            tiers.unavailable.append(f"{request.config.ladder[-1]}: {error}")
            continue
        below = tiers.attempts[-1].fingerprint if tiers.attempts else None
        if job.request.config.optimization.cascade and request is tiers.largest and model.stepwise:
            # what it alone would take is derived from them until it has answered
            yield from pool.time(opened.checkpoint.name, model.stepwise, loading)
        drafters = yield from drafting.drafters(
            opened, model, request, loading, hold, answer_drafts=below == opened.tokenizer.fingerprint
        )
        tiers.attempts.append(
            Attempt(
                opened,
                model,
                drafters,
                request,
                place,
                prompt_ids,
                max_tokens,
                retokenized=prompt.retokenized,
                constraint=constraint,
            )
        )
    if not tiers.attempts:
        raise InvalidRequestError("No tier of this cascade can answer. " + " ".join(tiers.unavailable))
    return tiers


def _add_remote(tiers: Tiers, remotes: Remotes, network: Network, request: GenerationRequest, place: int) -> None:
    """A server's model as a tier; whether it can be asked is known once it is.

    Raises:
        InvalidRequestError: tokens are named by number, which are other tokens there.
    """
    if request.config.sampling.logit_bias:
        raise InvalidRequestError(_NUMBERED_APART)
    found = remotes[request.config.model]
    if isinstance(found, GearboxError):
        tiers.unavailable.append(f"{request.config.model}: {found}")
    else:
        tiers.attempts.append(RemoteAttempt(network, found, request, place))


def constraint_of(
    opened: OpenCheckpoint, request: GenerationRequest, waiting: Callable[[], object]
) -> Constraint | None:
    """What a request holds its answer to, from its beginning; ``None`` where any token may come.

    Raises:
        InvalidRequestError: no answer of this model can be held to it.
    """
    schema, tokenizer = request.config.sampling.json_schema, opened.tokenizer
    if schema is None:
        return None
    return JsonConstraint(tokenizer.for_grammars, tokenizer.stop_ids, schema, request.prefix_ids, waiting)


def _check_bias(opened: OpenCheckpoint, request: GenerationRequest, tiers: Tiers) -> None:
    """Refuse biases for what are no tokens of a model, or of other tokens in each tier.

    Raises:
        InvalidRequestError: and why.
    """
    biases, tokenizer = request.config.sampling.logit_bias, opened.tokenizer
    unknown = next((token_id for token_id, _ in biases if token_id >= tokenizer.vocab_size), None)
    if unknown is not None:
        raise InvalidRequestError(
            f"Logit bias names token {unknown:,}, and the last one of {opened.checkpoint.name} is "
            f"{tokenizer.vocab_size - 1:,}."
        )
    if biases and any(each.fingerprint != tokenizer.fingerprint for each in tiers.attempts):
        raise InvalidRequestError(_NUMBERED_APART)


def _requests(request: GenerationRequest) -> list[GenerationRequest]:
    """The request as it is asked of each tier of the ladder."""
    gears, ladder = request.config.optimization, request.config.ladder
    if gears.cascade is None:
        return [request]

    def asked_of(tier: Tier) -> GenerationRequest:
        speculation = _fitting(gears.speculation, tier, is_largest=tier == ladder[-1])
        optimization = (
            OptimizationConfig()
            if tier.is_remote
            else OptimizationConfig.at(tier.precision, gears.cache_mode, gears.kv_dtype, gears.window, speculation)
        )
        config = replace(request.config, model=tier.model, backend=backend_of(tier.model), optimization=optimization)
        return replace(request, config=config)

    return [asked_of(tier) for tier in ladder]


def _asked_here(request: GenerationRequest, asked: Sequence[GenerationRequest]) -> list[tuple[int, GenerationRequest]]:
    """Of the tiers, those that are asked, with their place in the ladder: all, or the one that a conversation keeps."""
    cascade, ladder = request.config.optimization.cascade, request.config.ladder
    names = [str(tier) for tier in ladder]
    kept = request.last_tier if cascade and cascade.keep_tier else None
    return [
        (place, each)
        for place, (name, each) in enumerate(zip(names, asked, strict=True))
        if kept not in names or kept == name
    ]


def _fitting(speculation: SpeculationConfig | None, tier: Tier, *, is_largest: bool) -> SpeculationConfig | None:
    """The speculation gear for a tier: a drafter that was chosen for the largest may not suit a smaller one."""
    if speculation is None or speculation.drafter in (Drafter.AUTO, Drafter.NGRAM):
        return speculation
    if speculation.drafter is Drafter.DRAFT and not is_largest:
        return None
    return (
        None if speculation.draft_precision is tier.precision and speculation.drafter is Drafter.SELF else speculation
    )


def _refuse_far_too_long(opened: OpenCheckpoint, request: GenerationRequest) -> None:
    """Refuse a text many times as long as the context before the whole of it is read, for which all others would wait.

    Raises:
        ContextLengthError: the first part of it alone does not fit.
    """
    context_length = opened.config.context_length
    texts = [request.completion or "", *(message.content for message in request.messages)]
    most_characters = _FAR_TOO_LONG * context_length
    if request.config.optimization.window is not None or sum(map(len, texts)) <= most_characters:
        return
    first_part = "\n".join(texts)[: most_characters // 2]
    if (count := len(opened.tokenizer.encode_document(first_part))) >= context_length:
        raise ContextLengthError(count, context_length, counted_all=False)


def _room(opened: OpenCheckpoint, request: GenerationRequest, prompt_tokens: int) -> int:
    """Tokens that an answer may have.

    Raises:
        ContextLengthError, InvalidRequestError: the prompt, or the window, does not fit the context.
    """
    context_length, window = opened.config.context_length, request.config.optimization.window
    max_tokens = request.config.sampling.max_tokens
    if window is None:
        if prompt_tokens >= context_length:
            raise ContextLengthError(prompt_tokens, context_length)
        return min(max_tokens, context_length - prompt_tokens)
    if window > context_length:
        raise InvalidRequestError(
            f"A sliding window of {window:,} tokens is larger than this model's context of {context_length:,}."
        )
    return max_tokens
