"""How runs compare, by one rule wherever it is said.

`noise` is what a machine's runs differ by themselves; `paired` decides between faster, slower and tied; `answers` says
where two answers are not of the same worth; `judging` puts all of it into words.
"""

from app.runs.verdict.answers import first_difference
from app.runs.verdict.judging import Tone, Verdict, gain, judge, ranged_gain
from app.runs.verdict.noise import UNMEASURED, Figure, Noise
from app.runs.verdict.outcome import Outcome
from app.runs.verdict.paired import Call, Paired, Rounds

__all__ = [
    "UNMEASURED",
    "Call",
    "Figure",
    "Noise",
    "Outcome",
    "Paired",
    "Rounds",
    "Tone",
    "Verdict",
    "first_difference",
    "gain",
    "judge",
    "ranged_gain",
]
