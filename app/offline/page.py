"""A page in a single file, with what it may do written into it: no network, and no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from engine.untrusted import valid_text, valid_tree

_HERE = Path(__file__).parent
_TEMPLATE = Template((_HERE / "page.html").read_text(encoding="utf-8"))
_STYLE = (_HERE / "page.css").read_text(encoding="utf-8")
DATA_ID = "data"
"""The id of the element that holds a page's data as JSON."""


def offline_page(title: str, body: str, *, style: str = "", script: str = "", data: Any = None) -> str:
    """A whole HTML page that needs nothing but itself.

    Args:
        title: as plain text.
        body: as HTML; texts of strangers in it are escaped already, or come as data.
        style: CSS, after that of all pages.
        script: the only one that the page runs; it finds the data in the element with the id `DATA_ID`.
        data: JSON values. Whatever text they hold, the page's own markup is not changed by it.
    """
    style = f"{_STYLE}\n{style}"
    scripts = f"{_data_element(data)}\n<script>{script}</script>" if script else ""
    return _TEMPLATE.substitute(
        policy=_policy(style, script),
        title=escape(valid_text(title)),
        style=style,
        body=body,
        scripts=scripts,
    )


def json_in_html(data: Any) -> str:
    """JSON that may stand inside a script element: ASCII, with no character that HTML reads."""
    written = json.dumps(valid_tree(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", written)


def _data_element(data: Any) -> str:
    return f'<script type="application/json" id="{DATA_ID}">{json_in_html(data)}</script>'


def _policy(style: str, script: str) -> str:
    """What the page may load and run: its own style and its own script, each by its hash, and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)}" if script else "script-src 'none'",
            f"style-src {_hash(style)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
