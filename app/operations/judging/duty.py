"""When live traffic is judged: in idle time, while there is something to judge and a budget for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from app.background.jobs import Report
from app.operations.idle.duties import Due
from app.operations.idle.giving_way import GaveWayError
from app.operations.judging.options import JudgingOptions
from app.operations.judging.running import Judging, Left
from app.store import UnderWayError

JOB = "judging live traffic"
PAGE = "judging"
LOOK_EVERY = timedelta(minutes=1)
LOOK_AGAIN_AFTER = timedelta(minutes=10)
"""Where nothing was found: to look takes reading a week's runs. Other choices have it looked at once."""
_TITLE = "Judging live traffic"


class JudgingDuty:
    """Judges a sample of stored runs in idle time."""

    key = JOB
    page = PAGE

    def __init__(
        self, judging: Callable[[], Judging], *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """For a server's engine and store."""
        self._judging, self._now = judging, now
        self._look_from = self._looked_at = datetime.min.replace(tzinfo=UTC)
        self._chosen: JudgingOptions | None = None

    def due(self) -> Due | None:
        """To judge what was not judged yet."""
        now, judging = self._now(), self._judging()
        options = JudgingOptions.kept(judging.store.options)
        if options == self._chosen and self._looked_at <= now < self._look_from:
            return None
        if not options.on or judging.store.judging.under_way or Left.of(judging.store, options, now).is_spent:
            return None
        self._chosen, self._looked_at, self._look_from = options, now, now + LOOK_EVERY
        if not any(judging.waiting(judging.open(each), options) for each in options.judges):
            self._look_from = now + LOOK_AGAIN_AFTER
            return None
        return Due(self._judge, _TITLE)

    def _judge(self, report: Report) -> None:
        try:
            self._judging().run(report)
        except GaveWayError:
            report("Gave way to whoever asked something", 1.0)
        except UnderWayError:
            report("Another server judges", 1.0)
