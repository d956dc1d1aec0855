"""``gearbox experiment autopilot FILE``: searches for a configuration within limits, and prints what it found with its
evidence on held-out prompts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from app.cascade.pairs import by_size
from app.engines import open_engine
from app.experiments.autopilot.course import Course, read_course
from app.experiments.autopilot.evidence import Shown
from app.experiments.autopilot.reading import read_plan
from app.experiments.autopilot.running import keep_plan, kept_of, run_autopilot
from app.experiments.autopilot.space import drafting_models
from app.experiments.command.course import course_text, course_tree
from app.experiments.command.reports import write_page
from app.experiments.command.terminal import check_place, give, give_json, report_to, say
from app.experiments.results.arrays import read_results
from app.models.remote.registry import RemoteModels
from app.settings import Settings
from app.store import ExperimentState, RunStore, StartedFrom, UnderWayError
from engine import Engine, list_models
from engine.errors import GearboxError
from engine.models import terminal_bar
from engine.types import Precision, precisions_on


@dataclass(frozen=True, slots=True)
class _Here:
    """What this machine has for candidates."""

    engine: Engine
    models_dir: Path

    def models(self) -> Sequence[str]:
        return [model.name for model in by_size(list_models(self.models_dir))]

    def precisions(self) -> Sequence[Precision]:
        return precisions_on(self.engine.status().device)

    def drafts(self, models: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for model in models:
            with suppress(GearboxError):  # nothing drafts for one that cannot be opened; its candidates say why
                found[model] = drafting_models(self.engine.drafters(model, Precision.BF16), models)
        return found


def run_autopilot_file(options: argparse.Namespace) -> int:
    """Run the autopilot that ``options.file`` describes, or go on with it.

    Raises:
        UnderWayError: a server, or another command, runs it already.
        DesignError: the file describes none.
        GearboxError: whatever keeps it from its end; what it measured is kept.
    """
    if options.report:
        check_place(Path(options.report))
    settings = Settings.from_env()
    with closing(RunStore.of(settings)) as store:
        with closing(open_engine(settings, RemoteModels.of(settings, store).resolve)) as engine:
            course, id = _run(store, engine, Path(options.file), settings)
        saved = _save(store, course, options.save) if options.save else None
        if options.json:
            give_json({**course_tree(course), "autopilot": id, "saved": saved})
        else:
            give(course_text(course))
        if options.report:
            _report(store, course, Path(options.report), settings)
    return 0


def _run(store: RunStore, engine: Engine, file: Path, settings: Settings) -> tuple[Course, str]:
    read = read_plan(file, _Here(engine, settings.models_dir))
    plan = read.plan
    for note in read.notes:
        say(note)
    kept = kept_of(store, plan) or store.autopilots.get(keep_plan(store, plan))
    if kept.state is ExperimentState.DONE:
        return read_course(store, kept.id), kept.id
    if kept.under_way:
        raise UnderWayError(kept.name, kept.under_way)
    say(
        f"{plan.name}: {len(plan.candidates):,} candidates, {len(plan.searched):,} prompts to search on, "
        f"{len(plan.kept_apart):,} held out. Ctrl+C pauses; the same command goes on."
    )
    with terminal_bar(plan.name) as bar:
        course = run_autopilot(engine, store, kept.id, report_to(bar), started_from=StartedFrom.COMMAND_LINE)
    return course, kept.id


def _save(store: RunStore, course: Course, name: str) -> str | None:
    """Save what was chosen, unless held-out prompts speak against it. The name that it has."""
    chosen = course.chosen
    if chosen is None:
        say("No configuration was chosen: nothing is saved.")
        return None
    if course.evidence is not None and course.evidence.shown is Shown.BROKEN:
        say(f"“{chosen.name}” breaks a limit on held-out prompts: it is not saved.")
        return None
    saved = store.configurations.save_once(None, name, chosen.config.to_dict())
    say(f"Saved as the configuration “{saved}”.")
    return saved


def _report(store: RunStore, course: Course, file: Path, settings: Settings) -> None:
    if course.evidence_id is None:
        say("No held-out prompt was asked: there is nothing to report.")
    elif course.chosen == course.plan.baseline:
        say("The baseline itself was chosen: there is nothing to report on held-out prompts.")
    else:
        write_page(store, read_results(store, course.evidence_id), file, None, settings)
