"""A configuration from its table in a TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.cascade.cascades import first_thresholds
from app.experiments.planning.design import DesignError, NamedConfiguration
from app.experiments.planning.keys import (
    LIST,
    NUMBER,
    TEXT,
    TRUTH,
    WHOLE,
    Kind,
    check_keys,
    choice,
    one_of,
    text,
    texts,
)
from engine.errors import InvalidRequestError
from engine.types import (
    DRAFT_PRECISION,
    Backend,
    CacheMode,
    CascadeConfig,
    Drafter,
    KVDtype,
    OptimizationConfig,
    Precision,
    RouterKind,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
    Tier,
    is_remote,
)

_KEYS: Mapping[str, Kind] = {
    "name": TEXT, "model": TEXT, "backend": TEXT, "precision": TEXT,
    "cache": TEXT, "kv_dtype": TEXT, "window": WHOLE,
    "drafter": TEXT, "draft_model": TEXT, "draft_precision": TEXT, "gamma": WHOLE,
    "smaller": LIST, "thresholds": LIST, "router": TEXT, "profile": TEXT, "after_tokens": WHOLE, "keep_tier": TRUTH,
    "guard": TRUTH,
    "temperature": NUMBER, "top_p": NUMBER, "top_k": WHOLE, "repetition_penalty": NUMBER, "frequency_penalty": NUMBER,
    "presence_penalty": NUMBER, "logit_bias": LIST, "json_schema": TEXT, "top_logprobs": WHOLE, "stop": LIST,
}  # fmt: skip
_OF_A_CASCADE = ("thresholds", "router", "profile", "after_tokens", "keep_tier", "guard")


def read_configuration(table: Any, key: str, called: str) -> NamedConfiguration:
    """A configuration, under its own name or else as its model and precision.

    Args:
        table: its table.
        key: of such tables in the file.
        called: what a message calls it where it has no name.

    Raises:
        DesignError: it describes none; the message names it, and its key.
    """
    if not isinstance(table, dict):
        raise DesignError(f"“{key}” must be tables: begin each with [[{key}]].")
    try:
        check_keys(table, _KEYS, "A configuration")
        model = text(table, "model")
        usual = (Precision.UNKNOWN, Backend.REMOTE) if is_remote(model) else (Precision.BF16, Backend.LOCAL)
        precision = choice(Precision, table, "precision", usual[0])
        if is_remote(model) != (precision is Precision.UNKNOWN):
            raise DesignError(
                f"“precision” is the server's to know for {model}: leave it out."
                if is_remote(model)
                else f"“precision” cannot be {precision} for {model}: that is said of servers' models."
            )
        config = RunConfig(
            model=model,
            backend=choice(Backend, table, "backend", usual[1]),
            optimization=OptimizationConfig.at(
                precision,
                choice(CacheMode, table, "cache", CacheMode.KV),
                choice(KVDtype, table, "kv_dtype", KVDtype.BF16),
                table.get("window"),
                _speculation(table),
                _cascade(table),
            ),
            sampling=SamplingParams(
                temperature=float(table.get("temperature", 0.0)),
                top_p=float(table.get("top_p", 1.0)),
                top_k=table.get("top_k", 0),
                repetition_penalty=float(table.get("repetition_penalty", 1.0)),
                frequency_penalty=float(table.get("frequency_penalty", 0.0)),
                presence_penalty=float(table.get("presence_penalty", 0.0)),
                logit_bias=_biases(table),
                json_schema=table.get("json_schema"),
                top_logprobs=table.get("top_logprobs", 0),
                stop=tuple(texts(table, "stop")),
            ),
        )
    except InvalidRequestError as error:
        name = f"{key} “{table['name']}”" if "name" in table else called
        raise DesignError(f"{name}: {error}") from error
    return NamedConfiguration(text(table, "name", str(config.ladder[-1])), config)


def _speculation(table: Mapping[str, Any]) -> SpeculationConfig | None:
    if "drafter" not in table:
        if further := [key for key in ("draft_model", "draft_precision", "gamma") if key in table]:
            raise DesignError(f"“{further[0]}” needs a “drafter”: {', '.join(Drafter)}.")
        return None
    drafter = choice(Drafter, table, "drafter", Drafter.AUTO)
    held = DRAFT_PRECISION if drafter.info.has_precision else None
    return SpeculationConfig(
        drafter=drafter,
        draft_model=text(table, "draft_model") if "draft_model" in table else None,
        draft_precision=choice(Precision, table, "draft_precision", held) if "draft_precision" in table else held,
        gamma=table.get("gamma"),
    )


def _cascade(table: Mapping[str, Any]) -> CascadeConfig | None:
    if "smaller" not in table:
        if further := [key for key in _OF_A_CASCADE if key in table]:
            raise DesignError(f"“{further[0]}” needs “smaller”: the tiers in front of the model.")
        return None
    smaller = tuple(map(_tier, texts(table, "smaller")))
    router, profile = choice(RouterKind, table, "router", RouterKind.ESCALATE), table.get("profile")
    thresholds = table.get("thresholds")
    if thresholds is None:
        thresholds = first_thresholds(router, len(smaller), profile)
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in thresholds):
        raise DesignError("“thresholds” must be numbers between 0 and 1, one for each smaller tier.")
    return CascadeConfig(
        smaller=smaller,
        thresholds=tuple(map(float, thresholds)),
        router=router,
        profile=profile,
        after_tokens=table.get("after_tokens"),
        keep_tier=table.get("keep_tier", False),
        guard=table.get("guard", True),
    )


def _biases(table: Mapping[str, Any]) -> tuple[tuple[int, float], ...]:
    biases = table.get("logit_bias", [])
    if not all(
        isinstance(each, list) and len(each) == 2 and type(each[0]) is int and type(each[1]) in (int, float)
        for each in biases
    ):
        raise DesignError("“logit_bias” must be a list of pairs: a token's id and what is added, such as [[11, -5.0]].")
    return tuple((token_id, bias) for token_id, bias in biases)


def _tier(key: str) -> Tier:
    if is_remote(key):
        return Tier.from_key(key)
    model, at, precision = key.rpartition("@")
    if not at:
        raise DesignError(
            f"“smaller” names “{key}”: write model@precision, such as smollm2-135m@int4, or a "
            "server's model, such as @office."
        )
    return Tier(model=model, precision=one_of(Precision, precision, "smaller"))
