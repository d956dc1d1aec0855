"""What tiers answered to sets of prompts, who recorded it on what, and what people say of single answers."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Text, delete, func, select, type_coerce
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds, to_microseconds
from app.store.database.errors import GoneError
from app.store.database.identity import new_id, now
from app.store.database.packing import pack, unpack
from app.store.outbox.results import Result, Writer, to_bytes, to_text
from app.store.people.texts import visible_text
from app.store.people.visibility import own, visible
from app.store.router.records import (
    KeptMark,
    RecordedAnswer,
    RecordedTier,
    answer_sha256,
    are_estimated,
    machine_words,
)
from app.store.router.schema import RouterAnswer, RouterMark, RouterRenewal, RouterSet
from app.store.router.sets import SetStore
from engine.cascade import TierAnswer

_ANSWER = "router-answer"
_KEY = ("set_sha256", "tier", "weights_sha256", "prompt_id")


class AnswerStore(SetStore):
    """The part of the Router lab's store that keeps answers and marks. Safe to share between threads."""

    def keep_answer(
        self,
        set_sha256: str,
        prompt_id: str,
        tier: str,
        weights_sha256: str,
        answer: TierAnswer,
        environment: Mapping[str, Any],
    ) -> None:
        """Keep what a tier answered to a prompt of a set, for the viewer; it takes the place of an older answer.

        Raises:
            GoneError: the set was deleted.
        """
        fields = {
            "set_sha256": set_sha256,
            "tier": tier,
            "weights_sha256": weights_sha256,
            "prompt_id": prompt_id,
            "created_at": to_microseconds(now()),
            "payload": to_text(pack(answer.to_dict())),
            "environment": dict(environment),
            "person_id": self.person_id,
        }
        self._outbox.keep(Result(_ANSWER, json.dumps([fields[name] for name in _KEY]), fields))

    def recorded(self, set_sha256: str) -> tuple[RecordedTier, ...]:
        """How much is recorded of each tier and weights, the latest first."""
        row = RouterAnswer
        environment = type_coerce(row.environment, Text)
        rows = (
            select(
                row.tier,
                row.weights_sha256,
                environment,
                row.person_id,
                func.count(),
                func.min(row.created_at),
                func.max(row.created_at),
            )
            .where(row.set_sha256 == set_sha256, *visible_text(row.set_sha256, self._viewer))
            .group_by(row.tier, row.weights_sha256, environment, row.person_id)
        )
        tallies: dict[tuple[str, str], _Tally] = defaultdict(_Tally)
        with self._database.read() as session:
            for tier, weights, tree, person, count, first, last in session.execute(rows):
                tallies[tier, weights].add(json.loads(tree), person, count, first, last)
            waiting = {
                (tier, weights): _to_renew(session, set_sha256, tier, weights, since)
                for tier, weights, since in session.execute(
                    select(RouterRenewal.tier, RouterRenewal.weights_sha256, RouterRenewal.since).where(
                        RouterRenewal.set_sha256 == set_sha256
                    )
                ).all()
            }
        found = [
            tally.recorded(tier, weights, self.person_id, waiting.get((tier, weights), 0))
            for (tier, weights), tally in tallies.items()
        ]
        return tuple(sorted(found, key=lambda recorded: recorded.last_at, reverse=True))

    def answers(self, set_sha256: str, tier: str, weights_sha256: str) -> dict[str, TierAnswer]:
        """What a tier answered, by the prompt's id; figures as rounded by `TierAnswer.to_dict`."""
        found = self.recorded_answers(set_sha256, tier, weights_sha256)
        return {prompt_id: each.answer for prompt_id, each in found.items()}

    def recorded_answers(self, set_sha256: str, tier: str, weights_sha256: str) -> dict[str, RecordedAnswer]:
        """As `answers`, with what each was recorded on."""
        row = RouterAnswer
        rows = select(row).where(
            row.set_sha256 == set_sha256,
            row.tier == tier,
            row.weights_sha256 == weights_sha256,
            *visible_text(row.set_sha256, self._viewer),
        )
        with self._database.read() as session:
            return {kept.prompt_id: _recorded(kept) for kept in session.scalars(rows)}

    def answered(self, set_sha256: str, tier: str, weights_sha256: str) -> frozenset[str]:
        """Ids of the prompts that a tier has answered, without those to be recorded again."""
        row = RouterAnswer
        rows = select(row.prompt_id).where(
            row.set_sha256 == set_sha256,
            row.tier == tier,
            row.weights_sha256 == weights_sha256,
            *visible_text(row.set_sha256, self._viewer),
        )
        with self._database.read() as session:
            if renewal := session.get(RouterRenewal, (set_sha256, tier, weights_sha256)):
                rows = rows.where(row.created_at >= renewal.since)
            return frozenset(session.scalars(rows))

    def latest_answers(self, tier: str, limit: int) -> tuple[RecordedAnswer, ...]:
        """What a tier answered last, to whatever set, the latest first."""
        row = RouterAnswer
        rows = select(row).where(row.tier == tier, *visible_text(row.set_sha256, self._viewer))
        with self._database.read() as session:
            latest = rows.order_by(row.created_at.desc(), row.prompt_id).limit(limit)
            return tuple(map(_recorded, session.scalars(latest)))

    def renew(self, set_sha256: str, tier: str, weights_sha256: str) -> None:
        """Let all that a tier has answered so far be recorded again. Each answer stays until the new one is there."""
        with self._database.write() as session:
            session.merge(RouterRenewal(set_sha256=set_sha256, tier=tier, weights_sha256=weights_sha256, since=now()))

    def delete_recording(self, set_sha256: str, tier: str, weights_sha256: str) -> int:
        """Delete what a tier answered under some weights, as far as it is the viewer's or nobody's; how many."""
        row = RouterAnswer
        answers = (row.set_sha256 == set_sha256, row.tier == tier, row.weights_sha256 == weights_sha256)
        with self._database.write() as session:
            self._seen(session, set_sha256)
            result = session.execute(delete(row).where(*answers, *visible(row.person_id, self._viewer)))
            if not session.scalar(select(func.count()).select_from(row).where(*answers)):
                renewal = session.get(RouterRenewal, (set_sha256, tier, weights_sha256))
                if renewal:
                    session.delete(renewal)
            return max(0, getattr(result, "rowcount", 0))

    # --- marks ----------------------------------------------------------------------------------------

    def mark(self, set_id: str, prompt_id: str, tier: str, weights_sha256: str, text: str, right: bool | None) -> None:
        """Say whether an answer is right, whatever its checker says; ``None`` takes back what the viewer said.

        Args:
            set_id: of a recorded set its hash, of another data set its id.
            prompt_id: which prompt.
            tier: who answered.
            weights_sha256: under which weights; empty where that is not known.
            text: the answer that was read: the mark holds for it alone.
            right: what is said.
        """
        row, about = RouterMark, answer_sha256(text)
        with self._database.write() as session:
            session.execute(
                delete(row).where(
                    row.set_id == set_id,
                    row.prompt_id == prompt_id,
                    row.tier == tier,
                    row.answer_sha256 == about,
                    *own(row.person_id, self._viewer),
                )
            )
            if right is not None:
                session.add(
                    row(
                        id=new_id(),
                        set_id=set_id,
                        prompt_id=prompt_id,
                        tier=tier,
                        weights_sha256=weights_sha256,
                        answer_sha256=about,
                        person_id=self.person_id,
                        created_at=now(),
                        right=right,
                    )
                )

    def marks(self, set_id: str) -> tuple[KeptMark, ...]:
        """What the viewer, the desk and whoever they may see say of a set's answers; of one answer, what was said
        last."""
        row = RouterMark
        rows = select(row).where(row.set_id == set_id, *visible(row.person_id, self._viewer))
        with self._database.read() as session:
            latest = {
                (mark.prompt_id, mark.tier, mark.answer_sha256): KeptMark(
                    prompt_id=mark.prompt_id,
                    tier=mark.tier,
                    answer_sha256=mark.answer_sha256,
                    right=mark.right,
                    created_at=mark.created_at,
                    own=mark.person_id in (None, self.person_id),
                )
                for mark in session.scalars(rows.order_by(row.created_at, row.id))
            }
        return tuple(latest.values())


