"""What the Router lab says of a choice, in words."""

from __future__ import annotations

from app import units
from engine.cascade import Promise


def promise_mark(promise: Promise | None) -> str:
    """What to write beside a threshold wherever it is used: empty where its promise is shown or it makes none."""
    if promise is None or promise.shown:
        return ""
    if promise.more_prompts is None:
        return "not shown"
    return f"not shown yet, about {units.count(promise.more_prompts)} more prompts"


def promise_in_words(promise: Promise) -> str:
    """What is promised: "keep at least 95 % of the large model's score (90 % confidence)"."""
    share, sure = units.percent(promise.share), f"{units.percent(promise.confidence)} confidence"
    match promise.kind:
        case "quality":
            return f"keep at least {share} of the large model's score ({sure})"
        case "cost":
            return f"take at most {share} of the large model's time ({sure})"
        case "risk":
            return f"at most {share} of prompts keep a worse answer ({sure})"
