"""An experiment's report as a page, from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from app.experiments.reporting.day import Day
from app.experiments.reporting.evidence import read_evidence
from app.experiments.reporting.report import experiment_report
from app.experiments.results.arrays import Measure, Results
from app.experiments.results.figures import figures_of
from app.experiments.verdicts.decision import decide
from app.experiments.verdicts.gears import gear_waterfalls
from app.reports.page import report_html
from app.store import RunStore
from engine.errors import InvalidRequestError


def report_page(
    store: RunStore,
    results: Results,
    candidate: int,
    *,
    margin_points: float,
    day: Day,
    categories: Sequence[str] = (),
) -> str:
    """A candidate's report as one HTML file.

    Args:
        store: where the runs are.
        results: of the experiment.
        candidate: its place among the configurations.
        margin_points: how many percentage points worse is still good enough.
        day: what costs are reckoned with.
        categories: whose prompts are looked at; empty for all.

    Raises:
        InvalidRequestError: there is nothing to hold against each other yet.
        CostsError: a figure of the day is out of range.
        StoreError: the database cannot be read.
    """
    among = np.isin(np.array(results.categories), list(categories) or list(results.categories))
    decision = decide(results, candidate, margin=margin_points / 100, among=among)
    if decision is None or candidate == results.design.baseline:
        raise InvalidRequestError("There is nothing to report yet: no prompt was answered by both configurations.")
    figures = figures_of(results, Measure.CHECKER if decision.quality else None, among)
    evidence = read_evidence(store, results, decision, candidate)
    return report_html(
        experiment_report(
            results,
            decision,
            figures,
            evidence,
            day=day,
            categories=categories,
            made_at=datetime.now(UTC),
            waterfalls=gear_waterfalls(results, among, day.per_hour),
        )
    )
