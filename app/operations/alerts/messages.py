"""What channels are told, as plain text.

Names of models come from whoever installed them: they must neither break a line of a mail's head nor call somebody.
"""

from __future__ import annotations

from app.store import Errand, EventKind

_TEST_TITLE = "Gearbox: a test"
_TEST_BODY = "This is a test of an alert channel. If you can read it, alerts reach you here."
_TITLE_CHARACTERS = 150
NO_LONGER = "It no longer holds."
"""Why an alert is resolved that says nothing else."""


def message_of(errand: Errand) -> tuple[str, str]:
    """Title and body."""
    if errand.alert is None or errand.event is None:
        return _TEST_TITLE, _TEST_BODY
    alert = errand.alert
    state = "Resolved" if errand.event.what is EventKind.RESOLVED else "Firing"
    title = one_line(f"Gearbox: {state}: {alert.title}")[:_TITLE_CHARACTERS]
    since = f"Since {alert.opened_at:%Y-%m-%d %H:%M} UTC."
    if state == "Resolved":
        return title, f"{since} {one_line(errand.event.words) or NO_LONGER}"
    parts = (
        one_line(errand.event.words or alert.words),
        f"{since} Look first at: {alert.gear}.",
        _calls_nobody(alert.runbook),
        "Acknowledge or silence it on the page Alerts.",
    )
    return title, "\n\n".join(part for part in parts if part)


def one_line(text: str) -> str:
    """On one line, without what some services take for a call of somebody."""
    return _calls_nobody(" ".join(text.split()))


def _calls_nobody(text: str) -> str:
    """With a space of no width after marks that begin a mention."""
    return text.replace("@", "@\u200b").replace("<", "<\u200b")
