"""What ``gearbox sentinel`` does. Golden prompts are named by their id or their name."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from app import units
from app.engines import open_engine
from app.experiments.command.terminal import give, give_json, report_to, say
from app.experiments.results.table import aligned
from app.models.remote.registry import RemoteModels
from app.operations.sentinel.comparing import drifts
from app.operations.sentinel.picking import pick
from app.operations.sentinel.replaying import replay
from app.operations.sentinel.standing import Standing, State, standings
from app.settings import Settings
from app.store import RunStore, StartedFrom
from engine.errors import InvalidRequestError
from engine.models import terminal_bar

_ALARMS = (State.FAILED, State.FLIPPED)


def run(options: argparse.Namespace) -> int:
    """Replay ``options.golden``, or all, and print how they stand.

    Returns:
        1 where an answer flipped or is not there, and nobody has filed that as known; else 0.

    Raises:
        UnderWayError: a server, or another command, replays already.
        InvalidRequestError: there is no such golden prompt, or none at all.
        GearboxError: whatever keeps the engine or the store from it; what was replayed is kept.
    """
    settings = Settings.from_env()
    with _opened(settings) as store:
        chosen = _named(standings(store.sentinel), options.golden) if options.golden else standings(store.sentinel)
        ids = [each.golden.id for each in chosen]
        with (
            closing(open_engine(settings, RemoteModels.of(settings, store).resolve)) as engine,
            terminal_bar("sentinel") as bar,
        ):
            replay(engine, store, report_to(bar), golden_ids=ids, started_from=StartedFrom.COMMAND_LINE)
        found = [each for each in standings(store.sentinel) if each.golden.id in ids]
    return _told(found, options)


def listing(options: argparse.Namespace) -> int:
    """Print how all stand since their last replay; returns what :func:`run` does."""
    with _opened(Settings.from_env()) as store:
        return _told(standings(store.sentinel), options)


def accept(options: argparse.Namespace) -> int:
    """Accept the last answers of ``options.golden``, or of all that differ.

    Raises:
        InvalidRequestError: nothing is named, there is no such golden prompt, or its last replay has no answer.
    """
    if bool(options.golden) == options.all:
        raise InvalidRequestError("Name the golden prompts to accept, or give --all.")
    with _opened(Settings.from_env()) as store:
        found = standings(store.sentinel)
        chosen = [each for each in found if each.is_open] if options.all else _named(found, options.golden)
        for each in chosen:
            if each.latest is None or each.latest.failure is not None:
                why = each.latest.failure if each.latest else "it was not replayed yet"
                if options.all:
                    say(f"Not accepted: {each.golden.name}: {why}")
                    continue
                raise InvalidRequestError(f"“{each.golden.name}” has no answer to accept: {why}")
            store.sentinel.accept(each.latest.id)
            say(f"Accepted: {each.golden.name}")
        if not chosen:
            say("All is as accepted.")
    return 0


def pick_run(options: argparse.Namespace) -> int:
    """Make ``options.run`` a golden prompt, and print its id.

    Raises:
        RunNotFoundError: there is no such run.
        InvalidRequestError: it has no answer that could be accepted.
    """
    with _opened(Settings.from_env()) as store:
        give(f"{pick(store, options.run, name=options.name)}\n")
    return 0


@contextmanager
def _opened(settings: Settings) -> Iterator[RunStore]:
    with closing(RunStore.of(settings)) as store:
        yield store


def _named(found: Sequence[Standing], wanted: Sequence[str]) -> list[Standing]:
    """Those of these ids or names.

    Raises:
        InvalidRequestError: there is none.
    """
    chosen = []
    for name in wanted:
        matching = [each for each in found if name in (each.golden.id, each.golden.name)]
        if not matching:
            there = ", ".join(f"“{each.golden.name}”" for each in found) or "none yet"
            raise InvalidRequestError(f"No golden prompt has the id or the name “{name}”. There are: {there}.")
        chosen += matching
    return chosen


# --- what is printed --------------------------------------------------------------------------------------


def _told(found: Sequence[Standing], options: argparse.Namespace) -> int:
    alarms = [*_ALARMS, State.DRIFTED] if options.drifts else _ALARMS
    failed = any(each.state in alarms for each in found)
    if options.json:
        give_json({"golden": [_tree(each) for each in found], "passed": not failed})
    elif not found:
        say("There are no golden prompts yet: gearbox sentinel pick RUN makes one.")
    else:
        give(_table(found))
    return int(failed)


def _table(found: Sequence[Standing]) -> str:
    rows = [["Golden prompt", "State", "TPOT now / accepted", "KLD", "Id"]]
    for each in found:
        held = drifts(each.accepted, each.latest) if each.latest and each.is_held_against else {}
        speed = held.get("TPOT")
        rows.append(
            [
                each.golden.name,
                str(each.state),
                f"{speed.ratio:.2f} ({speed.low:.2f} to {speed.high:.2f})" if speed else units.MISSING,
                units.divergence(each.latest.kld if each.latest else None),
                each.golden.id,
            ]
        )
    lines = [aligned(rows)]
    for each in found:
        if each.is_open or each.state is State.KNOWN:
            lines += [f"{each.golden.name}:", *(f"- {words}" for words in each.words), *_texts(each), ""]
    return "\n".join(lines)


def _texts(each: Standing) -> Iterator[str]:
    assert each.latest is not None
    yield from (f"- Changed: {clause}" for clause in each.changes)
    if each.latest.note:
        yield f"- Known: {each.latest.note}"
    if each.latest.failure is None and each.latest.text != each.accepted.text:
        yield f"- Accepted: {each.accepted.text}"
        yield f"- Now:      {each.latest.text}"


def _tree(each: Standing) -> dict[str, Any]:
    latest = each.latest
    return {
        "id": each.golden.id,
        "name": each.golden.name,
        "state": str(each.state),
        "deviations": [str(deviation) for deviation in latest.deviations] if latest else [],
        "changes": list(each.changes),
        "accepted": each.accepted.text,
        "now": latest.text if latest else None,
        "failure": latest.failure if latest else None,
        "score": latest.score if latest else None,
        "kld": latest.kld if latest else None,
        "tpot_s": list(latest.tpot_s) if latest else [],
        "accepted_tpot_s": list(each.accepted.tpot_s),
        "note": latest.note if latest else "",
    }
