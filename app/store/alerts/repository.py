"""The repository of alerts: rules, what fires, and what happened to it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.secrets import Secrets
from app.store.alerts.channels import ChannelStore, announce
from app.store.alerts.records import Alert, AlertEvent, EventKind, Figure, Finding, Rule
from app.store.alerts.rows import keep_alert, to_alert, to_event, to_rule, to_rule_row
from app.store.alerts.schema import AlertEventRow, AlertRow, AlertRuleRow
from app.store.alerts.states import Step, acknowledge, close, observe, silence
from app.store.database.errors import ConflictError, GoneError
from app.store.database.identity import new_id, now
from app.store.database.session import Database

NAME_CHARACTERS = 80
RUNBOOK_CHARACTERS = 10_000
_LONGEST = timedelta(days=30)


class AlertStore:
    """Keeps alerts, beside the runs. Safe to share between threads.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database, secrets: Secrets) -> None:
        """Use a database whose schema is up to date."""
        self._database = database
        self.channels = ChannelStore(database, secrets)
        """Where alerts are sent to, and what is on its way there."""

    # --- rules ------------------------------------------------------------------------------------

    def rules(self) -> tuple[Rule, ...]:
        """Those that somebody made or changed, the oldest first."""
        with self._database.read() as session:
            rows = session.scalars(select(AlertRuleRow).order_by(AlertRuleRow.created_at, AlertRuleRow.key))
            return tuple(to_rule(row) for row in rows)

    def keep_rule(self, rule: Rule) -> None:
        """Keep a rule, new or changed.

        Raises:
            ConflictError: it can never be judged.
        """
        _check(rule)
        with self._database.write() as session:
            kept = session.get(AlertRuleRow, rule.key)
            session.merge(to_rule_row(rule, kept.created_at if kept else now()))

    def switch_rule(self, key: str, *, on: bool, shipped: Rule | None = None) -> None:
        """Switch a rule on or off, and change nothing else of it.

        Args:
            key: which.
            on: whether it is looked at from now on.
            shipped: how it came with Gearbox, which is kept where nothing is kept of it yet; ``None`` of one that
                somebody made.

        Raises:
            GoneError: somebody deleted it meanwhile.
        """
        with self._database.write() as session:
            row = session.get(AlertRuleRow, key, with_for_update=True)
            if row is not None:
                row.is_on = on
            elif shipped is not None:
                session.add(to_rule_row(replace(shipped, is_on=on), now()))
            else:
                raise GoneError("This rule is no longer there: it may have been deleted in another window.")

    def drop_rule(self, key: str) -> None:
        """Forget what was kept of a rule; nothing happens if nothing was."""
        with self._database.write() as session:
            session.execute(delete(AlertRuleRow).where(AlertRuleRow.key == key))

    # --- alerts -----------------------------------------------------------------------------------

    def observe(self, finding: Finding, at: datetime | None = None) -> Alert | None:
        """Go on with what was found: open an alert, keep it open, resolve it. Channels are told in the same
        transaction. Whoever comes second with the same finding changes nothing.

        Args:
            finding: what looking at a rule found.
            at: when; now unless given.

        Returns:
            The alert as it stands; ``None`` where there is none.

        Raises:
            ConflictError: another server opened it at this moment.
        """
        at = at or now()
        slot = _slot(finding.rule, finding.subject)
        if not finding.holds:
            with self._database.read() as session:
                if session.scalar(select(AlertRow.id).where(AlertRow.slot == slot)) is None:
                    return None
        with self._database.write() as session:
            row = session.scalars(select(AlertRow).where(AlertRow.slot == slot).with_for_update()).one_or_none()
            silenced_until = None if row else _silence_before(session, finding)
            step = observe(
                to_alert(row) if row else None,
                finding,
                at,
                id=row.id if row else new_id(),
                silenced_until=silenced_until,
            )
            return _write(session, step, at, words=finding.words)

    def open(self) -> tuple[Alert, ...]:
        """Those that are not resolved, the newest first."""
        return self._alerts(AlertRow.slot.is_not(None), limit=1_000)

    def history(self, limit: int = 100) -> tuple[Alert, ...]:
        """The latest, open ones among them, the newest first."""
        return self._alerts(limit=limit)

    def get(self, alert_id: str) -> Alert:
        """One of them.

        Raises:
            GoneError: there is none of that id.
        """
        found = self._alerts(AlertRow.id == alert_id, limit=1)
        if not found:
            raise GoneError("There is no such alert.")
        return found[0]

    def events(self, alert_ids: Collection[str]) -> tuple[AlertEvent, ...]:
        """What happened to some alerts, the oldest first."""
        rows = select(AlertEventRow).where(AlertEventRow.alert_id.in_(alert_ids)).order_by(AlertEventRow.id)
        with self._database.read() as session:
            return tuple(to_event(row) for row in session.scalars(rows))

    def acknowledge(self, alert_id: str, person: str | None) -> Alert:
        """Take one up.

        Raises:
            GoneError: there is none of that id.
        """
        return self._step(alert_id, acknowledge, person)

    def silence(self, alert_id: str, until: datetime, person: str | None) -> Alert:
        """Tell nobody of it, or of the next ones of its rule, until a moment; one that is past ends a silence.

        Raises:
            GoneError: there is none of that id.
        """
        return self._step(alert_id, lambda alert, at: silence(alert, until, at), person)

    def close(self, alert_id: str, why: str) -> Alert:
        """Resolve one whose rule or objective is no longer there, or is off.

        Args:
            alert_id: which.
            why: a sentence, for its history and the channels.

        Raises:
            GoneError: there is none of that id.
        """
        return self._step(alert_id, lambda alert, at: close(alert, at, why), None)

    def _step(self, alert_id: str, step: Callable[[Alert, datetime], Step], person: str | None) -> Alert:
        at = now()
        with self._database.write() as session:
            row = session.get(AlertRow, alert_id, with_for_update=True)
            if row is None:
                raise GoneError("There is no such alert.")
            kept = _write(session, step(to_alert(row), at), at, person=person)
            return kept or to_alert(row)

    def _alerts(self, *conditions: object, limit: int) -> tuple[Alert, ...]:
        rows = select(AlertRow).where(*conditions)  # type: ignore[arg-type]
        rows = rows.order_by(AlertRow.opened_at.desc(), AlertRow.id.desc()).limit(limit)
        with self._database.read() as session:
            return tuple(to_alert(row) for row in session.scalars(rows))


