"""Router profiles and the models they were made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.router.choosing.study import tier_identity
from app.router.choosing.verdict import promise_in_words, promise_mark
from engine.cascade import Evidence, RoutedPrompt, RouterProfile, TierIdentity, profile_from_json
from engine.cascade.choosing.evidence import MOST_BYTES
from engine.errors import GearboxError, RouterProfileError
from engine.models import resolve
from engine.types import Tier


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


def read_profile(name: str, data: bytes) -> tuple[RouterProfile, Evidence | None]:
    """A profile from an uploaded file, and its evidence where it has some.

    Raises:
        RouterProfileError: it is no profile, or not of a format that is read here.
    """
    if len(data) > MOST_BYTES:
        raise RouterProfileError(f"“{name}” is too large for a router profile.")
    try:
        return profile_from_json(data)
    except RouterProfileError as error:
        raise RouterProfileError(f"“{name}”: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One thing that was checked of an uploaded profile."""

    good: bool
    text: str


def check_import(
    profile: RouterProfile, evidence: Evidence | None, prompts: Sequence[RoutedPrompt], models_dir: Path
) -> tuple[Remark, ...]:
    """What an uploaded profile is worth here: whether its weights are here, its prompts known, its figures proven.

    Args:
        profile: as read.
        evidence: as read; ``None`` in an older file.
        prompts: recorded here.
        models_dir: where models are installed.
    """
    remarks = []
    for tier in profile.ladder:
        here = installed_weights(tier.model, models_dir)
        if here is None:
            remarks.append(Remark(good=False, text=f"{tier.model} is not installed here."))
        elif here != tier.weights_sha256:
            remarks.append(Remark(good=False, text=f"{tier.model} has other weights here: its scores would differ."))
        else:
            remarks.append(Remark(good=True, text=f"{tier.model}: the same weights are installed here."))
    if evidence is None:
        remarks.append(Remark(good=False, text="The file says nothing of its prompts and the spread of its figures."))
        return tuple(remarks)
    every, known = len(evidence.prompts_sha256), evidence.known(prompt.prompt for prompt in prompts)
    remarks.append(
        Remark(good=known == every, text=f"{known:,} of its {every:,} prompts are among those recorded here.")
    )
    kept = evidence.figures.get("quality_kept")
    reached = "" if kept is None else f": {kept.value:.2f}× ({kept.low:.2f}–{kept.high:.2f}) of the quality"
    remarks.append(
        Remark(good=evidence.held_out > 0, text=f"Made {profile.made_on}, reported on {evidence.held_out:,}{reached}.")
    )
    mark = promise_mark(profile.promise)
    if profile.promise is not None:
        told = promise_in_words(profile.promise)
        remarks.append(Remark(good=not mark, text=f"It promises: {told}{f', {mark}' if mark else ''}."))
    return tuple(remarks)
