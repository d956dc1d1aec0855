"""Router profiles and the models they were made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from app.router.study import tier_identity
from engine.cascade import RouterProfile, TierIdentity
from engine.errors import GearboxError, RouterProfileError
from engine.models import resolve
from engine.types import Tier
from engine.untrusted import parse_json

MOST_BYTES = 2**20


def installed_weights(model: str, models_dir: Path) -> str | None:
    """The weights_sha256 of a model as it is here; ``None`` where it is not, or cannot be run."""
    try:
        return resolve(model, models_dir).weights_sha256
    except GearboxError:
        return None


def current_ladder(tiers: Sequence[str], recorded: Mapping[str, str], models_dir: Path) -> tuple[TierIdentity, ...]:
    """The tiers looked at, with the weights their answers are from; where that is not known, those installed.

    Raises:
        RouterProfileError: neither is known of a tier.
    """
    weights = dict(recorded)
    for tier in tiers:
        if tier not in weights and (sha256 := installed_weights(Tier.from_key(tier).model, models_dir)):
            weights[tier] = sha256
    return tuple(tier_identity(tier, weights) for tier in tiers)


def check_installed(profile: RouterProfile, models_dir: Path) -> None:
    """Refuse a profile that was not made for the weights installed here.

    Raises:
        RouterProfileError: a model is missing, or has other weights.
    """
    found = []
    for tier in profile.ladder:
        sha256 = installed_weights(tier.model, models_dir)
        if sha256 is None:
            raise RouterProfileError(
                f"The profile “{profile.name}” needs {tier.model}, which is not installed. Install it under Models."
            )
        found.append(TierIdentity(model=tier.model, precision=tier.precision, weights_sha256=sha256))
    profile.check_fits(found)


def read_profile(name: str, data: bytes) -> RouterProfile:
    """A profile from an uploaded file.

    Raises:
        RouterProfileError: it is no profile, or not of a format that is read here.
    """
    if len(data) > MOST_BYTES:
        raise RouterProfileError(f"“{name}” is too large for a router profile.")
    try:
        tree = parse_json(data)
    except ValueError as error:
        raise RouterProfileError(f"“{name}” is no router profile: {error}.") from error
    return RouterProfile.from_dict(tree)
