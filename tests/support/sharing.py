"""How tests are shared out among several processes."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

_BROWSER = "tests/browser/"


class BrowserTogether(LoadFileScheduling):
    """One file after another to whichever process is free, but all browser tests to one: they share a server, a
    browser and loaded models, and two of each would wait for one another."""

    def _split_scope(self, nodeid: str) -> str:
        return _BROWSER if nodeid.startswith(_BROWSER) else str(super()._split_scope(nodeid))
