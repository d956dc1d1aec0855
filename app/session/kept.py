"""What widgets are set to, kept for a person: it is there after a reload, in a tab opened later, after a restart.

Widgets live in the session's state. Here is which of their keys are kept, read once as a session begins, and written
when one has changed. Of two tabs, the last to change a widget decides how the next one finds it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from enum import StrEnum
from typing import Any, cast

import streamlit as st

from app import resources
from app.router.choosing.scoring import Choice
from app.session import chat, playground, self_hosting
from app.session.configuration import Form, values_of
from app.session.labs import cache, quantization, router, speculation
from app.speculation.drafters import drafter_of
from app.store import PeopleStore, StoreError
from engine import list_models
from engine.cascade import RouterProfile
from engine.errors import GearboxError
from engine.types import KVCacheConfig, RunConfig, SamplingParams, SpeculationConfig

_SAVED = "kept-as-saved"
_MOST_CHARACTERS = 100_000
"""Of one text."""

_MODEL_SETTINGS = ("model", "cascade-first-model", "cascade-second-model", "drafter")
_KINDS: dict[str, type] = {"kv-window": int, "gamma": int, "cascade-after-tokens": int, "cascade-profile": str}
"""Of settings whose first value is ``None``."""
_OF_ANYBODY = ("lane-", "chat-")
"""Begin the keys of forms whose models may be servers'."""
_MAY_BE_NONE = (*_KINDS, "cascade-second-model")

Reader = Callable[[object], Any]
"""Takes a value as it was kept, or raises `ValueError` where it no longer is one."""


@contextmanager
def widgets_kept(person_id: str | None) -> Iterator[None]:
    """Around the drawing of a page: widgets begin as this person has last set them, and what was changed is kept.

    Nothing is for ``None``, whom nobody will know again; nor without a run database, which is told of elsewhere.
    """
    people = None
    if person_id is not None:
        with suppress(GearboxError):
            people = resources.get_store().people
    if people is None or person_id is None:
        yield
        return
    _restore(people, person_id)
    _keep(people, person_id)
    try:
        yield
    finally:
        _see_first_values()


def _restore(people: PeopleStore, person_id: str) -> None:
    """Set the widgets as they were last set, once a session, before any is drawn.

    What is no longer valid, such as a model that is gone, is as if it had never been set.
    """
    if _SAVED in st.session_state:
        return
    models = list_models(resources.get_settings().models_dir)
    installed = [model.name for model in models if model.installed]
    first_values = {
        form.key(name): value for form in _forms(installed) for name, value in values_of(form.first).items()
    }
    first_values |= {cache.SIMULATION: None, **{playground.warm_key(lane): False for lane in playground.LANES}}
    saved = {key: json.dumps(value) for key, value in first_values.items()}
    st.session_state[_SAVED] = saved
    readers = _readers(installed, _remote())
    with suppress(StoreError):
        for key, kept in people.settings(person_id).items():
            reader = _number(float, 0, 1) if key.startswith(router.THRESHOLD) else readers.get(key)
            if reader and key not in st.session_state:
                with suppress(ValueError):
                    st.session_state[key] = reader(kept)
                    saved[key] = _written(key)


def _keep(people: PeopleStore, person_id: str) -> None:
    """Keep what this session has set otherwise since it last looked. Nothing is written where nothing has changed; what
    cannot be written now is tried again by the next script run."""
    saved = _saved()
    changed = {key: text for key in _keys() if (text := _written(key)) != saved.get(key)}
    if changed:
        with suppress(StoreError):
            people.keep_settings(person_id, {key: json.loads(text) for key, text in changed.items()})
            saved.update(changed)


def _see_first_values() -> None:
    """Remember what widgets show that were drawn for the first time, where that is known to their page alone: it is
    nobody's choice, and not kept."""
    saved = _saved()
    for key in _keys():
        if key not in saved:
            saved[key] = _written(key)


def _saved() -> dict[str, str]:
    return cast("dict[str, str]", st.session_state.setdefault(_SAVED, {}))


def _keys() -> Iterator[str]:
    """The keys in this session's state whose values are kept."""
    for key in st.session_state:
        if isinstance(key, str) and (key in _KEYS or key.startswith(router.THRESHOLD)):
            yield key


def _written(key: str) -> str:
    """A widget's value as JSON; null for a text that is too long to be kept."""
    text = json.dumps(st.session_state[key], ensure_ascii=False)
    return text if len(text) <= _MOST_CHARACTERS else "null"


def _remote() -> list[str]:
    """The models of servers, as far as they can be looked up."""
    with suppress(GearboxError):
        return resources.get_remote_models().names()
    return []