def _write(session: Session, step: Step, at: datetime, *, words: str = "", person: str | None = None) -> Alert | None:
    if step.alert is None:
        return None
    keep_alert(session, step.alert)
    if step.event is not None:
        told = words if step.event is EventKind.FIRED else step.words
        event = AlertEventRow(id=new_id(), alert_id=step.alert.id, at=at, what=step.event, person=person, words=told)
        session.flush()
        session.add(event)
        session.flush()
        if step.tell:
            announce(session, event.id, at)
    return step.alert


def _silence_before(session: Session, finding: Finding) -> datetime | None:
    before = select(AlertRow.silenced_until).where(AlertRow.rule == finding.rule, AlertRow.subject == finding.subject)
    return session.scalars(before.order_by(AlertRow.opened_at.desc(), AlertRow.id.desc()).limit(1)).first()


def _slot(rule: str, subject: str) -> str:
    return f"{rule}/{subject}"


def _check(rule: Rule) -> None:
    if not rule.name.strip():
        raise ConflictError("Give the rule a name.")
    if len(rule.name) > NAME_CHARACTERS or len(rule.runbook) > RUNBOOK_CHARACTERS:
        raise ConflictError(f"A name has at most {NAME_CHARACTERS} characters, a runbook {RUNBOOK_CHARACTERS:,}.")
    if not timedelta(minutes=1) <= rule.window <= _LONGEST:
        raise ConflictError("A window is a minute to 30 days long.")
    needs_reference = rule.condition.is_change or rule.figure is Figure.BURN
    if needs_reference and not timedelta(minutes=1) <= rule.reference <= _LONGEST:
        raise ConflictError("What it is compared with is a minute to 30 days long.")
    if rule.figure is Figure.BURN and rule.reference >= rule.window:
        raise ConflictError("The short window of a burn rate is shorter than its long one.")
    if rule.limit < 0 or rule.limit != rule.limit:
        raise ConflictError("A limit is 0 or more.")
    if rule.least < 1:
        raise ConflictError("At least one run is needed to tell.")
    if not 0 < rule.percentile < 1:
        raise ConflictError("A percentile is above 0 and below 100.")
