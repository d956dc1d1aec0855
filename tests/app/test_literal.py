"""Strangers' text inside Markdown comes out of a parser as it went in."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline

from app.literal import literal
from engine.untrusted import valid_text

# What Streamlit's page does with the text of one node, after parsing: the patterns of its StreamlitMarkdown.
_SPACE = r"[\s\ufeff]"
_REPLACED_IN_TEXT = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        *(rf"(^|{_SPACE}){arrow}({_SPACE}|$)" for arrow in ("<->", "->", "<-", "--", ">=", "<=", "~=")),
        r":streamlit:",
        r":material_\w+:",
        r"(https?://|www(?=\.))([-.\w]+)([^ \t\r\n]*)",
        r"(?<![^\s\W_])[-.\w+]+@[-\w]+(\.[-\w]+)+",
    )
]
# what it looks for in the source before parsing
_REPLACED_IN_SOURCE = [re.compile(r":material/"), re.compile(r":(?!material/|streamlit:)[\w+-][\w_+-]*:")]

TRICKY = [
    "What do __init__ and *args* do, and is $5 < $6?",
    "![a picture](https://example.com/a.png) and ![](data:image/png;base64,AA)",
    "[a link](https://example.com 'title') and <https://example.com> and [ref][1]\n\n[1]: https://example.com",
    "<img src=x onerror=alert(1)> <b>bold</b> <!-- comment --> &lt;b&gt; &amp; &#42; &nbsp;",
    "# heading\n\nparagraph\n===\n- item\n1. item\n2) item\n> quote\n\n    code\n```\nfence\n```\n~~~\n---\n***",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "~~struck~~ ~one~ **bold** __bold__ _it_ `code` ``co`de`` \\* \\\\ trailing \\",
    "$x^2$ $$x$$ \\$5 costs $5 and $6",
    ":red[warning] :blue-badge[x] :rainbow[y] :color[z]{foreground=red} :help[tip] :shimmer[a] :small[b] :nobody[c]",
    ":material/home: :material_home: :material/home :streamlit: :smile: :+1: :a:b: ::directive[x] :::container",
    "a -> b <- c <-> d -- e >= f <= g ~= h ->",
    "->", "--", "<->", "-", "+", "=", "1.", "2) two", "#", "https:", "::", ":", "\\", "",
    "www.example.com HTTPS://EXAMPLE.COM http://x me@example.com mailto:me@example.com xmpp:a@b.c",
    "  leading and trailing  ", "\tindented", "\n\nbreaks\r\nand\rmore\n\n", "\u00a0hard\u2003spaces\u3000",
    "[^1] and [^1]: footnote", "- [ ] task", "*a*b_c_d*", "snake_case_name.txt", "C:\\Users\\new_folder\\*",
    "streamlit:www.x.y :smile: a:b:www.x.y :smile:", "-\t-", "--- -", "+ a", "== =", "1)", "12. a", "a@b.c@d.e",
    "北京在**中国**。", "emoji 😀 and e\u0301", "line\u2028separator\u0085next",
]  # fmt: skip


def _directive(state: StateInline, silent: bool) -> bool:
    """Streamlit's text directives; only the empty span may appear."""
    found = re.compile(r":[a-zA-Z][\w-]*(\[[^\]]*\])?(\{[^}]*\})?").match(state.src, state.pos)
    if not found or not (found[1] or found[2]):
        return False
    assert found[0] == ":color{}", f"a directive: {found[0]}"
    if not silent:
        state.push("span", "", 0)
    state.pos = found.end()
    return True


def _text(state: StateInline, silent: bool) -> bool:
    """CommonMark's rule for what is no mark, which here stops at a colon too."""
    end = state.pos
    while end < state.posMax and state.src[end] not in "\n!#$%&*+-:<=>@[\\]^_`{|}~":
        end += 1
    if end > state.pos and not silent:
        state.pending += state.src[state.pos : end]
    moved, state.pos = end > state.pos, end
    return moved


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parser.inline.ruler.at("text", _text)
    parser.inline.ruler.after("text", "directive", _directive)
    return parser


_PARSER = _parser()


def _shown(markdown: str) -> str:
    """The text that a page shows for this Markdown, which must be one paragraph of nothing but text."""
    # the page is sent the source without white space around it
    tokens = _PARSER.parse(markdown.strip())
    if not tokens:
        return ""
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    nodes = [""]
    for token in tokens[1].children or ():
        assert token.type in ("text", "text_special", "span"), token
        if token.type == "span":
            nodes.append("")
        else:
            nodes[-1] += token.content
    for node in nodes:
        for pattern in _REPLACED_IN_TEXT:
            assert not pattern.search(node), (pattern.pattern, node)
    for pattern in _REPLACED_IN_SOURCE:
        assert not pattern.search(markdown), (pattern.pattern, markdown)
    return "".join(nodes)


@pytest.mark.parametrize("text", TRICKY)
def test_text_that_looks_like_markdown_is_shown_as_it_is(text: str) -> None:
    assert _shown(literal(text)) == text


_PIECES = st.sampled_from(
    [
        *"\\`*_{}[]()#+-.!|$:<>~&=^@\"'/;, \t\n\r1a",
        "material/",
        "material_",
        "streamlit:",
        "red",
        "https://",
        "www.",
        "->",
    ]
)


@pytest.mark.parametrize("text", TRICKY)
def test_a_badge_which_escapes_brackets_once_more_shows_it_too(text: str) -> None:
    escaped = literal(text).replace("[", "\\[").replace("]", "\\]")
    assert _shown(escaped) == text


@given(st.lists(_PIECES, max_size=12).map("".join))
def test_any_row_of_marks_is_shown_as_it_is(text: str) -> None:
    assert _shown(literal(text)) == text


@given(st.text(st.characters()))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    assert _shown(literal(text)) == valid_text(text)


@given(st.lists(_PIECES, max_size=8).map("".join), st.lists(_PIECES, max_size=8).map("".join))
def test_two_texts_in_one_sentence_do_not_touch_each_other(first: str, other: str) -> None:
    assert _shown(f"“{literal(first)}” and “{literal(other)}”.") == f"“{first}” and “{other}”."


@pytest.mark.parametrize(
    "name",
    [
        "smollm2-135m",
        "qwen2.5-coder-0.5b",
        "report (2).csv",
        "What is 2 + 2?",
        "Line 3: no_such_key!",
        "small@int8",
        "1.00×",
        "-5 %",
        "a > b",
    ],
)
def test_an_ordinary_name_is_left_as_it_is(name: str) -> None:
    assert literal(name) == name


def test_half_a_character_and_a_zero_byte_become_the_sign_for_what_cannot_be_shown() -> None:
    assert literal("a\ud83db\0") == "a\ufffdb\ufffd"
