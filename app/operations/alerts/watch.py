"""The server's own look at the rules, twice a minute, on a thread of its own, and the sending of what is to be told.

Of several servers on one database one does both, which takes the turn: so a channel that hangs gets nothing from
another. It claims what it sends first, for a turn may be lost unnoticed. Nothing that a channel does holds anything up:
each has a thread of its own while something is being sent to it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from app.operations.alerts.looking import look
from app.operations.alerts.messages import message_of
from app.operations.alerts.reading import Readings
from app.operations.alerts.rules import all_rules
from app.operations.alerts.sending import post
from app.operations.objectives.attainment import attainment
from app.store import Alert, Errand, Finding, RunStore
from app.store.database.errors import ConflictError
from engine.errors import GearboxError

_log = logging.getLogger(__name__)

TURN = "alerts"
"""What only one of several servers does: to look at the rules, and to send."""
LOOK_EVERY_S = 30.0
_SEND_EVERY_S = 5.0
_FIRST_S = 10.0
"""After the start, which is to be quick."""
_NO_ANSWER_S = 60.0
"""After which a channel counts as silent, whatever still waits for it."""
_CLOSE_S = 5.0

Post = Callable[[str, str, str], str | None]
"""Sends to an address a title and a body; what went wrong."""


def findings(store: RunStore, folder: Path, at: datetime) -> tuple[Finding, ...]:
    """What all rules that are on find; nothing is told or written.

    Args:
        store: the runs, the rules and the objectives.
        folder: on the disk that is watched.
        at: which moment counts as now.

    Raises:
        StoreError: the run database cannot be read.
    """
    open = {(alert.rule, alert.subject): alert for alert in store.alerts.open()}
    rules, objectives = all_rules(store.alerts.rules()), store.objectives.all()
    return tuple(look(rules, objectives, Readings(store, at, folder), open))


def observe_all(store: RunStore, folder: Path, at: datetime) -> None:
    """Go on with what all rules find; what a rule that is gone or off had open is resolved, and channels are told why.

    Raises:
        StoreError: the run database cannot be used.
    """
    found = findings(store, folder, at)
    for finding in found:
        with suppress(ConflictError):  # another server opened it at this moment
            store.alerts.observe(finding, at)
    looked_at = {(finding.rule, finding.subject) for finding in found}
    for alert in store.alerts.open():
        if (alert.rule, alert.subject) not in looked_at:
            store.alerts.close(alert.id, _why_not_looked_at(store, alert))


def _why_not_looked_at(store: RunStore, alert: Alert) -> str:
    rule = next((each for each in all_rules(store.alerts.rules()) if each.key == alert.rule), None)
    if rule is None:
        return "Its rule was deleted."
    return "The SLO that it is about was removed." if rule.is_on else "Its rule was switched off."


@dataclass(slots=True)
class _Sending:
    """Messages on their way to one channel."""

    errands: Sequence[Errand]
    began: float
    thread: threading.Thread = field(init=False)
    given_up: bool = False
    """Whether it was silent for too long: nothing more is begun."""


@dataclass(slots=True)
class Sender:
    """Sends what is due, each channel on a thread of its own. Safe to share between threads."""

    store: RunStore
    post: Post = post
    _under_way: dict[str, _Sending] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send_due(self, at: datetime | None = None) -> None:
        """Begin to send what is due, without waiting for it.

        Raises:
            StoreError: the run database cannot be used.
        """
        with self._lock:
            self._look_after()
            due = self.store.alerts.channels.claim(at, without=tuple(self._under_way))
            by_channel: dict[str, list[Errand]] = {}
            for errand in due:
                by_channel.setdefault(errand.delivery.channel_id, []).append(errand)
            for channel_id, errands in by_channel.items():
                sending = _Sending(errands, monotonic())
                sending.thread = threading.Thread(target=self._send, args=(sending,), name="alert channel", daemon=True)
                self._under_way[channel_id] = sending
                sending.thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait until nothing is under way, or so long."""
        until = monotonic() + timeout_s
        for sending in list(self._under_way.values()):
            sending.thread.join(max(0.0, until - monotonic()))

    def _send(self, sending: _Sending) -> None:
        for errand in sending.errands:
            if sending.given_up:
                return
            error = self.post(errand.url, *message_of(errand))
            self._settle(errand, error)

    def _look_after(self) -> None:
        """Forget channels that are done; say of one that hangs that it does. It gets nothing until its thread ends."""
        for channel_id, sending in list(self._under_way.items()):
            if not sending.thread.is_alive():
                del self._under_way[channel_id]
            elif not sending.given_up and monotonic() - sending.began > _NO_ANSWER_S * len(sending.errands):
                sending.given_up = True
                for errand in sending.errands:
                    self._settle(errand, "No answer within a minute.")

    def _settle(self, errand: Errand, error: str | None) -> None:
        try:
            self.store.alerts.channels.settle(errand.delivery, error)
        except GearboxError as failure:  # it is taken for lost, and sent again
            _log.warning("What became of an alert's message is not kept: %s", failure)


class AlertWatch:
    """Looks and sends until it is closed; a thread that never outlives the process."""

    def __init__(
        self,
        store: Callable[[], RunStore],
        folder: Path,
        *,
        first_s: float = _FIRST_S,
        look_every_s: float = LOOK_EVERY_S,
        post: Post = post,
    ) -> None:
        """``store`` opens the run database, or gives the one that is open; what it raises is put off to the next time.
        ``folder`` is on the disk that is watched."""
        self._store = store
        self._folder = folder
        self._look_every_s = look_every_s
        self._post = post
        self._sender: Sender | None = None
        self.troubled: str | None = None
        """What keeps it from looking and sending, for the user; ``None`` while nothing does."""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(first_s,), name="alerts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and let another server look."""
        self._closed.set()
        self._thread.join(_CLOSE_S)
        if self._sender is not None:
            try:
                self._sender.store.turns.give_back(TURN)
            except GearboxError as error:
                _log.info("Another server looks after alerts once this one is seen to be gone: %s", error)

    def _run(self, first_s: float) -> None:
        look_due = monotonic() + first_s
        while not self._closed.wait(min(_SEND_EVERY_S, max(0.0, look_due - monotonic()))):
            is_due = monotonic() >= look_due
            try:
                self._round(look_too=is_due)
            except GearboxError as error:
                if self.troubled != str(error):
                    _log.warning("Alerts could not be looked after: %s", error)
                self.troubled = str(error)
            else:
                self.troubled = None
            if is_due:
                look_due = monotonic() + self._look_every_s

    def _round(self, *, look_too: bool) -> None:
        if self._sender is None:
            if not look_too:
                return
            self._sender = Sender(self._store(), self._post)
        store = self._sender.store
        at = datetime.now(UTC)
        if store.turns.is_ours(TURN):
            if look_too:
                observe_all(store, self._folder, at)
            self._sender.send_due()
        if look_too:  # over many runs pages then find these figures read
            for objective in store.objectives.all():
                attainment(store.objectives, objective, at)
