"""The only way to the run database: opened, looked after, closed; what is in it stands in the rooms of its subjects."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from app.secrets import NO_SECRETS, Secrets
from app.settings import Settings
from app.store.alerts.repository import AlertStore
from app.store.chat import writing as chat_writing
from app.store.chat.repository import ChatStore
from app.store.configurations.repository import ConfigurationStore
from app.store.database.errors import StoreError
from app.store.database.migrate import migrate
from app.store.database.owner import Presence
from app.store.database.session import Database
from app.store.experiments import repository as experiments
from app.store.experiments.autopilots import AutopilotStore
from app.store.experiments.repository import ExperimentStore
from app.store.judging import writing as judging
from app.store.judging.repository import JudgingStore
from app.store.keys.repository import KeyStore
from app.store.labs import drafts
from app.store.labs import writers as lab_writers
from app.store.labs.drafts import DraftStore
from app.store.labs.repository import LabStore
from app.store.leases.repository import Leases
from app.store.objectives.repository import ObjectiveStore
from app.store.options.repository import OptionStore
from app.store.outbox.keeper import Keeper
from app.store.outbox.outbox import Outbox, Waiting
from app.store.outbox.spool import Spool, places
from app.store.people.repository import PeopleStore
from app.store.people.visibility import Viewer
from app.store.remote.repository import RemoteStore
from app.store.router import repository as router
from app.store.router.repository import RouterStore
from app.store.runs.endings import ENDING, LOSSLESSNESS, write_ending, write_losslessness
from app.store.runs.retention.repository import RetentionStore
from app.store.runs.writing import RunWriter
from app.store.sentinel import writing as sentinel
from app.store.sentinel.repository import SentinelStore
from app.store.upkeep.turns import Turns
from app.store.upkeep.worker import UpkeepWorker

_log = logging.getLogger(__name__)

_PRUNING = "Pruning runs"
_SUMMED_AT_ONCE = 50
"""Quarters of an hour: what waits to be written must not wait long for them."""


class RunStore(RunWriter):
    """Keeps runs. Safe to share between threads: every operation has a session of its own.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database, folders: Sequence[Path] = (), secrets: Secrets = NO_SECRETS) -> None:
        """Use a database whose schema is up to date; `open` is the way to make sure of that."""
        writers = {ENDING: write_ending, LOSSLESSNESS: write_losslessness}
        writers |= {**chat_writing.WRITERS, **lab_writers.WRITERS, **drafts.WRITERS, **router.WRITERS}
        writers |= {**experiments.WRITERS, **sentinel.WRITERS, **judging.WRITERS}
        spool = Spool(places(str(database.url), database.file, folders))
        self._presence = Presence(database.file)
        super().__init__(database, Outbox(database, writers, spool), self._presence.owner)
        database.before_write = self._outbox.deliver
        self.lab = LabStore(database, self._outbox)
        """What the labs measured, in the same database."""
        self.chat = ChatStore(database, self._outbox)
        """The conversations, in the same database."""
        self.drafts = DraftStore(database, self._outbox)
        """What drafters did in the Speculation lab, in the same database."""
        self.router = RouterStore(database, self._outbox)
        """What the Router lab recorded and made, in the same database."""
        self._leases = Leases(database, self._presence.owner)
        self.experiments = ExperimentStore(database, self._outbox, self._leases)
        """The experiments, in the same database."""
        self.autopilots = AutopilotStore(database, self._leases)
        """The autopilots, whose heats are experiments, in the same database."""
        self.sentinel = SentinelStore(database, self._outbox, self._leases)
        """The golden prompts, in the same database."""
        self.judging = JudgingStore(database, self._outbox, self._leases)
        """What judges say of live traffic, in the same database."""
        self.options = OptionStore(database)
        """What was chosen for the whole installation, in the same database."""
        self.configurations = ConfigurationStore(database)
        """Configurations that people saved, in the same database."""
        self.keys = KeyStore(database)
        """The API's keys, in the same database."""
        self.remotes = RemoteStore(database)
        """Models that other servers run, in the same database."""
        self.objectives = ObjectiveStore(database)
        """What is promised of the traffic, and counts of what keeps it, in the same database."""
        self.alerts = AlertStore(database, secrets)
        """Who is told of what when, in the same database."""
        self.people = PeopleStore(database)
        """How persons have set the widgets, in the same database."""
        self.turns = Turns(database, self._presence.owner)
        """Which server does what only one of those on this database is to do."""
        self._unordered: Sequence[Callable[[], object]] = ()
        self._keeper = Keeper(self._outbox, self._look_after)
        self.retention = RetentionStore(database)
        """How long runs are kept, and what was pruned."""
        self._upkeep = UpkeepWorker({"Indexing texts": self.texts.add_some, _PRUNING: self._prune})

    @classmethod
    def open(cls, database_url: str, folders: Sequence[Path] = (), secrets: Secrets = NO_SECRETS) -> Self:
        """Open the database, making its folder and bringing its schema up to date.

        Results that a dead process wrote aside are taken in, and runs that it left running are marked interrupted.
        Secrets that were kept in plain text, or sealed with an older key, are sealed.

        Args:
            database_url: a SQLAlchemy URL.
            folders: where results may be written aside if the folder of the database takes none.
            secrets: what seals texts that nobody is to read in the database.
        """
        migrate(database_url)
        store = cls(Database(database_url, watched=True), folders, secrets)
        store._unordered = [
            store.texts.prepare,
            store.look_around,
            store.alerts.channels.seal_all,
            lambda: store.remotes.seal_anew(secrets),
        ]
        store._put_in_order()
        return store

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The run database of the settings, beside a server that may be running. Raises as :meth:`open`."""
        return cls.open(settings.database_url, [settings.data_dir], Secrets.of(settings))

    def seen_by(self, viewer: Viewer | None) -> Self:
        """The same store as somebody sees it: lists, searches and exports leave out, and ids are refused of, what they
        may not see; figures cover everybody. ``None`` is the application itself, which sees all.

        What comes of a run that this store is given to keep is kept whoever sees it.
        """
        seen = super().seen_by(viewer)
        seen.lab, seen.chat = self.lab.seen_by(viewer), self.chat.seen_by(viewer)
        seen.router, seen.experiments = self.router.seen_by(viewer), self.experiments.seen_by(viewer)
        seen.judging = self.judging.seen_by(viewer)
        seen.autopilots, seen.sentinel = self.autopilots.seen_by(viewer), self.sentinel.seen_by(viewer)
        return seen

    def close(self) -> None:
        """Write what waits, if that is possible now, and close the connections.

        What still waits lies in files, for the next start.
        """
        self.texts.stop()
        self._upkeep.close()
        self._keeper.close()
        self._outbox.let_go()
        self._presence.close()
        self._database.close()

    def shrink(self) -> None:
        """Give the room of what was deleted back to the disk, where the database does not by itself. Nothing can be
        written meanwhile.

        Raises:
            StoreError: the disk has no room for a second copy, or others keep the database busy.
        """
        if self._database.file:
            with self._database.outside_transactions() as connection:
                connection.exec_driver_sql("VACUUM")

    # --- what waits, and what became of the file --------------------------------------------------

    @property
    def waiting(self) -> Waiting | None:
        """The results that could not be written yet; ``None`` if there are none. Never waits for the database."""
        return self._outbox.waiting

    @property
    def refused(self) -> tuple[int, Path] | None:
        """How many results could never be stored since the start, and the file that has the last of them."""
        return self._outbox.refused

    @property
    def left_behind(self) -> tuple[Path, str] | None:
        """A file of an earlier server's results that could not be taken in yet, and why, for the user."""
        return self._outbox.left_behind

    @property
    def file_lost(self) -> str | None:
        """What became of a database file that was deleted or replaced while it was open, for the user."""
        return self._database.file_lost

    @property
    def log_lost(self) -> str | None:
        """What became of a database's log that was deleted while it was open, for the user; ``None`` if none was."""
        return self._database.log_lost

    def open_what_is_there(self) -> None:
        """Go on with the file that now is at the database's path, or a new one, and write what waits into it.

        Raises:
            StoreError: it is no run database, or one of a newer version. Nothing changes then.
        """
        self._database.leave_lost_file()
        migrate(self._database.url.render_as_string(hide_password=False))
        self._database.forget_file()
        self._presence.renew()
        self.texts.prepare()
        self._outbox.deliver()

    def look_around(self) -> None:
        """Take in what dead processes wrote aside, and mark the runs that they left running as interrupted; what they
        went on with, others may."""
        self._presence.renew()
        self._outbox.take_in()
        self._mark_interrupted()
        self._leases.tidy_up()
        self._presence.tidy_up()

    def _prune(self) -> bool:
        return self.retention.in_background and self.turns.is_ours(_PRUNING) and self.retention.prune_when_due()

    def _put_in_order(self) -> None:
        """What earlier servers left behind, each step until it came off once: on a full disk, say, what is there can
        be read meanwhile."""
        left = []
        for step in self._unordered:
            try:
                step()
            except StoreError as error:
                _log.warning("What earlier servers left behind could not be put in order: %s", error)
                left.append(step)
        self._unordered = left

    def _look_after(self) -> bool:
        self._put_in_order()
        self.look_around()
        return self.sum_up(most=_SUMMED_AT_ONCE)