@dataclass(slots=True)
class _Tally:
    """What is counted of one tier's answers."""

    answers: int = 0
    disturbed: int = 0
    told: bool = False
    estimated: int = 0
    timed_alone: int = 0
    timed_at: datetime | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    machines: dict[str, datetime] = field(default_factory=dict)
    people: Counter[str | None] = field(default_factory=Counter)

    def add(
        self, environment: Mapping[str, Any], person: str | None, count: int, first: datetime, last: datetime
    ) -> None:
        """So many more answers that were recorded alike."""
        self.answers += count
        self.told |= "disturbed" in environment
        self.disturbed += count if environment.get("disturbed") else 0
        if are_estimated(environment):
            self.estimated += count
            if self.timed_at is None or last >= self.timed_at:
                self.timed_at, self.timed_alone = last, environment.get("timed_alone", 0)
        self.first_at = first if self.first_at is None else min(self.first_at, first)
        if self.last_at is None or last >= self.last_at:
            self.last_at, self.environment = last, environment
        if machine := machine_words(environment):
            self.machines[machine] = max(last, self.machines.get(machine, last))
        self.people[person] += count

    def recorded(self, tier: str, weights_sha256: str, viewer: str | None, to_renew: int) -> RecordedTier:
        """All of it, as ``viewer`` sees it."""
        assert self.first_at is not None
        assert self.last_at is not None
        own_answers = self.people[viewer] if viewer is not None else 0
        return RecordedTier(
            tier=tier,
            weights_sha256=weights_sha256,
            answers=self.answers,
            disturbed=self.disturbed if self.told else None,
            first_at=self.first_at,
            last_at=self.last_at,
            environment=self.environment,
            machines=tuple(sorted(self.machines, key=self.machines.__getitem__, reverse=True)),
            own=own_answers,
            others=self.answers - own_answers - self.people[None],
            to_renew=to_renew,
            estimated=self.estimated,
            timed_alone=self.timed_alone,
        )


