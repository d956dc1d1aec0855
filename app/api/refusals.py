"""Bodies that are not as they must be, in OpenAI's shape and in words. Only names of what was sent are repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.api.errors import ApiError
from app.api.requests import NOT_SUPPORTED

_LISTS_OF_KINDS = ("messages",)
"""Lists whose entries are of several kinds: pydantic puts the kind behind the place."""
_FIELDS_OF_KINDS = ("response_format",)
_MOST_CHARACTERS = 200


def refusal(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """What the first thing wrong with a body is.

    Args:
        errors: pydantic's, at least one.
    """
    first = errors[0]
    start = _param(first)
    error = max((each for each in errors if _param(each).startswith(start)), key=_tells)
    param = _param(error)
    match error["type"]:
        case "json_invalid":
            return ApiError(400, "The body is no JSON.")
        case kind if kind == NOT_SUPPORTED:
            return ApiError(400, error["msg"], param=param or None, code="unsupported_parameter")
        case "extra_forbidden":
            return ApiError(400, f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")
        case "missing" if param:
            return ApiError(400, f"Missing parameter: '{param}'.", param=param, code="missing_required_parameter")
        case "missing" | "model_attributes_type" | "dict_type" if not param:
            return ApiError(400, "The body must be a JSON object, sent as application/json.")
        case "union_tag_invalid" | "union_tag_not_found":
            param = f"{param}.{error['ctx']['discriminator'].strip(chr(39))}"
            allowed = error["ctx"].get("expected_tags")
            return ApiError(
                400,
                f"'{param}' must be one of {allowed}: nothing else is supported."
                if allowed
                else f"Missing parameter: '{param}'.",
                param=param,
                code="invalid_value",
            )
    return ApiError(400, f"Invalid '{param}': {error['msg']}.", param=param or None, code="invalid_value")


def _tells(error: Mapping[str, Any]) -> tuple[int, bool]:
    """How much an error says, of those of one field: the one farthest in, and rather than "not of that type"."""
    return len(error["loc"]), not error["type"].endswith("_type")


def _param(error: Mapping[str, Any]) -> str:
    """The field that an error is about, as OpenAI writes it: ``messages[0].content``."""
    path = ""
    inside = ""
    kind_follows = False
    for element in error["loc"][1:]:
        if isinstance(element, int):
            path += f"[{element}]"
            kind_follows = inside in _LISTS_OF_KINDS
        elif kind_follows:
            kind_follows = False
        elif "[" in element or element in ("str", "constrained-str"):
            continue  # a branch of what may be this or that
        else:
            path += f".{element}" if path else element
            inside = element
            kind_follows = element in _FIELDS_OF_KINDS
    if field := error.get("ctx", {}).get("field"):
        path += f".{field}" if path else field
    return path[:_MOST_CHARACTERS]
