"""Adding runs to the sums of a quarter of an hour of which others were pruned: it cannot be summed up again.

Such runs are begun where the clock was set back, or end late.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

import numpy as np
from sqlalchemy.orm import Session

from app.store.runs.rollups.buckets import QUARTER, WIDTH_US
from app.store.runs.rollups.covering import RUNS
from app.store.runs.rollups.packing import pack, unpack
from app.store.runs.rollups.parts import Parts
from app.store.runs.rollups.schema import RunBucket, RunRollup
from app.store.runs.schema import Run


def add(session: Session, run_ids: Collection[str]) -> None:
    """Add runs that have just ended, as their rows have them, in the transaction of that. Those of quarters of an hour
    of which nothing was pruned are left to be summed up."""
    rows = session.execute(RUNS.where(Run.id.in_(run_ids)).order_by(Run.created_at)).all()
    for number, some in groupby(rows, lambda row: int(row.created_us) // WIDTH_US):
        bucket = session.get(RunBucket, number, with_for_update=True)
        made = session.get(RunRollup, (QUARTER, number), with_for_update=True)
        if bucket is None or bucket.pruned_at is None or made is None:
            continue
        late = list(some)
        parts = Parts.together([unpack(made.payload, 0), Parts.of_runs(late, np.zeros(len(late), dtype=np.int64))])
        bucket.changes += len(late)  # so that the hour and the day are summed up anew
        made.changes, made.payload = bucket.changes, pack(parts.added_up())
