"""The Router lab's curve: quality against cost over all thresholds, and the figures that sum it up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import streamlit as st

from app import units
from app.router.choosing.study import Study
from app.router.choosing.verdict import spent
from app.router.lab import RouterLab
from app.session.labs import router as lab_session
from app.views.router.choosing.charts import Mark, Path, quality_against_cost
from app.views.router.choosing.times import in_costs, show_derived
from app.views.router.words import between, cost_of, reporting_prompts
from app.views.shared import charts
from engine.cascade import BoundaryData, Curve, RouterMetrics, ThresholdFigures

_UNSURE = "no interval: in too many draws the models' gap is none"


def show_curve(lab: RouterLab, study: Study) -> None:
    """The chart and the figures."""
    study = in_costs(lab, study)
    of = "seconds" if study.costs is None or study.costs.in_seconds else "cost"
    half, threshold = lab.reporting(study), lab_session.threshold(study)
    figures = lab.held_out(study, threshold)
    charts.show(
        quality_against_cost(
            [_router_path(half), _chance_path(half.data), _oracle_path(half)],
            _marks(half, figures),
            title=f"Quality against {spent(study)}",
            x=f"Mean {of} per prompt (less is better)",
            y="Mean score (more is better)",
        ),
        key="router-curve",
    )
    st.caption(f":material/fact_check: {reporting_prompts(study)}: the figures of Threshold and of saved profiles.")
    show_derived(study)
    st.caption(
        "The oracle knows both answers' scores beforehand. Chance sends prompts by lot, before anything is generated. "
        "A router that lets the small model try first pays for the tries it throws away: all up, it is slower than "
        "the large model alone."
    )
    st.caption(
        f":material/fact_check: Over all thresholds, on all {len(study.data):,} prompts; PGR here on those that report."
    )
    _show_metrics(lab.metrics(study), figures)


def _router_path(study: Study) -> Path:
    curve, written = Curve.of(study.data), cost_of(study)
    details = [
        f"threshold {'none' if threshold > 1 else f'{threshold:.3f}'}<br>{units.percent(share)} sent up<br>"
        f"score {units.percent(quality, 1)}<br>{written(cost)} per prompt"
        for threshold, share, quality, cost in zip(
            curve.thresholds, curve.share, curve.quality, curve.cost, strict=True
        )
    ]
    return Path(str(study.choice), curve.cost.tolist(), curve.quality.tolist(), details)


def _chance_path(data: BoundaryData) -> Path:
    share = np.linspace(0, 1, 21)
    cost = data.weak_cost.mean() + share * (data.strong_cost - data.weak_cost).mean()
    quality = data.weak_score.mean() + share * (data.strong_score - data.weak_score).mean()
    details = [
        f"{units.percent(part)} sent up<br>score {units.percent(score, 1)}"
        for part, score in zip(share, quality, strict=True)
    ]
    return Path("Chance", cost.tolist(), quality.tolist(), details, dash="dot")


def _oracle_path(study: Study) -> Path:
    oracle = study.with_oracle()
    curve = Curve.of(oracle)
    # at ½ and below nothing is gained by going up
    gains = curve.thresholds > 0.5
    kept = replace(curve, **{name: getattr(curve, name)[gains] for name in ("thresholds", "share", "quality", "cost")})
    return Path("Oracle", kept.cost.tolist(), kept.quality.tolist(), _details(kept.share, kept.quality), dash="dash")


def _details(share: Iterable[float], quality: Iterable[float]) -> list[str]:
    return [
        f"{units.percent(up)} sent up<br>score {units.percent(score, 1)}"
        for up, score in zip(share, quality, strict=True)
    ]


def _marks(study: Study, figures: ThresholdFigures) -> list[Mark]:
    data = study.data
    weak_cost, strong_cost = float(data.weak_cost.mean()), float(data.strong_cost.mean())

    written = cost_of(study)

    def said(quality: float, cost: float) -> str:
        return f"score {units.percent(quality, 1)}<br>{written(cost)} per prompt"

    return [
        Mark("Always small", weak_cost, figures.weak.value, "square", said(figures.weak.value, weak_cost)),
        Mark("Always large", strong_cost, figures.strong.value, "diamond", said(figures.strong.value, strong_cost)),
        Mark(
            f"Threshold {figures.threshold:.3f}",
            figures.cost.value,
            figures.quality.value,
            "star",
            said(figures.quality.value, figures.cost.value),
            figures.cost.interval,
            figures.quality.interval,
        ),
    ]


def _show_metrics(metrics: RouterMetrics, figures: ThresholdFigures) -> None:
    def share(value: float | None) -> str:
        return units.percent(value, 1)

    pgr = figures.pgr
    rows: list[tuple[str, float | None, tuple[float, float] | None, Callable[[float | None], str], str, str]] = [
        (
            "PGR here",
            pgr.value if pgr else None,
            pgr.interval if pgr else None,
            share,
            figures.pgr_reason,
            "At the threshold set, on the prompts that report: (quality − small) / (large − small).",
        ),
        (
            "APGR, ten budgets",
            metrics.apgr_mean,
            metrics.apgr_mean_interval,
            share,
            metrics.reason,
            "Mean PGR at strong-call shares of 10, 20, … 100 %. Chance gives 55 %.",
        ),
        (
            "APGR, area",
            metrics.apgr_area,
            metrics.apgr_area_interval,
            share,
            metrics.reason,
            "Area under PGR over all strong-call shares. Chance gives 50 %.",
        ),
        (
            "CPT(50 %)",
            metrics.cpt50,
            metrics.cpt50_interval,
            share,
            metrics.reason,
            "Least share of prompts to send up for half of the gap. Less is better.",
        ),
        (
            "CPT(80 %)",
            metrics.cpt80,
            metrics.cpt80_interval,
            share,
            metrics.reason,
            "Least share of prompts to send up for 80 % of the gap. Less is better.",
        ),
        (
            "AIQ",
            metrics.aiq,
            metrics.aiq_interval,
            share,
            "The large model is not dearer than the small one: there is no range of costs to average over.",
            "Mean score of the router's convex hull over costs from small to large.",
        ),
    ]
    st.dataframe(
        {
            "Figure": [row[0] for row in rows],
            "Value": [write(value) for _, value, _, write, _, _ in rows],
            "95 % interval": [
                between(*interval, share) if interval else "" if value is None else _UNSURE
                for _, value, interval, _, _, _ in rows
            ],
            "Says": [says if value is not None else f"Undefined. {why}" for _, value, _, _, why, says in rows],
        },
        hide_index=True,
        column_config={
            "Figure": st.column_config.TextColumn(pinned=True),
            "Says": st.column_config.TextColumn(width="large"),
        },
        alt="The router's figures over all thresholds",
    )
