"""A router as it is kept: for which models, with which weights and thresholds, and how it was found."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Self

from engine.cascade.routing.promise import Promise
from engine.cascade.routing.routers import AlwaysSmall, BoundaryRouter, Router, router_class
from engine.errors import RouterProfileError
from engine.types import NEVER, CascadeConfig, Precision, RouterKind, is_remote
from engine.untrusted import parse_json

FORMAT = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_PROMPTS = 10**9
_SHARES = ("share", "quality", "missed")
"""Figures that are shares of prompts, or a mean score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierIdentity:
    """One tier's model, exactly."""

    model: str
    precision: Precision
    weights_sha256: str

    def __post_init__(self) -> None:
        _check(bool(self.model.strip()), "A tier has no model.")
        _check(bool(_SHA256.fullmatch(self.weights_sha256)), f"The weights hash of {self.model} is no sha256.")

    def __str__(self) -> str:
        """For the user."""
        return self.model if is_remote(self.model) else f"{self.model} in {self.precision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterProfile:
    """A calibrated router. It holds for the very weights and precisions it was calibrated on."""

    name: str
    made_on: date
    kind: RouterKind
    ladder: tuple[TierIdentity, ...]
    """Two or three tiers, from the smallest up."""
    boundaries: tuple[BoundaryRouter, ...]
    """One between each two neighbours."""
    data_sha256: str
    """Of the recorded pairs (:func:`~engine.cascade.data_hash`); empty for a profile that needed none."""
    prompts: int
    """Recorded prompts that it was made from."""
    figures: Mapping[str, float | None]
    """What it reached on the prompts that report, by name: shares 0 to 1, times in seconds."""
    after_tokens: int | None = None
    """Answers are judged by so many first tokens; ``None`` for all of them."""
    promise: Promise | None = None
    """What its thresholds were chosen for; ``None`` for those set by hand, and in older profiles."""

    def __post_init__(self) -> None:
        _check(bool(self.name.strip()), "The profile has no name.")
        _check(len(self.ladder) in (2, 3), f"A ladder has two or three tiers, not {len(self.ladder)}.")
        _check(len(set(self.ladder)) == len(self.ladder), "Two tiers of the ladder are the same.")
        _check(
            len(self.boundaries) == len(self.ladder) - 1,
            f"{len(self.ladder)} tiers need {len(self.ladder) - 1} thresholds, not {len(self.boundaries)}.",
        )
        router = router_class(self.kind)
        _check(router.deployable, "The oracle knows the right answers beforehand: it cannot be deployed.")
        _check(
            all(0 <= boundary.threshold <= 1 or boundary.threshold == NEVER for boundary in self.boundaries),
            "A threshold lies between 0 and 1.",
        )
        after = self.after_tokens
        _check(
            after is None or (type(after) is int and after >= 1 and router.judges_first_tokens),
            "Only a router that escalates can judge an answer by its first tokens, at least one of them.",
        )
        _check(
            all((boundary.band is not None) == router.has_band for boundary in self.boundaries),
            "A hybrid needs to know where a prompt alone decides, and nothing else does.",
        )
        of_data = self.data_sha256 == "" or bool(_SHA256.fullmatch(self.data_sha256))
        _check(of_data, "The hash of the data is no sha256.")
        _check(0 <= self.prompts <= _MOST_PROMPTS, "A profile cannot be made from so many prompts.")
        finite = (value is None or math.isfinite(value) for value in self.figures.values())
        _check(all(finite), "A figure is not a finite number.")
        shares = (value for name in _SHARES if (value := self.figures.get(name)) is not None)
        _check(all(0 <= share <= 1 for share in shares), "A share of prompts is not between 0 and 100 %.")

    def check_fits(self, ladder: Sequence[TierIdentity]) -> None:
        """Refuse a ladder that this profile was not made for.

        Raises:
            RouterProfileError: another number of tiers, another model, other weights or another precision.
        """
        again = (
            " Its thresholds mean nothing there: record pairs with these models in the Router lab and choose a "
            "threshold anew."
        )
        name = f"The profile “{self.name}” was made for"
        if len(ladder) != len(self.ladder):
            raise RouterProfileError(f"{name} {len(self.ladder)} tiers, and this ladder has {len(ladder)}.{again}")
        for ours, theirs in zip(self.ladder, ladder, strict=True):
            if ours.model != theirs.model:
                raise RouterProfileError(f"{name} {ours.model}, not {theirs.model}.{again}")
            if ours.precision is not theirs.precision:
                raise RouterProfileError(f"{name} {ours}, not in {theirs.precision}.{again}")
            if ours.weights_sha256 != theirs.weights_sha256:
                what = "another server behind" if is_remote(ours.model) else "other weights of"
                raise RouterProfileError(f"{name} {what} {ours.model}.{again}")

    def promise_at(self, thresholds: Sequence[float]) -> Promise | None:
        """The promise, where these are the thresholds that it was made for: moved by hand, they promise nothing."""
        return self.promise if tuple(thresholds) == tuple(each.threshold for each in self.boundaries) else None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "format": FORMAT,
            "name": self.name,
            "made_on": self.made_on.isoformat(),
            "kind": self.kind.value,
            "ladder": [{**asdict(tier), "precision": tier.precision.value} for tier in self.ladder],
            "boundaries": [boundary.to_dict() for boundary in self.boundaries],
            "data_sha256": self.data_sha256,
            "prompts": self.prompts,
            "figures": dict(self.figures),
            # left out where it says nothing, so that a profile kept as text before it existed is the same text still
            **({} if self.after_tokens is None else {"after_tokens": self.after_tokens}),
            **({} if self.promise is None else {"promise": self.promise.to_dict()}),
        }

    @classmethod
    def from_dict(cls, tree: Any) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            RouterProfileError: this is no profile, one of another format, or one that does not hold together.
        """
        try:
            if tree["format"] != FORMAT:
                raise RouterProfileError(
                    f"This profile has format {tree['format']}, and this Gearbox reads format {FORMAT}."
                )
            return cls(
                name=str(tree["name"]),
                made_on=date.fromisoformat(tree["made_on"]),
                kind=RouterKind(tree["kind"]),
                ladder=tuple(
                    TierIdentity(
                        model=tier["model"],
                        precision=Precision(tier["precision"]),
                        weights_sha256=tier["weights_sha256"],
                    )
                    for tier in tree["ladder"]
                ),
                boundaries=tuple(map(BoundaryRouter.from_dict, tree["boundaries"])),
                data_sha256=tree["data_sha256"],
                prompts=int(tree["prompts"]),
                figures={str(name): value for name, value in tree["figures"].items()},
                after_tokens=tree.get("after_tokens"),
                promise=None if (promise := tree.get("promise")) is None else Promise.from_dict(promise),
            )
        except RouterProfileError:
            raise
        except KeyError as error:
            raise RouterProfileError(f"This is no router profile: it has no {error}.") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise RouterProfileError(f"This is no router profile: {error}.") from error

    def write(self, path: Path) -> None:
        """As a JSON file; one already there is replaced at once, never half."""
        aside = path.with_name(path.name + ".part")
        aside.write_text(json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=1), encoding="utf-8")
        aside.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """What :meth:`write` wrote.

        Raises:
            RouterProfileError: the file is missing or no profile.
        """
        try:
            return cls.from_dict(parse_json(path.read_bytes()))
        except OSError as error:
            raise RouterProfileError(f"The profile “{path.name}” cannot be read: {error}.") from error
        except ValueError as error:
            raise RouterProfileError(f"The profile “{path.name}” cannot be read: {error}") from error


def routers_of(cascade: CascadeConfig, present: Mapping[int, TierIdentity]) -> tuple[Router, ...]:
    """The router of each tier that takes part in a request, from the smallest up, at the gear's thresholds; the last
    never escalates.

    Args:
        cascade: the gear.
        present: the tiers that take part, by their place in the gear's ladder.

    Raises:
        RouterProfileError: the gear's profile is none, or was made for other tiers or another router.
    """
    *smaller, _ = sorted(present)
    learned: Sequence[BoundaryRouter] = (BoundaryRouter(threshold=NEVER),) * len(cascade.thresholds)
    if cascade.profile is not None and smaller:
        learned = _profile_of(cascade.profile, cascade, present).boundaries
    return (
        *(
            router_class(cascade.router)(
                boundary=replace(learned[place], threshold=cascade.thresholds[place]),
                after_tokens=cascade.after_tokens,
                place=place,
            )
            for place in smaller
        ),
        AlwaysSmall(),
    )


def _profile_of(text: str, cascade: CascadeConfig, present: Mapping[int, TierIdentity]) -> RouterProfile:
    try:
        profile = RouterProfile.from_dict(parse_json(text))
    except ValueError as error:
        if isinstance(error, RouterProfileError):
            raise
        raise RouterProfileError(f"The router's profile cannot be read: {error}") from error
    # of a tier that is missing nothing can be said
    ladder = [present.get(place, tier) for place, tier in enumerate(profile.ladder)]
    beyond = [present[place] for place in present if place >= len(ladder)]
    profile.check_fits([*ladder, *beyond])
    if profile.kind is not cascade.router:
        raise RouterProfileError(
            f"The profile “{profile.name}” is of a router that works by {profile.kind}, not {cascade.router}."
        )
    if profile.after_tokens != cascade.after_tokens:
        raise RouterProfileError(
            f"The profile “{profile.name}” judges {_judged(profile.after_tokens)}, not "
            f"{_judged(cascade.after_tokens)}: its thresholds mean nothing there."
        )
    return profile


def _judged(after_tokens: int | None) -> str:
    return "whole answers" if after_tokens is None else f"answers by their first {after_tokens:,} tokens"


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise RouterProfileError(message)
