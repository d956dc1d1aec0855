"""Speculative decoding (arXiv:2211.17192, arXiv:2302.01318): cheap proposals, verified by the model in one pass."""

from engine.speculation.answer_drafter import AnswerDrafter
from engine.speculation.controller import Controller, expected_tokens, predicted_speedup
from engine.speculation.drafters import DraftedRun, DraftingWeights, draft_source
from engine.speculation.drafts import NO_DRAFT, Draft, DraftSource
from engine.speculation.model_drafter import ModelDrafter, SharedKVDrafter
from engine.speculation.ngram import NgramDrafter
from engine.speculation.speculator import ANSWER, Candidate, PassTime, Speculator
from engine.speculation.step_times import StepTimes

__all__ = [
    "ANSWER",
    "NO_DRAFT",
    "AnswerDrafter",
    "Candidate",
    "Controller",
    "Draft",
    "DraftSource",
    "DraftedRun",
    "DraftingWeights",
    "ModelDrafter",
    "NgramDrafter",
    "PassTime",
    "SharedKVDrafter",
    "Speculator",
    "StepTimes",
    "draft_source",
    "expected_tokens",
    "predicted_speedup",
]
