"""A conversation as its template writes it, and where in that text stands what people and models said.

A template may do anything with what is said: trim it, cut it, say it twice. So what has to be found again is asked
for a second time with characters in its place that occur nowhere else, and counts only where both texts agree.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from engine.errors import InvalidRequestError
from engine.models.tokenization.chat_template import ChatTemplate
from engine.types import Message

Span = tuple[int, int]
FindTyped = Callable[[str], Sequence[Span]]
"""Where in a text control tokens are spelled out, in order."""


@dataclass(frozen=True, slots=True)
class RenderedChat:
    """A prompt as text."""

    text: str
    """Control tokens in it are the template's own: in the place of a typed one stands one character."""
    typed: Mapping[str, str] = field(default_factory=dict)
    """Those characters, and what was typed."""
    answers: Mapping[int, Span] = field(default_factory=dict)
    """Where answers stand, word for word, by the place of their message."""


def render_chat(
    template: ChatTemplate,
    messages: Sequence[Message],
    find_typed: FindTyped,
    sought: Collection[int],
    waiting: Callable[[], object],
) -> RenderedChat:
    """What a template makes of a conversation.

    Args:
        template: the model's.
        messages: what was said.
        find_typed: the model's tokenizer's.
        sought: messages that are to be found again.
        waiting: called every 50 ms meanwhile; what it raises ends the rendering.

    Raises:
        InvalidRequestError: the template refuses these messages, or is none that can be run.
    """
    return _Rendering(template, messages, find_typed, waiting).render([i for i in sought if messages[i].content])


def plain_text(text: str, find_typed: FindTyped) -> RenderedChat:
    """A text as it is, in which no control token is the template's: there is none.

    Args:
        text: what somebody typed.
        find_typed: the model's tokenizer's.
    """
    (shielded,), typed = _shield([text], find_typed, _free_characters([text]))
    return RenderedChat(shielded, typed)


class _Rendering:
    def __init__(
        self,
        template: ChatTemplate,
        messages: Sequence[Message],
        find_typed: FindTyped,
        waiting: Callable[[], object],
    ) -> None:
        self._template = template
        self._roles = [message.role for message in messages]
        self._contents = [message.content for message in messages]
        self._find_typed = find_typed
        self._waiting = waiting
        self._free = _free_characters(self._contents)

    def render(self, sought: Sequence[int]) -> RenderedChat:
        shielded, typed = _shield(self._contents, self._find_typed, self._free)
        marks = {next(self._free): place for place in sought}
        plain, covered, marked = self._ask(self._contents, shielded, self._mark(shielded, marks))
        text = _text(plain)
        if typed and _text(covered).translate({ord(character): said for character, said in typed.items()}) != text:
            # the template looks for what was typed, or for where it ends
            shielded = self._shield_less(shielded, _text(covered))
            covered, marked = self._ask(shielded, self._mark(shielded, marks))
        if typed:
            text = _text(covered)
        once = {mark: place for mark, place in marks.items() if isinstance(marked, str) and marked.count(mark) == 1}
        if once and len(once) < len(marks):  # it leaves some out, or repeats them
            (marked,) = self._ask(self._mark(shielded, once))
        spans = _spans(text, marked, once, shielded) if isinstance(marked, str) else {}
        return RenderedChat(text, typed, spans)

    def _ask(self, *conversations: Sequence[str]) -> list[str | InvalidRequestError]:
        """What the template makes of the messages with these contents; it is asked once for equal ones."""
        different = list(dict.fromkeys(tuple(contents) for contents in conversations))
        turns = [list(zip(self._roles, contents, strict=True)) for contents in different]
        made = dict(zip(different, self._template.render(turns, self._waiting), strict=True))
        return [made[tuple(contents)] for contents in conversations]

    def _shield_less(self, shielded: list[str], covered: str) -> list[str]:
        """The contents with those left open out of which the template itself takes every control token."""
        written = self._controls(covered)
        places = [place for place, content in enumerate(self._contents) if content != shielded[place]]
        trials = [[*shielded[:place], self._contents[place], *shielded[place + 1 :]] for place in places]
        opened = list(shielded)
        for place, text in zip(places, self._ask(*trials), strict=True):
            if isinstance(text, str) and self._controls(text) <= written:
                opened[place] = self._contents[place]
        (text,) = self._ask(opened)
        return opened if isinstance(text, str) and self._controls(text) <= written else shielded

    def _controls(self, text: str) -> Counter[str]:
        return Counter(text[start:stop] for start, stop in self._find_typed(text))

    @staticmethod
    def _mark(contents: Sequence[str], marks: Mapping[str, int]) -> list[str]:
        marked = list(contents)
        for mark, place in marks.items():
            marked[place] = mark
        return marked


def _shield(contents: Sequence[str], find_typed: FindTyped, free: Iterator[str]) -> tuple[list[str], dict[str, str]]:
    """The contents with a character for each control token typed in them, and what these stand for."""
    stand_ins: dict[str, str] = {}
    shielded = []
    for content in contents:
        parts, end = [], 0
        for start, stop in find_typed(content):
            token = content[start:stop]
            if token not in stand_ins:
                stand_ins[token] = next(free)
            parts += [content[end:start], stand_ins[token]]
            end = stop
        shielded.append("".join(parts) + content[end:])
    return shielded, {character: token for token, character in stand_ins.items()}


def _text(outcome: str | InvalidRequestError) -> str:
    if isinstance(outcome, str):
        return outcome
    raise outcome


def _free_characters(contents: Sequence[str]) -> Iterator[str]:
    """Characters for private use that nobody has used."""
    taken = set().union(*contents)
    return (chr(code) for code in range(0xF0000, 0xFFFFD) if chr(code) not in taken)


def _spans(text: str, marked: str, marks: Mapping[str, int], contents: Sequence[str]) -> dict[int, Span]:
    """Where the text says word for word what the marks stand for; nothing if all else is not the same in both."""
    if not marks:
        return {}
    first, *pieces = re.split(f"([{''.join(marks)}])", marked)
    if not text.startswith(first):
        return {}
    spans: dict[int, Span] = {}
    at = len(first)
    for mark, after in zip(pieces[::2], pieces[1::2], strict=True):
        content = contents[marks[mark]]
        if text.startswith(content + after, at):
            spans[marks[mark]] = at, at + len(content)
            at += len(content) + len(after)
            continue
        # the template has made something else of this one
        found = text.rfind(after, at) if mark == pieces[-2] else text.find(after, at)
        if found < 0:
            return {}
        at = found + len(after)
    return spans if at == len(text) else {}
