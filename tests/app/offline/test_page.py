"""Pages in a single file: nothing that is put into one changes its markup or what it may do."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.offline.page import json_in_html, offline_page
from tests.support.html import HOSTILE, Elements


def test_no_text_changes_the_pages_elements() -> None:
    plain, hostile = (
        Elements(offline_page(title, "<main></main>", script="run()", data=[title])).found
        for title in ("x", "".join(HOSTILE))
    )
    assert hostile == plain


@given(st.text(alphabet=st.characters()))
def test_data_is_ascii_without_html_and_reads_as_it_was(text: str) -> None:
    written = json_in_html({"text": text})
    assert written.isascii()
    assert not re.search("[<>&\u2028\u2029]", written)
    assert json.loads(written) == {"text": re.sub("[\x00\ud800-\udfff]", "\ufffd", text)}


def test_figures_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_in_html(float("nan"))


def test_the_policy_allows_the_pages_own_style_and_script_alone() -> None:
    page = offline_page("A page", "<p>Hello</p>", style="p { color: red }", script="run()", data={})
    (policy,) = [attrs for tag, attrs in Elements(page).found if tag == "meta" and "http-equiv" in attrs]
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    said = policy["content"] or ""
    for kind, text in (("script", "run()"), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in said
    assert "default-src 'none'" in said
    assert "unsafe" not in said


def test_a_page_without_a_script_may_run_none() -> None:
    page = offline_page("A page", "<p>Hello</p>")
    assert "script-src 'none'" in page
    assert "<script" not in page
