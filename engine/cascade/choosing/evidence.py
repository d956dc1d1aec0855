"""What a profile is to be judged by elsewhere: on which prompts, with what figures, made where. It is kept beside a
profile and travels in its file, not in the profile, which each run carries along."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from engine.cascade.reporting.figures import Figure, ThresholdFigures
from engine.cascade.reporting.ladder_figures import LadderFigures
from engine.cascade.routing.profiles import RouterProfile
from engine.errors import RouterProfileError
from engine.untrusted import parse_json

FORMAT = 2
"""Of a file with evidence; 1 is a profile alone, which is still read."""
MOST_BYTES = 4 * 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Beside a profile."""

    prompts_sha256: tuple[str, ...]
    """Of the text of each prompt that chose the threshold or reported on it, sorted."""
    held_out: int
    """Prompts that reported, and had no part in choosing."""
    figures: Mapping[str, Figure]
    """On those, by name, each with its 95 % interval: shares 0 to 1, costs in ``unit``."""
    unit: str
    """Of costs: ``s`` or a currency's sign."""
    derived_from: str
    """What costs were derived from; empty where they are times as recorded."""
    environment: Mapping[str, Any]
    """Of the machine that made the profile."""

    def __post_init__(self) -> None:
        _check(all(_SHA256.fullmatch(each) for each in self.prompts_sha256), "the hash of a prompt is no sha256")
        _check(type(self.held_out) is int and self.held_out >= 0, "the prompts that reported are no number")
        ends = [end for figure in self.figures.values() for end in (figure.value, figure.low, figure.high)]
        _check(all(map(math.isfinite, ends)), "a figure is not a finite number")

    @classmethod
    def of(
        cls,
        prompts: Iterable[str],
        figures: ThresholdFigures | LadderFigures,
        environment: Mapping[str, Any],
        *,
        unit: str = "s",
        derived_from: str = "",
    ) -> Self:
        """From what was worked out here.

        Args:
            prompts: texts of the prompts that chose or reported.
            figures: on the half that reports.
            environment: of this machine.
            unit: of the costs.
            derived_from: what they were derived from.
        """
        named = {field.name: getattr(figures, field.name) for field in fields(figures)} | {"share": figures.share}
        return cls(
            prompts_sha256=tuple(sorted(map(prompt_sha256, prompts))),
            held_out=figures.prompts,
            figures={name: value for name, value in named.items() if isinstance(value, Figure)},
            unit=unit,
            derived_from=derived_from,
            environment=dict(environment),
        )

    def known(self, prompts: Iterable[str]) -> int:
        """How many of its prompts are among these texts."""
        return len(set(self.prompts_sha256) & set(map(prompt_sha256, prompts)))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "prompts_sha256": list(self.prompts_sha256),
            "held_out": self.held_out,
            "figures": {name: [each.value, each.low, each.high] for name, each in self.figures.items()},
            "unit": self.unit,
            "derived_from": self.derived_from,
            "environment": dict(self.environment),
        }

    @classmethod
    def from_dict(cls, tree: Any) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            RouterProfileError: this is no evidence.
        """
        try:
            figures = {str(name): tuple(map(float, ends)) for name, ends in tree["figures"].items()}
            return cls(
                prompts_sha256=tuple(map(str, tree["prompts_sha256"])),
                held_out=tree["held_out"],
                figures={name: Figure(value=v, low=low, high=high) for name, (v, low, high) in figures.items()},
                unit=str(tree["unit"]),
                derived_from=str(tree["derived_from"]),
                environment=dict(tree["environment"]),
            )
        except RouterProfileError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RouterProfileError(f"The profile's evidence cannot be read: {error!r}.") from error


def prompt_sha256(text: str) -> str:
    """Of a prompt's text: it tells whether a prompt is known without giving it away."""
    return hashlib.sha256(text.encode()).hexdigest()


def profile_to_json(profile: RouterProfile, evidence: Evidence | None) -> str:
    """A profile's file; without evidence it is the profile alone."""
    tree = profile.to_dict()
    if evidence is not None:
        tree = {"format": FORMAT, "profile": tree, "evidence": evidence.to_dict()}
    return json.dumps(tree, ensure_ascii=False, allow_nan=False, indent=1)


def profile_from_json(data: bytes) -> tuple[RouterProfile, Evidence | None]:
    """The inverse of :func:`profile_to_json`.

    Raises:
        RouterProfileError: this is no profile, one of another format, or one that does not hold together.
    """
    try:
        tree: Any = parse_json(data)
    except ValueError as error:
        raise RouterProfileError(f"This is no router profile: {error}.") from error
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        return RouterProfile.from_dict(tree), None
    if "profile" not in tree:
        raise RouterProfileError("This is no router profile: it has no 'profile'.")
    evidence = tree.get("evidence")
    return RouterProfile.from_dict(tree["profile"]), None if evidence is None else Evidence.from_dict(evidence)


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise RouterProfileError(f"The profile's evidence cannot be used: {message}.")
