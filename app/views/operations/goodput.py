"""What goodput was over time, for the chart of requests."""

from __future__ import annotations

from app.operations.objectives.attainment import goodput_over_time
from app.store import Overview, RunFilter, RunStore
from app.views.shared.clock import now


def good_requests(store: RunStore, filter: RunFilter, seen: Overview) -> list[float | None] | None:
    """Requests of each stretch that met every objective as they are today; ``None`` of stretches without requests, of
    which runs were pruned, or which are still to be summed up; and without any objective in place of all.

    Args:
        store: as the viewer sees it.
        filter: which runs; its own beginning and end are not asked.
        seen: the same runs' figures.

    Raises:
        StoreError: the database cannot be used.
    """
    objectives = store.objectives.all()
    if not objectives:
        return None
    counted = goodput_over_time(store.objectives, objectives, filter, seen.edges, now())
    pruned = store.retention.pruned
    known_from = seen.edges[0]
    if pruned is not None:
        known_from = max(known_from, pruned.before)
    if seen.missing is not None:
        known_from = max(known_from, seen.missing.until)
    whole = [start >= known_from for start in seen.edges[:-1]]
    return [each.total - each.bad if each.total and known else None for each, known in zip(counted, whole, strict=True)]
