"""How much cheaper weights change: divergence from the 16-bit model, scored tasks, statistics.

Importing this loads no torch; the functions that need it do.
"""

from engine.evaluation.answers import AnswerDivergence, AnswerToken, FirstDifference, TokenChance
from engine.evaluation.corpus import Corpus, CorpusPrompt, Window, corpus_from, default_corpus, read_corpus
from engine.evaluation.divergence import DivergenceStats, WindowDivergence
from engine.evaluation.explanations import expected_words, explain_check
from engine.evaluation.judge import JUDGED, Graded, Verdict, quoted, verdict_of
from engine.evaluation.statistics import PairedOutcomes, compare_outcomes, wilson_interval
from engine.evaluation.tasks import MIXED_FILE, Task, check, load_tasks

__all__ = [
    "JUDGED",
    "MIXED_FILE",
    "AnswerDivergence",
    "AnswerToken",
    "Corpus",
    "CorpusPrompt",
    "DivergenceStats",
    "FirstDifference",
    "Graded",
    "PairedOutcomes",
    "Task",
    "TokenChance",
    "Verdict",
    "Window",
    "WindowDivergence",
    "check",
    "compare_outcomes",
    "corpus_from",
    "default_corpus",
    "expected_words",
    "explain_check",
    "load_tasks",
    "quoted",
    "read_corpus",
    "verdict_of",
    "wilson_interval",
]
