"""The pages that the login shows by itself: nothing of the app is in them."""

from __future__ import annotations

import html

SIGN_OUT = "sign-out"
"""The page, below where the app is served, that asks whether to sign out."""
_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --field: #f4f6f8; --text: #1f2933; --line: #d5dbe1; --main: #0072b2;
  --wrong: #a33a00 }
@media (prefers-color-scheme: dark) { :root { --page: #11161c; --field: #1b222b; --text: #e6eaee; --line: #36414d;
  --main: #2080c4; --wrong: #ff9b66 } }
* { box-sizing: border-box; font: inherit }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--page); color: var(--text);
  font: 1rem/1.5 "Source Sans", system-ui, sans-serif }
main { width: min(24rem, 100vw); padding: 1.5rem }
h1 { margin: 0 0 1rem; font-size: 1.75rem; font-weight: 600 }
form { display: grid; gap: .5rem }
input, button, .button { width: 100%; padding: .5rem .75rem; border: 1px solid var(--line); border-radius: .35rem;
  background: var(--field); color: inherit }
button, .button { display: block; margin-top: .5rem; border-color: var(--main); background: var(--main); color: #ffffff;
  text-align: center; text-decoration: none; cursor: pointer }
:focus-visible { outline: 2px solid var(--main); outline-offset: 2px }
[role=alert] { margin: 0 0 1rem; color: var(--wrong) }
"""


def sign_in_page(form: str, *, wrong: str | None) -> str:
    """The login page.

    Args:
        form: as HTML.
        wrong: what was wrong with the last try, as text.
    """
    return _page(f"{_alert(wrong)}{form}")


def refused_page(who: str, sign_out_form: str) -> str:
    """What somebody reads who is signed in and may not come in."""
    words = f"You are signed in as {who}, who may not use this server. Ask whoever runs it, or sign out."
    return _page(f"{_alert(words)}{sign_out_form}")


def sign_out_page(sign_out_form: str) -> str:
    """Asks whether to sign out."""
    return _page(f"<p>You are signed in.</p>{sign_out_form}")


def closed_page(words: str) -> str:
    """What everybody from outside reads where no way to sign in was set up."""
    return _page(f"<p>{html.escape(words)}</p>")


def _alert(words: str | None) -> str:
    return f'<p role="alert">{html.escape(words)}</p>' if words else ""


def _page(inside: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Gearbox</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body><main><h1>Gearbox</h1>{inside}</main></body></html>"
    )
