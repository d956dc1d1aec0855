"""Texts that try to be more than text, and what a page's elements are."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    "![x](https://example.com/a.png)",
    "\u2028\u2029",
    "\ud800 and \udfff",
    "🙂👩‍👩‍👧",
    "]]>&lt;&amp;",
    "\x00",
    "${style} $body",
)


class Elements(HTMLParser):
    """The elements of a page, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