def _recorded(kept: RouterAnswer) -> RecordedAnswer:
    return RecordedAnswer(
        set_sha256=kept.set_sha256,
        prompt_id=kept.prompt_id,
        created_at=kept.created_at,
        answer=TierAnswer.from_dict(unpack(kept.payload)),
        environment=kept.environment,
    )


def _to_renew(session: Session, set_sha256: str, tier: str, weights_sha256: str, since: datetime) -> int:
    row = RouterAnswer
    older = select(func.count()).where(
        row.set_sha256 == set_sha256,
        row.tier == tier,
        row.weights_sha256 == weights_sha256,
        row.created_at < since,
    )
    return session.scalar(older) or 0


def _write_answer(session: Session, fields: Mapping[str, Any]) -> None:
    if session.get(RouterSet, fields["set_sha256"]) is None:
        raise GoneError("The data set that this answer belongs to was deleted.")
    changed = {"created_at": from_microseconds(fields["created_at"]), "payload": to_bytes(fields["payload"])}
    kept = RouterAnswer(**{**fields, **changed})
    there = session.get(RouterAnswer, tuple(fields[name] for name in _KEY))
    if there is None or there.created_at <= kept.created_at:
        session.merge(kept)


WRITERS: Mapping[str, Writer] = {_ANSWER: _write_answer}
