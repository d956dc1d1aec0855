"""A model's chat template, rendered as transformers renders it, in a process that it cannot hold up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import InvalidRequestError
from engine.types.config import Role
from engine.untrusted.confined import BeyondLimitsError, Confined

TEMPLATES = Confined("templates", seconds=3)
LONGEST_TEMPLATE = 2**20
"""Characters. A larger one would be sent to the process with every prompt."""

Turns = Sequence[tuple[Role, str]]


@dataclass(frozen=True, slots=True)
class _Form:
    """How a template wants contents: as plain strings, or as lists of parts."""

    parts: frozenset[Role] = frozenset()
    """Whose contents are lists of parts."""

    def turns(self, turns: Turns) -> list[dict[str, Any]]:
        return [
            {"role": role, "content": [{"type": "text", "text": text}] if role in self.parts else text}
            for role, text in turns
        ]


_STRINGS = _Form()
# lists last: a template that takes strings writes a list as Python would, and what is said stands in that too
_FORMS = (
    _STRINGS,
    _Form(frozenset({"user"})),
    _Form(frozenset({"user", "assistant"})),
    _Form(frozenset({"system", "user"})),
    _Form(frozenset({"system", "user", "assistant"})),
)
# the longest that a template takes tells the most; some take no system prompt, and some no second turn
_PROBES: tuple[Turns, ...] = (
    (("system", "probe alpha"), ("user", "probe beta"), ("assistant", "probe gamma"), ("user", "probe delta")),
    (("user", "probe beta"), ("assistant", "probe gamma"), ("user", "probe delta")),
    (("user", "probe beta"),),
)


class ChatTemplate:
    """Turns conversations into text."""

    def __init__(self, source: str, variables: Mapping[str, str]) -> None:
        """
        Args:
            source: the template.
            variables: what it may ask for beside the messages: the control tokens by name.
        """
        self._source = source
        self._variables = dict(variables)
        self._form: _Form | None = None
        TEMPLATES.start()

    def render(self, conversations: Sequence[Turns], waiting: Callable[[], object]) -> list[str | InvalidRequestError]:
        """Each conversation's text, up to where the assistant's answer begins, or why the template refuses it.

        Args:
            conversations: role and content of each turn.
            waiting: called every 50 ms meanwhile; what it raises ends the rendering.

        Raises:
            InvalidRequestError: the template is too long, or takes too much time or memory.
        """
        form = self._known_form(waiting)
        outcomes = self._ask([form.turns(turns) for turns in conversations], waiting)
        return [outcome["text"] if "text" in outcome else _refusal(*outcome["error"]) for outcome in outcomes]

    def prepare(self, waiting: Callable[[], object]) -> None:
        """Do what the first rendering would have to wait for: the process it happens in starts, and the form that the
        template wants its contents in is found.

        Args:
            waiting: as in `render`.

        Raises:
            InvalidRequestError: as in `render`.
        """
        self._known_form(waiting)

    def _known_form(self, waiting: Callable[[], object]) -> _Form:
        if self._form is None:
            self._form = self._find_form(waiting)
        return self._form

    def _find_form(self, waiting: Callable[[], object]) -> _Form:
        """The first form in which all that is said stands in the template's text: strings where they will do."""
        asked = [(form, probe) for probe in _PROBES for form in _FORMS]
        outcomes = self._ask([form.turns(probe) for form, probe in asked], waiting)
        for (form, probe), outcome in zip(asked, outcomes, strict=True):
            if all(content in outcome.get("text", "") for _, content in probe):
                return form
        return _STRINGS

    def _ask(self, conversations: list[list[dict[str, Any]]], waiting: Callable[[], object]) -> list[dict[str, Any]]:
        if len(self._source) > LONGEST_TEMPLATE:
            raise InvalidRequestError(
                f"This model's chat template is {len(self._source):,} characters long, and no more than "
                f"{LONGEST_TEMPLATE:,} are read."
            )
        arguments = {"template": self._source, "conversations": conversations, "variables": self._variables}
        try:
            outcomes: list[dict[str, Any]] = TEMPLATES.run("render", arguments, waiting)
        except BeyondLimitsError as error:
            raise InvalidRequestError(f"This model's chat template {error}.") from error
        return outcomes


def _refusal(kind: str, text: str) -> InvalidRequestError:
    text = text.rstrip(".") or kind
    match kind:
        case "TemplateError":  # what a template itself raises
            return InvalidRequestError(f"This model's chat template refuses these messages: {text}.")
        case "TemplateSyntaxError" | "TemplateAssertionError":
            return InvalidRequestError(f"This model's chat template cannot be read: {text}.")
        case _:
            return InvalidRequestError(f"This model's chat template fails on these messages: {text}.")
