"""JSON schemas that strangers wrote, as grammars of llguidance: tried out before an answer is held to one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from engine.errors import InvalidRequestError
from engine.untrusted.confined import BeyondLimitsError, Confined, patient

GRAMMARS = Confined("grammars", seconds=2)
_WHITE_SPACE = r"[\x20\x0A\x0D\x09]{1,32}"
"""Between two parts of the JSON; without an end to it a small model may write nothing else."""
_TOO_COMPLEX = re.compile("too complex|too many|too large|max is|fuel|limit", re.IGNORECASE)


def grammar_of(schema: str, waiting: Callable[[], object] = patient) -> str:
    """The grammar of a schema. A process of its own has followed it, and each pattern in it, for a while: some break
    the process that reads them, and some go beyond the library's limits only once an answer is begun.

    Args:
        schema: a JSON text, an object.
        waiting: called every 50 ms meanwhile; what it raises ends that and comes out here.

    Raises:
        InvalidRequestError: answers cannot be held to this schema.
    """
    tree = json.loads(schema)
    tree.pop("x-guidance", None)  # settings of the library, which are not a stranger's to change
    grammar = _grammar(tree)
    alone = [_grammar({"type": "string", "pattern": pattern}) for pattern in dict.fromkeys(_patterns(tree))]
    try:
        error = GRAMMARS.run("follow", {"grammars": [grammar, *alone]}, waiting)
    except BeyondLimitsError as beyond:
        raise InvalidRequestError(f"No answer can be held to this JSON schema: reading it {beyond}.") from beyond
    if error:
        raise refusal(error)
    return grammar


def refusal(error: str) -> InvalidRequestError:
    """What llguidance says, for the user."""
    reason = " ".join(error.partition("<non-verbose/>")[0].split()).rstrip(".")
    if reason == "NoExtensionBias":
        reason = "nothing keeps to it"
    elif found := re.fullmatch(r"Unimplemented keys: (\[.*\])", reason):
        reason = f"{', '.join(json.loads(found[1]))} in it is not supported"
    elif _TOO_COMPLEX.search(reason):
        reason = f"it is too complex ({reason:.200})"
    return InvalidRequestError(f"No answer can be held to this JSON schema: {reason:.300}.")


def _grammar(schema: Any) -> str:
    from llguidance import LLMatcher

    return LLMatcher.grammar_from_json_schema(
        json.dumps(schema), overrides={"whitespace_pattern": _WHITE_SPACE, "lenient": False}
    )


def _patterns(tree: Any) -> Iterator[str]:
    """Regular expressions anywhere in a schema."""
    if isinstance(tree, dict):
        if isinstance(pattern := tree.get("pattern"), str):
            yield pattern
        if isinstance(patterns := tree.get("patternProperties"), dict):
            yield from patterns
    for entry in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _patterns(entry)
