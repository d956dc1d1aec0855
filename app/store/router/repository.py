"""The repository of the Router lab: sets of prompts, recorded answers, router profiles. Nothing is overwritten or
dropped: a tier recorded under other weights has answers of its own, and a profile saved again a new version."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict
from typing import Any, Self

from sqlalchemy import Text, case, func, select, type_coerce
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds, to_microseconds
from app.store.database.identity import new_id, now
from app.store.database.session import Database
from app.store.outbox.outbox import Outbox
from app.store.outbox.results import Result, Writer, to_bytes, to_text
from app.store.people.texts import claim, may_see_text, own_names, visible_text
from app.store.people.visibility import Viewer
from app.store.router.records import KeptProfile, KeptSet, RecordedTier
from app.store.router.schema import RouterAnswer, RouterProfileRow, RouterSet
from engine.cascade import Evidence, RouterProfile, TierAnswer, TierIdentity
from engine.evaluation.tasks import Task
from engine.types import Tier

_ANSWER = "router-answer"
_KEY = ("set_sha256", "tier", "weights_sha256", "prompt_id")


def ladder_key(ladder: Sequence[TierIdentity]) -> str:
    """How a ladder is named: its tiers, from the smallest up."""
    return " → ".join(Tier(model=tier.model, precision=tier.precision).key for tier in ladder)


class RouterStore:
    """Keeps what the Router lab records and makes, beside the runs. Safe to share between threads.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        """Use a database whose schema is up to date, and the outbox before it."""
        self._database = database
        self._outbox = outbox
        self._viewer: Viewer | None = None
        """Who sees what is read here; ``None`` is the application itself."""

    def seen_by(self, viewer: Viewer | None) -> Self:
        """The same store as somebody sees it: without others' sets of prompts."""
        seen = copy(self)
        seen._viewer = viewer
        return seen

    # --- sets of prompts ----------------------------------------------------------------------------

    def keep_set(self, sha256: str, name: str, tasks: Sequence[Task], *, everybodys: bool = False) -> None:
        """Keep a set under its hash, as the viewer's, or if it is ``everybodys`` the desk's. One that is there already
        stays as it is, unless it becomes everybody's."""
        with self._database.write() as session:
            kept = session.get(RouterSet, sha256)
            claim(session, sha256, name, self._viewer, everybodys=everybodys, is_new=kept is None)
            if kept and everybodys:
                kept.name = name
            elif kept is None:
                payload = _pack([asdict(task) for task in tasks])
                session.add(RouterSet(sha256=sha256, name=name, created_at=now(), payload=payload))

    def sets(self) -> tuple[KeptSet, ...]:
        """The sets kept that the viewer may see, newest first; those of their own by the name they gave."""
        rows = select(RouterSet.sha256, RouterSet.name, RouterSet.created_at)
        rows = rows.where(*visible_text(RouterSet.sha256, self._viewer))
        with self._database.read() as session:
            found = session.execute(rows.order_by(RouterSet.created_at.desc(), RouterSet.sha256)).all()
            names = own_names(session, self._viewer)
        return tuple(
            KeptSet(sha256=sha256, name=names.get(sha256, name), created_at=created_at)
            for sha256, name, created_at in found
        )

    def tasks(self, sha256: str) -> tuple[Task, ...]:
        """The prompts of a set, in its order; none where there is no such set that the viewer may see."""
        with self._database.read() as session:
            kept = session.get(RouterSet, sha256)
            if kept is None or not may_see_text(session, sha256, self._viewer):
                return ()
            return tuple(Task(**tree) for tree in _unpack(kept.payload))

    # --- recorded answers ---------------------------------------------------------------------------

    def keep_answer(
        self,
        set_sha256: str,
        prompt_id: str,
        tier: str,
        weights_sha256: str,
        answer: TierAnswer,
        environment: Mapping[str, Any],
    ) -> None:
        """Keep what a tier answered to a prompt of a set; the set must have been kept."""
        fields = {
            "set_sha256": set_sha256,
            "tier": tier,
            "weights_sha256": weights_sha256,
            "prompt_id": prompt_id,
            "created_at": to_microseconds(now()),
            "payload": to_text(_pack(answer.to_dict())),
            "environment": dict(environment),
        }
        self._outbox.keep(Result(_ANSWER, json.dumps([fields[name] for name in _KEY]), fields))

    def recorded(self, set_sha256: str) -> tuple[RecordedTier, ...]:
        """How much is recorded of each tier and weights, the latest first."""
        row = RouterAnswer
        environment = type_coerce(row.environment, Text)  # JSON without spaces, in which only a key stands so
        rows = (
            select(
                row.tier,
                row.weights_sha256,
                func.count(),
                func.count(case((environment.contains('"disturbed":"'), 1))),
                func.count(case((environment.contains('"disturbed":'), 1))),
                func.max(row.created_at),
            )
            .where(row.set_sha256 == set_sha256, *visible_text(row.set_sha256, self._viewer))
            .group_by(row.tier, row.weights_sha256)
        )
        with self._database.read() as session:
            found = [
                RecordedTier(
                    tier=tier,
                    weights_sha256=weights,
                    answers=count,
                    disturbed=disturbed if told else None,
                    last_at=last_at,
                    environment=_latest_environment(session, set_sha256, tier, weights),
                )
                for tier, weights, count, disturbed, told, last_at in session.execute(rows).all()
            ]
        return tuple(sorted(found, key=lambda recorded: recorded.last_at, reverse=True))

    def answers(self, set_sha256: str, tier: str, weights_sha256: str) -> dict[str, TierAnswer]:
        """What a tier answered, by the prompt's id; figures as rounded by `TierAnswer.to_dict`."""
        row = RouterAnswer
        rows = select(row.prompt_id, row.payload).where(
            row.set_sha256 == set_sha256,
            row.tier == tier,
            row.weights_sha256 == weights_sha256,
            *visible_text(row.set_sha256, self._viewer),
        )
        with self._database.read() as session:
            return {prompt_id: TierAnswer.from_dict(_unpack(payload)) for prompt_id, payload in session.execute(rows)}

    # --- profiles -----------------------------------------------------------------------------------

    def keep_profile(self, profile: RouterProfile, evidence: Evidence | None = None) -> str:
        """Keep a profile as the next version of its name, with what it is judged by; its id."""
        row = RouterProfileRow
        with self._database.write() as session:
            last = session.scalar(select(func.max(row.version)).where(row.name == profile.name)) or 0
            kept = row(
                id=new_id(),
                name=profile.name,
                version=last + 1,
                ladder=ladder_key(profile.ladder),
                created_at=now(),
                activated_at=None,
                profile=profile.to_dict(),
                evidence=None if evidence is None else evidence.to_dict(),
            )
            session.add(kept)
            return kept.id

    def profiles(self) -> tuple[KeptProfile, ...]:
        """All versions of all profiles, newest first."""
        row = RouterProfileRow
        with self._database.read() as session:
            rows = session.scalars(select(row).order_by(row.created_at.desc(), row.id.desc())).all()
        latest: dict[str, RouterProfileRow] = {}
        for kept in rows:
            if kept.activated_at and (
                kept.ladder not in latest or kept.activated_at > (latest[kept.ladder].activated_at or kept.created_at)
            ):
                latest[kept.ladder] = kept
        return tuple(_to_profile(kept, active=latest.get(kept.ladder) is kept) for kept in rows)

    def active_profile(self, ladder: Sequence[TierIdentity]) -> KeptProfile | None:
        """The profile in use on a ladder. Whether it fits its weights, `RouterProfile.check_fits` tells."""
        wanted = ladder_key(ladder)
        return next((kept for kept in self.profiles() if kept.active and kept.ladder == wanted), None)

    def activate(self, profile_id: str) -> None:
        """Put a profile in use on its ladder."""
        with self._database.write() as session:
            session.get_one(RouterProfileRow, profile_id).activated_at = now()

    def revert(self, ladder: str) -> None:
        """Go back to the profile that was in use on a ladder before the active one; to none after the first."""
        row = RouterProfileRow
        rows = select(row).where(row.ladder == ladder, row.activated_at.is_not(None))
        with self._database.write() as session:
            if active := session.scalars(rows.order_by(row.activated_at.desc()).limit(1)).first():
                active.activated_at = None