def _readers(installed: Sequence[str], remote: Sequence[str] = ()) -> dict[str, Reader]:
    """How each key's value is read, apart from the Router lab's thresholds, whose keys name the router.

    Args:
        installed: the models there are.
        remote: those of servers, which forms may choose that ask anybody.
    """
    readers: dict[str, Reader] = {
        playground.PROMPT: _text,
        playground.SYSTEM: _text,
        playground.PRICE_PER_HOUR: _number(float, 0, 1e9),
        chat.NEW_SYSTEM: _text,
        quantization.PROMPT: _text,
        speculation.PROMPT: _text,
        router.CHOICE.key: lambda kept: Choice(str(kept)),
        cache.LOG: _text,
        cache.LOG_BUDGET: _number(int, 1, cache.MOST_BUDGET_MIB),
        cache.LOG_AT_ONCE: _number(int, 1, cache.MOST_AT_ONCE),
        cache.SIMULATION: _text,
    }
    # these look by themselves whether what was chosen is still among their options
    chosen = (
        quantization.CORPUS,
        router.DATA_SET,
        router.WEAK,
        router.STRONG,
        router.PROFILE,
        cache.LOG_MODEL,
        self_hosting.SPEED,
    )
    readers |= {choice.key: _text for choice in chosen}
    readers |= {
        figure.key: _number(int if figure.whole else float, figure.least, figure.most)
        for figure in self_hosting.FIGURES
    }
    for form in _forms(installed):
        models = [*installed, *remote] if form.prefix.startswith(_OF_ANYBODY) else installed
        readers |= {form.key(setting): _setting(form, setting, models) for setting in values_of(form.first)}
    return readers | {playground.warm_key(lane): _switch for lane in playground.LANES}


def _forms(installed: Sequence[str]) -> list[Form]:
    lanes = [playground.lane_form(lane) for lane in playground.LANES]
    return [*lanes, quantization.form(installed), speculation.form(installed), chat.form(None)]


def _setting(form: Form, setting: str, installed: Sequence[str]) -> Reader:
    return lambda kept: _read_setting(form.first, setting, kept, installed)


def _read_setting(first: RunConfig, setting: str, kept: object, installed: Sequence[str]) -> Any:
    """A setting's value as it was kept as JSON.

    Args:
        first: what the form shows first, which says of what kind each value is.
        setting: which.
        kept: the JSON value.
        installed: the models there are; any folder or hub id may be one too.

    Raises:
        ValueError: it is none that the setting can have, or is of a model that is gone.
    """
    default = values_of(first)[setting]
    if kept is None and setting in _MAY_BE_NONE:
        return None
    if setting in _MODEL_SETTINGS:
        name = str(kept).partition(" ")[2] if setting == "drafter" else str(kept)
        drafter = drafter_of(str(kept)) if setting == "drafter" else None
        if (drafter is None or drafter.draft_model) and name not in installed and "/" not in name:
            raise ValueError(kept)
        return str(kept)
    kind = _KINDS.get(setting, type(default))
    if issubclass(kind, StrEnum):
        return kind(str(kept))
    if kind is float and isinstance(kept, int) and not isinstance(kept, bool):
        kept = float(kept)
    if type(kept) is not kind:
        raise ValueError(kept)
    _check(setting, kept)
    return kept


def _check(setting: str, value: Any) -> None:
    """Raise `ValueError` where a number or a list is out of range."""
    field = setting.replace("-", "_")
    if field in {each.name for each in fields(SamplingParams)}:
        changed: dict[str, Any] = {field: tuple(value) if setting == "stop" else value}
        SamplingParams(**changed)
    elif setting == "gamma":
        SpeculationConfig(gamma=value)
    elif setting == "kv-window":
        KVCacheConfig(window=value)
    elif (setting.endswith("-threshold") and not 0 <= value <= 1) or (setting.endswith("-tokens") and value < 1):
        raise ValueError(value)
    elif setting == "cascade-profile":
        RouterProfile.from_dict(json.loads(value))


def _text(kept: object) -> str:
    if not isinstance(kept, str):
        raise ValueError(kept)
    return kept


def _switch(kept: object) -> bool:
    if not isinstance(kept, bool):
        raise ValueError(kept)
    return kept


def _number(kind: type[int] | type[float], least: float, most: float) -> Reader:
    def read(kept: object) -> int | float:
        if isinstance(kept, bool) or not isinstance(kept, (int, kind)) or not least <= kept <= most:
            raise ValueError(kept)
        return kind(kept)

    return read


_KEYS = frozenset(_readers(()))
