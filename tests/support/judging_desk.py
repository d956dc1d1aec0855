"""Judging with judges that say what a test tells them to."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.experiments.judging.judge import Judge
from app.experiments.judging.prompts import Asked, Opinion
from app.operations.judging.options import Judged, JudgingOptions
from app.operations.judging.running import Judging
from app.store import JudgeId, RunStore
from tests.support.golden import Versions
from tests.support.judging import ScriptedJudge

LOCAL, SERVER = Judged("small", "int4"), Judged("large", None)


@dataclass
class Desk:
    """A store with traffic, and judges that say what a test tells them to."""

    store: RunStore
    engine: Versions = field(default_factory=Versions)
    judges: dict[str, ScriptedJudge] = field(default_factory=dict)

    def judge(self, script: object, name: str = "small") -> ScriptedJudge:
        made = ScriptedJudge(script, id=JudgeId(name, "", 1))  # type: ignore[arg-type]
        self.judges[name] = made
        return made

    def choose(self, **given: object) -> None:
        free = {"read_price": 0.0, "written_price": 0.0}
        JudgingOptions(**{"on": True, "judge": LOCAL, "share": 1.0, **free, **given}).keep(self.store.options)  # type: ignore[arg-type]

    @property
    def judging(self) -> Judging:
        return Judging(engine=self.engine, store=self.store, open=self._open, per_hour=3600.0)

    def _open(self, judged: Judged) -> Judge:
        return self.judges[judged.model]


def good(asked: Asked) -> str:
    """What a judge says that likes an answer."""
    return asked.reply(Opinion(0.8, "It does."))
