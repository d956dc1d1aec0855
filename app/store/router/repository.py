"""The repository of the Router lab: sets of prompts, recorded answers, router profiles. A tier recorded under other
weights has answers of its own, and a profile saved again is a new version."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import defer

from app.store.database.identity import new_id, now
from app.store.router.answers import WRITERS
from app.store.router.judgements import JudgementStore
from app.store.router.records import KeptProfile
from app.store.router.schema import RouterProfileRow
from engine.cascade import Evidence, RouterProfile, TierIdentity
from engine.types import Tier

__all__ = ["WRITERS", "RouterStore", "ladder_key"]


def ladder_key(ladder: Sequence[TierIdentity]) -> str:
    """How a ladder is named: its tiers, from the smallest up."""
    return " → ".join(Tier(model=tier.model, precision=tier.precision).key for tier in ladder)


class RouterStore(JudgementStore):
    """Keeps what the Router lab records and makes, beside the runs. Safe to share between threads.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    # --- profiles -----------------------------------------------------------------------------------

    def keep_profile(
        self, profile: RouterProfile, evidence: Evidence | None = None, data_set: str | None = None
    ) -> str:
        """Keep a profile as the next version of its name, with what it is judged by; its id.

        Args:
            profile: the profile.
            evidence: what it is judged by; ``None`` for one that came without.
            data_set: id of the data set it was made from; ``None`` for one that comes from elsewhere.
        """
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
                data_set=data_set,
            )
            session.add(kept)
            return kept.id

    def profiles(self) -> tuple[KeptProfile, ...]:
        """All versions of all profiles, newest first. What each is judged by, :meth:`evidence` gives: it names every
        prompt, and is too much to be read with all of them."""
        row = RouterProfileRow
        with self._database.read() as session:
            newest_first = select(row).order_by(row.created_at.desc(), row.id.desc())
            rows = session.scalars(newest_first.options(defer(row.evidence))).all()
        latest: dict[str, RouterProfileRow] = {}
        for kept in rows:
            if kept.activated_at and (
                kept.ladder not in latest or kept.activated_at > (latest[kept.ladder].activated_at or kept.created_at)
            ):
                latest[kept.ladder] = kept
        return tuple(_to_profile(kept, active=latest.get(kept.ladder) is kept) for kept in rows)

    def evidence(self, profile_id: str) -> Evidence | None:
        """What a profile is judged by; ``None`` for one that came without."""
        row = RouterProfileRow
        with self._database.read() as session:
            kept = session.scalar(select(row.evidence).where(row.id == profile_id))
        return None if kept is None else Evidence.from_dict(kept)

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


def _to_profile(row: RouterProfileRow, *, active: bool) -> KeptProfile:
    return KeptProfile(
        id=row.id,
        version=row.version,
        ladder=row.ladder,
        created_at=row.created_at,
        active=active,
        profile=RouterProfile.from_dict(row.profile),
        data_set=row.data_set,
    )
