"""What fewer bits change: each precision's next-token distributions beside those of the 16-bit model.

The 16-bit model answers the sample prompts greedily. Every precision then reads the same answers, and
is held against the 16-bit model at each of their tokens; :mod:`engine.evaluation.divergence` defines
the figures.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from engine import DivergenceStats, Engine, WindowDivergence, default_corpus, list_models
from engine.types import Precision
from tests.benchmarks.decode import MODELS
from tests.benchmarks.table import Row


def run(models_dir: Path) -> list[Row]:
    """Measure every installed model of the two small ones at every precision."""
    installed = {model.name for model in list_models(models_dir) if model.installed}
    with closing(Engine(models_dir)) as engine:
        return [row for model in MODELS if model in installed for row in _measure(engine, model)]


def _measure(engine: Engine, model: str) -> list[Row]:
    windows = engine.windows(model, default_corpus())
    rows: list[Row] = []
    for precision in Precision:
        parts = [engine.compare_window(model, precision, window) for window in windows]
        stats = DivergenceStats.from_tokens(WindowDivergence.concatenate(parts))
        rows.append(
            {
                "model": model,
                "precision": str(precision),
                "tokens": stats.tokens,
                "kld_mean": stats.kld_mean,
                "kld_p99": stats.kld_p99,
                "top1_agreement": stats.same_top,
                "ppl_ratio": stats.ppl_ratio,
                "delta_p_rms": stats.delta_p_rms,
            }
        )
    return rows
