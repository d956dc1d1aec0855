"""Random JSON schemas of a small family."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_NAMES = ["name", "age", "tags", "größe", 'a "b"']
_leaves: st.SearchStrategy[Any] = (
    st.builds(
        lambda least, more: {"type": "integer", "minimum": least, "maximum": least + more},
        st.integers(-99, 99),
        st.integers(0, 500),
    )
    | st.builds(lambda most: {"type": "string", "maxLength": most}, st.integers(0, 8))
    | st.just({"type": "boolean"})
    | st.just({"type": "null"})
    | st.just({"type": "string", "pattern": "^[A-Z]{2}-[0-9]{1,3}$"})
    | st.just({"type": "string", "format": "date"})
    | st.builds(
        lambda values: {"enum": values},
        st.lists(st.sampled_from(["red", "blau", 3, None, 2.5]), min_size=1, max_size=3),
    )
    | st.builds(lambda value: {"const": value}, st.sampled_from(["é🌍", -7, {"k": []}]))
)


def _objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def made(properties: dict[str, Any], optional: set[str]) -> dict[str, Any]:
        required = [name for name in properties if name not in optional]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    return st.builds(
        made, st.dictionaries(st.sampled_from(_NAMES), values, max_size=3), st.sets(st.sampled_from(_NAMES), max_size=2)
    )


def _arrays(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def made(items: Any, least: int, more: int) -> dict[str, Any]:
        return {"type": "array", "items": items, "minItems": least, "maxItems": least + more}

    return st.builds(made, values, st.integers(0, 2), st.integers(0, 2))


bounded_schemas = st.recursive(
    _leaves,
    lambda inner: (
        _objects(inner) | _arrays(inner) | st.lists(inner, min_size=1, max_size=2).map(lambda of: {"anyOf": of})
    ),
    max_leaves=4,
)
"""Every answer to them has an end."""
