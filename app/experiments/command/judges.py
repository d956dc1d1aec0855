"""``gearbox experiment judge NAME --model MODEL``: sets a judge to work on an experiment's answers, and prints what it
says with its audit beside."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from typing import Any

from app import units
from app.engines import open_engine
from app.experiments.command.terminal import give, give_json, named, report_to, say
from app.experiments.judging.audit import Audit, Limits, State
from app.experiments.judging.budget import Budget
from app.experiments.judging.hearing import Hearing, Judging, read_hearing
from app.experiments.judging.judge import Judge, LocalJudge, ServerJudge
from app.experiments.judging.judged import judged_rows
from app.experiments.judging.running import judge_experiment, still_to_ask
from app.experiments.results.arrays import read_results
from app.experiments.results.table import aligned
from app.models.remote.registry import RemoteModels
from app.remote.address import endpoint_of
from app.settings import JUDGE_KEY, JUDGE_URL, Settings
from app.store import JudgementKind, KeptExperiment, RunStore
from engine.errors import InvalidRequestError
from engine.models import terminal_bar
from engine.types import PRECISIONS, Precision, Tier, is_remote

_MARKS = {State.PASSED: "passes", State.FAILED: "FAILS", State.UNKNOWN: "not known", State.NOTED: "no limit"}


def judge(options: argparse.Namespace) -> int:
    """Have the answers of ``options.experiment`` judged that ``options.model`` has not judged yet. Its verdicts count
    in the decision from then on.

    Raises:
        InvalidRequestError: there is no such experiment, or nothing to judge, or a limit or the budget is out of range.
        JudgeError: the judge cannot be asked, or answers nothing any more; what it said is kept.
        GearboxError: whatever else is in the way.
    """
    budget = Budget(options.judgements, 60.0 * options.minutes)
    kind = JudgementKind.PAIR if options.pairs else JudgementKind.SCORE
    if options.url:
        endpoint_of(options.url, JUDGE_KEY)
    settings = Settings.from_env({**os.environ, JUDGE_URL: options.url} if options.url else os.environ)
    with closing(RunStore.of(settings)) as store:
        kept = named(store.experiments.all(), options.experiment)
        limits = _limits(options, Judging.of(kept).limits)
        with _opened(options, settings, store, kept) as judge:
            _work(store, kept, judge, kind, budget)
            store.experiments.set_judging(kept.id, Judging(limits, (judge.id, kind)).to_dict())
        heard = read_hearing(store, read_results(store, kept.id))
    if heard.results.judged is None or heard.audit is None:
        raise InvalidRequestError(f"“{kept.name}” has no answer yet that could be judged.")
    if options.json:
        give_json(_tree(heard, heard.audit))
    else:
        give(_told(heard, heard.audit))
    return 0


def _work(store: RunStore, kept: KeptExperiment, judge: Judge, kind: JudgementKind, budget: Budget) -> None:
    waiting = still_to_ask(read_results(store, kept.id), kind, judge.id, store.experiments.judgements(kept.id))
    if not waiting:
        say("Of what is answered so far, this judge has been asked about everything.")
        return
    asked = min(budget.judgements, len(waiting))
    say(f"{units.counted(asked, 'question')} of {len(waiting):,} left. Ctrl+C stops; the same command goes on.")
    with terminal_bar(kept.name) as bar:
        judge_experiment(judge, store, kept.id, kind, budget, report_to(bar))


@contextmanager
def _opened(options: argparse.Namespace, settings: Settings, store: RunStore, kept: KeptExperiment) -> Iterator[Judge]:
    remotes = RemoteModels.of(settings, store)
    if options.url and settings.judge_url:  # asked first: it may have models whose names begin with an @
        asked = ServerJudge(settings.judge_url, options.model, settings.judge_key)
        say(f"Prompts and answers are sent to {asked.host}.")
        yield asked
        return
    if is_remote(options.model):
        if (remote := remotes.resolve(options.model)) is None:
            raise InvalidRequestError(
                f"There is no server {options.model}: `gearbox servers list` shows those there are."
            )
        added = ServerJudge.of(remote)
        say(f"Prompts and answers are sent to {added.host}.")
        yield added
        return
    with closing(open_engine(settings, remotes.resolve)) as engine:
        yield LocalJudge.installed(engine, _tier(options.model), f"judge {kept.id}")


def _tier(model: str) -> Tier:
    """A model as ``model@precision``, or in 4 bits."""
    name, at, precision = model.rpartition("@")
    if not at:
        return Tier(model=model, precision=Precision.INT4)
    if precision not in list(PRECISIONS):
        raise InvalidRequestError(f"--model has the precision “{precision[:60]}”. There are: {', '.join(PRECISIONS)}.")
    return Tier(model=name, precision=Precision(precision))


def _limits(options: argparse.Namespace, kept: Limits) -> Limits:
    """Those kept with the experiment, and what was given instead."""
    given = {name: getattr(options, name) for name in asdict(kept)}
    return replace(kept, **{name: value for name, value in given.items() if value is not None})


# --- what is printed --------------------------------------------------------------------------------------


def _told(heard: Hearing, audit: Audit) -> str:
    """Scores, and the audit beside them: never the one without the other."""
    found = heard.results.judged
    assert found is not None
    title = "Preferred" if found.pairwise else "Score"
    scores = [["Configuration", f"{title}, no checker", f"{title}, with one", "Judged"]]
    for row in judged_rows(heard.results):
        scores.append([row.name, units.percent(row.unchecked, 1), units.percent(row.checked, 1), f"{row.prompts:,}"])
    checks = [[f"Audit of {found.judge}", "", "Found", "Limit", "On"]]
    checks += [
        [each.name, _MARKS[each.state], each.value, each.limit, each.detail]
        for each in audit.checks(heard.judging.limits)
    ]
    return f"{aligned(scores)}\n{aligned(checks, left=5)}\n{found.audit}\nCost: {audit.cost}.\n"


def _tree(heard: Hearing, audit: Audit) -> dict[str, Any]:
    found, limits = heard.results.judged, heard.judging.limits
    assert found is not None
    return {
        "experiment": heard.results.kept.id,
        "judge": found.judge,
        "kind": str(heard.kind),
        "scores": [
            {"name": row.name, "no_checker": row.unchecked, "with_checker": row.checked, "judged": row.prompts}
            for row in judged_rows(heard.results)
        ],
        "audit": [
            {"figure": each.name, "state": str(each.state), "found": each.value, "limit": each.limit, "on": each.detail}
            for each in audit.checks(limits)
        ],
        "limits": asdict(limits),
        "concerns": list(found.concerns),
        "cautions": list(found.cautions),
        "questions": audit.asked,
        "seconds": audit.seconds,
        "prompt_tokens": audit.prompt_tokens,
        "completion_tokens": audit.completion_tokens,
    }
