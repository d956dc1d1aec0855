"""Strangers' text inside Markdown: shown as it was written, whatever it looks like.

Streamlit renders labels, messages, captions, headings, badges and tooltips as Markdown. Every text in them that a
person, a model or a file brought along goes through :func:`literal`. Where plain text is meant from the start,
``st.text`` and ``st.code`` need nothing.
"""

from __future__ import annotations

import re

from engine.untrusted import valid_text

# An empty span. Streamlit replaces arrows, icons and addresses in the text that parsing left, where a backslash no
# longer helps; a pattern does not reach over the span.
_NOTHING = ":color{}"

# what Markdown and mathematics read anywhere in a line
_MARK = re.compile(r"[\\`*<~$|#]|&(?=[#a-z])|(?<![^\W_])_|_(?![^\W_])", re.IGNORECASE)
# what may be a directive or the name of an emoji, found after the marks have their backslashes
_COLONS = re.compile(r":(?:[\w+\\-]*:)+|:(?!\s)")
# what stands at its beginning before a mark of a list or a quote, or an underline of a heading
_BEFORE_FIRST_MARK = re.compile(r"\d+(?=[.)](?:\s|\Z))|(?=>|[-+=](?:[-+=\s]|\Z))")
# line breaks, and what st.badge puts backslashes before by itself
_REFERENCES = str.maketrans({character: f"&#{ord(character)};" for character in "\n\r[]"})

_SPACE = r"\s\ufeff"
_REPLACED_LATER = re.compile(
    rf"""
      (?<![^{_SPACE}])(?:<->|->|<-|--|>=|<=|~=)(?![^{_SPACE}])  # arrows, dashes and comparisons
    | :(?=material[/_]|streamlit:)                              # icons
    | https?:(?=//) | www(?=\.) | (?<=[-.\w+])@(?=[-\w]+\.)    # addresses of pages and people
    """,
    re.VERBOSE | re.IGNORECASE,
)


def literal(text: str) -> str:
    """Markdown that shows ``text`` character by character, inside a line, a heading, a label or a table's cell.

    A line break stays one character, which a browser shows as a space. Not for code spans (between backticks),
    in which nothing can be escaped.
    """
    text = valid_text(text)
    parts: list[str] = []
    done = 0
    for found in _REPLACED_LATER.finditer(text):
        parts.append(_escaped(text[done : found.start()]))
        if found[0][0] in "<>-~":
            # each character by itself, for a part of an arrow may be one too
            parts.append(_NOTHING.join(map(_escaped, found[0])))
        elif found[0][-1].isalpha():
            # not a letter before the span's own colon, which might end the name of an emoji
            parts += found[0][:-1], f"&#{ord(found[0][-1])};", _NOTHING
        else:
            parts += _escaped(found[0]), _NOTHING
        done = found.end()
    parts.append(_escaped(text[done:]))
    # white space at an edge would be cut off
    before, after = (_NOTHING if _is_space(edge) else "" for edge in (text[:1], text[-1:]))
    return f"{before}{''.join(parts)}{after}"


def _is_space(character: str) -> bool:
    return character.isspace() or character == "\ufeff"


def _escaped(text: str) -> str:
    """``text`` with a backslash before all that would be read as a mark."""
    first = _BEFORE_FIRST_MARK.match(text)
    cut = first.end() if first else 0
    head, rest = f"{text[:cut]}\\" if first else "", text[cut:]
    rest = _MARK.sub(lambda mark: f"\\{mark[0]}", rest)
    return head + _COLONS.sub(lambda found: found[0].replace(":", "\\:"), rest).translate(_REFERENCES)
