"""Where alerts are sent to, and what is on its way there: a message waits in the database until it came through.

A message is claimed by whoever sends it, so that two servers do not send one twice; one whose sender died is taken for
lost after a while, and sent again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.secrets import Secrets, SecretsError, is_sealed
from app.store.alerts.records import Channel, Delivery, DeliveryState, Errand, EventKind
from app.store.alerts.rows import to_alert, to_event
from app.store.alerts.schema import AlertChannelRow, AlertDeliveryRow, AlertEventRow, AlertRow
from app.store.database.errors import ConflictError, GoneError
from app.store.database.identity import new_id, now
from app.store.database.session import Database

MOST_TRIES = 8
"""With pauses that double from half a minute, an hour in all."""
FIRST_PAUSE = timedelta(seconds=30)
LOST_AFTER = timedelta(minutes=5)
"""So long after it was begun, a sending that nobody has told of is taken for lost."""
_LONGEST_PAUSE = timedelta(hours=2)
_AT_ONCE = 4
"""So few that all of them are told of, or given up, before they count as lost."""
_LOST = "The try before ended without a word."
_NAME_CHARACTERS = 60
_ERROR_CHARACTERS = 300
_OPEN = (DeliveryState.WAITING, DeliveryState.SENDING)


class ChannelStore:
    """Keeps channels and messages. Safe to share between threads.

    An address is a secret: it is handed out in an `Errand` alone, to whoever sends, and kept sealed if there is a key.
    """

    def __init__(self, database: Database, secrets: Secrets) -> None:
        """Use a database whose schema is up to date."""
        self._database = database
        self._secrets = secrets

    @property
    def keeps_secrets(self) -> bool:
        """Whether addresses are sealed at rest."""
        return self._secrets.can_keep

    def all(self) -> tuple[Channel, ...]:
        """The oldest first, each with its latest message."""
        with self._database.read() as session:
            rows = session.scalars(
                select(AlertChannelRow).order_by(AlertChannelRow.created_at, AlertChannelRow.id)
            ).all()
            return tuple(self._to_channel(session, row) for row in rows)

    def add(self, name: str, service: str, url: str) -> str:
        """Keep a new one, and return its id.

        Args:
            name: what to call it.
            service: what may be shown of its address.
            url: its address, a secret.

        Raises:
            ConflictError: the name is empty, or taken.
        """
        name = " ".join(name.split())[:_NAME_CHARACTERS]
        if not name:
            raise ConflictError("Give the channel a name.")
        with self._database.write() as session:
            if session.scalar(select(AlertChannelRow.id).where(AlertChannelRow.name == name)):
                raise ConflictError(f"There is a channel called “{name}” already.")
            kept = self._secrets.seal(url) or url
            made = AlertChannelRow(id=new_id(), name=name, service=service, url=kept, is_on=True, created_at=now())
            session.add(made)
            return made.id

    def seal_all(self) -> None:
        """Seal the addresses that are kept in plain text, or were sealed with an older key. Without a key they stay as
        they are, and so does one that cannot be opened."""
        row = AlertChannelRow
        with self._database.read() as session:
            kept = session.execute(select(row.id, row.url)).all()
        due = [(id, url) for id, url in kept if self._secrets.is_due(url)]
        if not due:
            return
        with self._database.write() as session, self._overwriting(session):
            for id, url in due:
                with suppress(SecretsError):
                    sealed = self._secrets.seal(self._opened(url))
                    session.execute(update(row).where(row.id == id, row.url == url).values(url=sealed))

    @contextmanager
    def _overwriting(self, session: Session) -> Iterator[None]:
        """What is replaced meanwhile does not stay in the free room of a SQLite file."""
        if not self._database.file:
            yield
            return
        connection = session.connection()
        before = connection.exec_driver_sql("PRAGMA secure_delete").scalar_one()
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
        yield
        session.flush()
        connection.exec_driver_sql(f"PRAGMA secure_delete = {before}")

    def switch(self, channel_id: str, *, on: bool) -> None:
        """Send to it from now on, or no longer; what is on its way is not sent then."""
        with self._database.write() as session:
            row = AlertChannelRow
            session.execute(update(row).where(row.id == channel_id).values(is_on=on))

    def remove(self, channel_id: str) -> None:
        """Forget one, with what is on its way; nothing happens if it is gone."""
        with self._database.write() as session:
            session.execute(delete(AlertChannelRow).where(AlertChannelRow.id == channel_id))

    def test(self, channel_id: str) -> None:
        """Send a message that says that it is a test.

        Raises:
            GoneError: the channel is no longer there.
        """
        with self._database.write() as session:
            if session.get(AlertChannelRow, channel_id) is None:
                raise GoneError("This channel is no longer there: it may have been removed in another window.")
            session.add(_message(channel_id, None, now()))

    def deliveries(self, limit: int = 50) -> tuple[Delivery, ...]:
        """The latest messages, the newest first."""
        rows = select(AlertDeliveryRow).order_by(AlertDeliveryRow.created_at.desc(), AlertDeliveryRow.id.desc())
        with self._database.read() as session:
            return tuple(_to_delivery(row) for row in session.scalars(rows.limit(limit)))

    def claim(self, at: datetime | None = None, *, without: Collection[str] = ()) -> tuple[Errand, ...]:
        """Messages that are to be sent now, which nobody else is given meanwhile; the oldest first. One that was lost
        at its last try is given up.

        Args:
            at: when; now unless given.
            without: ids of channels that are not to be sent to.
        """
        at = at or now()
        with self._database.read() as session:
            if session.scalar(_due(at, without).limit(1)) is None:
                return ()
        with self._database.write() as session:
            due = _due(at, without).limit(_AT_ONCE)
            rows = session.scalars(due.with_for_update(skip_locked=True, of=AlertDeliveryRow)).all()
            for row in rows:
                row.error = _LOST if row.state == DeliveryState.SENDING else row.error
                if row.tries >= MOST_TRIES:
                    row.state = DeliveryState.GIVEN_UP
                    continue
                row.state, row.tries, row.tried_at, row.due_at = (
                    DeliveryState.SENDING,
                    row.tries + 1,
                    at,
                    at + LOST_AFTER,
                )
            sending = [row for row in rows if row.state == DeliveryState.SENDING]
            errands = [self._errand(session, row, at) for row in sending]
            return tuple(errand for errand in errands if errand is not None)

    def settle(self, delivery: Delivery, error: str | None, at: datetime | None = None) -> None:
        """Write what came of a message: ``None`` is that it came through. After an error it is tried again later, a few
        times.

        Args:
            delivery: the message as it was claimed; nothing happens if it is gone, or was claimed again since.
            error: what went wrong, without the address.
            at: when; now unless given.
        """
        at = at or now()
        with self._database.write() as session:
            row = session.get(AlertDeliveryRow, delivery.id, with_for_update=True)
            if row is None or DeliveryState(row.state) not in _OPEN or row.tries != delivery.tries:
                return
            _settle(row, error, at)

    def _errand(self, session: Session, row: AlertDeliveryRow, at: datetime) -> Errand | None:
        """``None`` where the address cannot be read: the message waits, and says so."""
        channel = session.get_one(AlertChannelRow, row.channel_id)
        try:
            url = self._opened(channel.url)
        except SecretsError as error:
            _settle(row, str(error), at)
            return None
        event = session.get(AlertEventRow, row.event_id) if row.event_id else None
        alert = session.get(AlertRow, event.alert_id) if event else None
        return Errand(
            delivery=_to_delivery(row),
            url=url,
            alert=to_alert(alert) if alert else None,
            event=to_event(event) if event else None,
        )

    def _opened(self, kept: str) -> str:
        return self._secrets.open(kept) if is_sealed(kept) else kept

    def _to_channel(self, session: Session, row: AlertChannelRow) -> Channel:
        deliveries = select(AlertDeliveryRow).where(AlertDeliveryRow.channel_id == row.id)
        newest = deliveries.order_by(AlertDeliveryRow.created_at.desc(), AlertDeliveryRow.id.desc())
        last = session.scalars(newest.limit(1)).first()
        try:
            self._opened(row.url)
        except SecretsError as error:
            trouble: str | None = str(error)
        else:
            trouble = None
        return Channel(
            id=row.id,
            name=row.name,
            service=row.service,
            is_on=row.is_on,
            is_sealed=is_sealed(row.url),
            trouble=trouble,
            created_at=row.created_at,
            last=_to_delivery(last) if last else None,
        )


def announce(session: Session, event_id: str, at: datetime) -> None:
    """In a transaction: put a message for each channel that is on upon its way."""
    ids = session.scalars(select(AlertChannelRow.id).where(AlertChannelRow.is_on.is_(True))).all()
    session.add_all(_message(channel_id, event_id, at) for channel_id in ids)


def _due(at: datetime, without: Collection[str]) -> Select[AlertDeliveryRow]:
    """Of channels that are on, or tests. One that is due in the far future was made before the clock was set back. That
    an alert is resolved waits for the message that it fires."""
    row, channel = AlertDeliveryRow, AlertChannelRow
    is_due = or_(row.due_at <= at, row.due_at > at + _LONGEST_PAUSE)
    wanted = or_(channel.is_on.is_(True), row.event_id.is_(None))
    event, earlier, fired = AlertEventRow, aliased(AlertDeliveryRow), aliased(AlertEventRow)
    untold = (
        select(earlier.id)
        .join(fired, fired.id == earlier.event_id)
        .where(
            earlier.channel_id == row.channel_id,
            earlier.state.in_(_OPEN),
            fired.alert_id == event.alert_id,
            fired.what == EventKind.FIRED,
            event.what != EventKind.FIRED,
        )
    )
    rows = select(row).join(channel, channel.id == row.channel_id).outerjoin(event, event.id == row.event_id)
    rows = rows.where(row.state.in_(_OPEN), is_due, wanted, ~untold.exists())
    rows = rows.where(row.channel_id.not_in(without)) if without else rows
    return rows.order_by(row.due_at, row.id)


def _message(channel_id: str, event_id: str | None, at: datetime) -> AlertDeliveryRow:
    return AlertDeliveryRow(
        id=new_id(),
        channel_id=channel_id,
        event_id=event_id,
        state=DeliveryState.WAITING,
        tries=0,
        created_at=at,
        due_at=at,
    )


def _settle(row: AlertDeliveryRow, error: str | None, at: datetime) -> None:
    row.error = error and error[:_ERROR_CHARACTERS]
    if error is None:
        row.state = DeliveryState.SENT
    elif row.tries >= MOST_TRIES:
        row.state = DeliveryState.GIVEN_UP
    else:
        row.state, row.due_at = DeliveryState.WAITING, at + FIRST_PAUSE * 2 ** (row.tries - 1)


def _to_delivery(row: AlertDeliveryRow) -> Delivery:
    return Delivery(
        id=row.id,
        channel_id=row.channel_id,
        event_id=row.event_id,
        state=DeliveryState(row.state),
        tries=row.tries,
        created_at=row.created_at,
        due_at=row.due_at,
        tried_at=row.tried_at,
        error=row.error,
    )
