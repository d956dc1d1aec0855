"""The configurations that runs have, as one chooses among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.experiments.planning.design import whole
from app.store import UsedConfiguration
from engine.types import RunConfig


@dataclass(frozen=True, slots=True)
class WholeConfiguration:
    """A configuration whatever the prompt: runs of it may differ in how long an answer may be, and in their seed."""

    config: RunConfig
    most_tokens: Mapping[str, int]
    """How long an answer may be at most, by the hash under which such runs are kept."""
    runs: int
    latest: str
    """The id of the latest of them."""

    @property
    def id(self) -> str:
        """What addresses name it by."""
        return self.config.hash

    def together_with(self, other: WholeConfiguration) -> WholeConfiguration:
        """The same one with the runs of both."""
        return WholeConfiguration(
            self.config,
            {**self.most_tokens, **other.most_tokens},
            self.runs + other.runs,
            max(self.latest, other.latest),  # ids sort by time
        )


def whole_configurations(used: Iterable[UsedConfiguration]) -> tuple[WholeConfiguration, ...]:
    """Those that some runs' configurations are draws from, the most used first."""
    found: dict[str, WholeConfiguration] = {}
    for each in used:
        config = RunConfig.from_dict(each.config)
        made = WholeConfiguration(whole(config), {each.config_hash: config.sampling.max_tokens}, each.runs, each.latest)
        known = found.get(made.id)
        found[made.id] = known.together_with(made) if known else made
    return tuple(sorted(found.values(), key=lambda each: -each.runs))


def named_by(configurations: Iterable[WholeConfiguration], ids: Iterable[str]) -> dict[str, WholeConfiguration | None]:
    """By each id, the configuration that it names: its own id, or the hash that some of its runs are kept under;
    ``None`` for one that names none. A configuration that is named twice is there once."""
    every = {hash: each for each in configurations for hash in (each.id, *each.most_tokens)}
    found: dict[str, WholeConfiguration | None] = {}
    for id in ids:
        named = every.get(id)
        found[named.id if named else id] = named
    return found