def _write_answer(session: Session, fields: Mapping[str, Any]) -> None:
    changed = {"created_at": from_microseconds(fields["created_at"]), "payload": to_bytes(fields["payload"])}
    kept = RouterAnswer(**{**fields, **changed})
    there = session.get(RouterAnswer, tuple(fields[name] for name in _KEY))
    if there is None or there.created_at <= kept.created_at:
        session.merge(kept)


WRITERS: Mapping[str, Writer] = {_ANSWER: _write_answer}


def _latest_environment(session: Session, set_sha256: str, tier: str, weights_sha256: str) -> Mapping[str, Any]:
    row = RouterAnswer
    rows = select(row.environment).where(
        row.set_sha256 == set_sha256, row.tier == tier, row.weights_sha256 == weights_sha256
    )
    return session.scalars(rows.order_by(row.created_at.desc()).limit(1)).first() or {}


def _to_profile(row: RouterProfileRow, *, active: bool) -> KeptProfile:
    return KeptProfile(
        id=row.id,
        version=row.version,
        ladder=row.ladder,
        created_at=row.created_at,
        active=active,
        profile=RouterProfile.from_dict(row.profile),
        evidence=None if row.evidence is None else Evidence.from_dict(row.evidence),
    )


def _pack(tree: Any) -> bytes:
    return zlib.compress(json.dumps(tree, separators=(",", ":")).encode())


def _unpack(payload: bytes) -> Any:
    return json.loads(zlib.decompress(payload))
