"""An experiment's figures as a table of texts, for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from app import units
from app.experiments.results.arrays import Floats, Measure, Results
from app.experiments.results.divergence import Kld, kld_of
from app.store import Pass

_GAP = "  "


def table_of(results: Results) -> str:
    """A line a configuration, the baseline marked; means over prompts, percentiles of their times. Ends with a line
    break."""
    return aligned([_head(results), *(_row(results, place) for place in range(len(results.names)))])


def aligned(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Rows of texts as lines, each with a line break.

    Args:
        rows: each with as many texts as the first, which is the head.
        left: so many of the first columns stand to the left, the others, figures, to the right.
    """
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return "".join(_line(row, widths, left) for row in rows)


def _head(results: Results) -> list[str]:
    head = ["Configuration", "Answered", "Failed", *map(_title, results.measures)]
    if _has_kld(results):
        head.append("KLD per token")
    if Pass.SPEED in results.design.passes:
        head += ["E2E p50", "E2E p95", "TTFT p50", "TPOT p50", "Disturbed"]
    return head


def _row(results: Results, place: int) -> list[str]:
    name = results.names[place] + (" (baseline)" if place == results.design.baseline else "")
    answered, count = int(results.answered_by(place).sum()), len(results.prompt_ids)
    row = [name, f"{answered:,} of {count:,}", f"{int(results.failed[place].sum()):,}"]
    for measure in results.measures:
        scores = results.scores(measure)[place]
        row.append(units.percent(None if np.isnan(scores).all() else float(np.nanmean(scores)), 1))
    if _has_kld(results):
        kld = kld_of(results, place, np.ones(len(results.prompt_ids), dtype=bool))
        row.append(units.divergence(kld.mean) if isinstance(kld, Kld) else units.MISSING)
    if Pass.SPEED in results.design.passes:
        e2e_s, ttft_s, tpot_s = (each[place] for each in (results.e2e_s, results.ttft_s, results.tpot_s))
        row += [_percentile(e2e_s, 50), _percentile(e2e_s, 95), _percentile(ttft_s, 50), _percentile(tpot_s, 50)]
        row.append(f"{int(results.disturbed[place].sum()):,}")
    return row


def _has_kld(results: Results) -> bool:
    return bool(np.isfinite(results.kld_nats).any())


def _title(measure: Measure) -> str:
    return {
        Measure.CHECKER: "Right",
        Measure.JUDGE: "Judged",
        Measure.WORD_F1: "Word F1",
        Measure.SAME_TEXT: "Same text",
    }[measure]


def _percentile(seconds: Floats, percent: float) -> str:
    known = seconds[~np.isnan(seconds)]
    return units.seconds(float(np.percentile(known, percent)) if len(known) else None)


def _line(row: Sequence[str], widths: Sequence[int], left: int) -> str:
    gaps = [" " * (width - _width(text)) for text, width in zip(row, widths, strict=True)]
    both = enumerate(zip(row, gaps, strict=True))
    return _GAP.join(text + gap if place < left else gap + text for place, (text, gap) in both).rstrip() + "\n"


def _width(text: str) -> int:
    """Columns of a terminal."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
