"""The cascade's arithmetic: what a router looks at, how it scores, what its thresholds give and cost.

Pure functions of recorded answers: no model runs here. scikit-learn and scipy are loaded where a router is
learned or a bound is computed, not before. Everything is about one *boundary* of a ladder: a smaller ("weak")
and a larger ("strong") tier.
"""

from engine.cascade.choosing.evidence import Evidence, profile_from_json, profile_to_json
from engine.cascade.choosing.ladder_selection import LadderSelection, select_ladder
from engine.cascade.choosing.selection import Selection, half_rows, halves, select, stratified_parts
from engine.cascade.reporting.boundary import BoundaryData, Curve
from engine.cascade.reporting.consistency import TierAgreement, changes_tier
from engine.cascade.reporting.costs import Costs, Rates
from engine.cascade.reporting.figures import Figure, ThresholdFigures
from engine.cascade.reporting.intervals import Resampling
from engine.cascade.reporting.ladder_figures import LadderFigures
from engine.cascade.reporting.metrics import RouterMetrics, oracle_quality, quality_at_share, random_quality
from engine.cascade.routing.calibration import Drift, Reliability, ScoreReference, signal_strengths
from engine.cascade.routing.guard import Guard, Guards
from engine.cascade.routing.profiles import RouterProfile, TierIdentity, routers_of
from engine.cascade.routing.promise import KeepQuality, Promise, RiskAtMost, SpendAtMost, Target
from engine.cascade.routing.records import (
    RoutedPrompt,
    TierAnswer,
    data_hash,
    read_prompts,
    scored_by_both,
    tier_answer,
    write_prompts,
)
from engine.cascade.routing.routers import AlwaysSmall, BoundaryRouter, Judged, Look, Router, router_class
from engine.cascade.routing.scores import (
    Learned,
    LogisticWeights,
    SureBand,
    answering_tier,
    default_answer_score,
    default_prompt_score,
    escalates,
    hybrid_score,
    learn,
    needs_larger,
    oracle_score,
    random_score,
)
from engine.cascade.routing.signals import FeatureTable, answer_table, prompt_table, reading_table
from engine.types import NEVER, RouterKind

__all__ = [
    "NEVER",
    "AlwaysSmall",
    "BoundaryData",
    "BoundaryRouter",
    "Costs",
    "Curve",
    "Drift",
    "Evidence",
    "FeatureTable",
    "Figure",
    "Guard",
    "Guards",
    "Judged",
    "KeepQuality",
    "LadderFigures",
    "LadderSelection",
    "Learned",
    "LogisticWeights",
    "Look",
    "Promise",
    "Rates",
    "Reliability",
    "Resampling",
    "RiskAtMost",
    "RoutedPrompt",
    "Router",
    "RouterKind",
    "RouterMetrics",
    "RouterProfile",
    "ScoreReference",
    "Selection",
    "SpendAtMost",
    "SureBand",
    "Target",
    "ThresholdFigures",
    "TierAgreement",
    "TierAnswer",
    "TierIdentity",
    "answer_table",
    "answering_tier",
    "changes_tier",
    "data_hash",
    "default_answer_score",
    "default_prompt_score",
    "escalates",
    "half_rows",
    "halves",
    "hybrid_score",
    "learn",
    "needs_larger",
    "oracle_quality",
    "oracle_score",
    "profile_from_json",
    "profile_to_json",
    "prompt_table",
    "quality_at_share",
    "random_quality",
    "random_score",
    "read_prompts",
    "reading_table",
    "router_class",
    "routers_of",
    "scored_by_both",
    "select",
    "select_ladder",
    "signal_strengths",
    "stratified_parts",
    "tier_answer",
    "write_prompts",
]
