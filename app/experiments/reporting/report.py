"""An experiment's verdict as a report: what it rests on, what it holds for, and how to make it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from app import units
from app.experiments.planning.design import Design, NamedConfiguration
from app.experiments.planning.writing import design_toml, file_stem, own_prompts, own_prompts_name
from app.experiments.reporting.costs import costs_table, day_section
from app.experiments.reporting.day import Day
from app.experiments.reporting.evidence import Evidence
from app.experiments.reporting.gears import gears_section
from app.experiments.results.arrays import Results
from app.experiments.results.divergence import UNIT, Kld
from app.experiments.results.figures import Figures
from app.experiments.verdicts.decision import Answer, Decision
from app.experiments.verdicts.verdict import TOO_FEW_TEMPLATES, QualityVerdict
from app.experiments.verdicts.waterfall import Waterfall
from app.reports.report import Attachment, Chart, Flip, Mark, Report, Section, Shape, Table, Tone, Value
from app.store import machine_words

_TONES = {Answer.YES: Tone.GOOD, Answer.NO: Tone.BAD}
_MOST_SLICES = 12
_LONGEST_TEXT = 4_000
"""Characters of a prompt or an answer."""
_KLD_NOTE = "KLD from 16 bits, a mean along the baseline's answers: how alike two models are, not how good."
_DIGITS = 16
"""Of a hash."""
_FACTS = (
    ("platform", "System"), ("device", "Device"), ("python", "Python"), ("torch", "PyTorch"),
    ("transformers", "Transformers"), ("git_commit", "Gearbox"),
)  # fmt: skip


def experiment_report(
    results: Results,
    decision: Decision,
    figures: Sequence[Figures],
    evidence: Evidence,
    *,
    day: Day,
    categories: Sequence[str],
    made_at: datetime,
    waterfalls: Sequence[Waterfall] = (),
) -> Report:
    """A candidate's report.

    Args:
        results: of the experiment.
        decision: on the candidate.
        figures: of all configurations.
        evidence: what was read of its runs.
        day: what costs are reckoned with.
        categories: of the prompts that were looked at; empty for all.
        made_at: when.
        waterfalls: of an experiment over every set of gears.

    Raises:
        CostsError: a figure of the day is out of range.
    """
    kept, design = results.kept, results.design
    judged = design
    if decision.quality:
        judged = replace(design, margin_points=round(100 * decision.quality.shown.margin, 6))
    file = f"{file_stem(design.name)}.toml"
    prompts = {task.id: task.transcript for task in design.prompts}
    before, after = (
        next(each for each in figures if each.name == name) for name in (decision.baseline_name, decision.name)
    )
    return Report(
        title=f"Experiment “{kept.name}”",
        question=kept.question or kept.name,
        answer=decision.answer,
        tone=_TONES.get(decision.answer, Tone.OPEN),
        verdict=" ".join(decision.because),
        sections=tuple(
            section
            for section in (
                _quality(results, decision, categories),
                _speed(decision, before, after),
                gears_section(waterfalls, day.currency),
                day_section(before, after, day),
                _configurations(design.configurations, figures, day),
            )
            if section is not None
        ),
        baseline=decision.baseline_name,
        candidate=decision.name,
        flips=tuple(
            Flip(
                prompt=_cut(prompts[each.prompt_id]),
                baseline=_cut(each.baseline),
                candidate=_cut(each.candidate),
                gained=each.gained,
            )
            for each in evidence.flips
        ),
        environment=tuple(_origin(results, judged, evidence.environments)),
        reproduce=f"gearbox experiment run {file}",
        attachments=tuple(_attachments(judged, file)),
        made_at=made_at,
    )


# --- sections -----------------------------------------------------------------------------------------


def _quality(results: Results, decision: Decision, categories: Sequence[str]) -> Section:
    design = results.design
    only = f" Only prompts of: {', '.join(categories)}." if categories else ""
    said = [f"{units.counted(decision.prompts, 'prompt')} from {design.prompts_from}, answered by both.{only}"]
    if decision.likeness is None or isinstance(decision.kld, str):  # else the verdict has it
        said.append(decision.kld_text)
    if decision.turn:
        said.append(f"What would change it: {' '.join(decision.turn)}")
    charts = (_intervals(decision.quality),) if decision.quality else ()
    return Section(title="Quality", text=" ".join(said), charts=charts)


def _intervals(verdict: QualityVerdict) -> Chart:
    slices = sorted(verdict.slices, key=lambda each: each.difference)[:_MOST_SLICES]
    rows = [
        ("all prompts", verdict.prompts, verdict.difference, verdict.interval),
        *((each.category, each.prompts, each.difference, each.interval) for each in slices),
    ]
    differing = [each.category for each in slices if each.differs]
    return Chart(
        title=f"Quality of {verdict.name} against {verdict.baseline_name}",
        unit="points, with 95 % interval",
        shape=Shape.INTERVALS,
        values=tuple(
            Value(
                f"{name} ({count:,})",
                100 * difference,
                units.points_between(interval.low, interval.high) if interval else TOO_FEW_TEMPLATES,
                100 * interval.low if interval else None,
                100 * interval.high if interval else None,
            )
            for name, count, difference, interval in rows
        ),
        marks=(Mark(0.0, "no difference"), Mark(-100 * verdict.shown.margin, "margin")),
        note=(
            f"{units.percent(verdict.baseline, 1)} right before, {units.percent(verdict.candidate, 1)} after; "
            f"{len(verdict.lost):,} lost, {len(verdict.gained):,} gained. Pairs by prompt, a failure counts as wrong. "
            + (f"Shown to differ (Holm): {', '.join(differing)}." if differing else "No category is shown to differ.")
        ),
    )


def _speed(decision: Decision, before: Figures, after: Figures) -> Section | None:
    if before.e2e.p50 is None or after.e2e.p50 is None:
        return None
    figures = ("E2E", "TTFT", "TPOT")
    rows = [
        (
            each.name,
            *(units.seconds(value) for times in (each.e2e, each.ttft, each.tpot) for value in (times.p50, times.p95)),
        )
        for each in (before, after)
    ]
    disturbed = max(before.disturbed, after.disturbed)
    return Section(
        title="Speed",
        text=f"{decision.speed.text} {decision.first_token.text}",
        tables=(
            Table(
                title="Times with the engine alone, models warm",
                headers=("Configuration", *(f"{name} {at}" for name in figures for at in ("p50", "p95"))),
                rows=tuple(rows),
                note=f"Others held the processor: the times of {units.counted(disturbed, 'prompt')} are of disturbed "
                "runs alone, and how fast it is has to be seen on a quiet machine."
                if disturbed
                else "",
            ),
        ),
    )


def _configurations(configurations: Sequence[NamedConfiguration], figures: Sequence[Figures], day: Day) -> Section:
    costs, has_kld = costs_table(figures, day), any(isinstance(each.kld, Kld) for each in figures)

    def kld(each: Figures) -> tuple[str, ...]:
        return (units.divergence(each.kld.mean) if isinstance(each.kld, Kld) else units.MISSING,) if has_kld else ()

    kld_header = (f"KLD, {UNIT}",) if has_kld else ()
    times = ("E2E p50", "E2E p95", "TTFT p50", "Weights")
    return Section(
        title="Configurations",
        tables=(
            Table(
                headers=("Configuration", "Answered", "Failed", "Score", *kld_header, *times),
                rows=tuple(
                    (
                        each.name,
                        f"{each.prompts:,}",
                        f"{each.failed:,}",
                        units.percent(each.score, 1),
                        *kld(each),
                        units.seconds(each.e2e.p50),
                        units.seconds(each.e2e.p95),
                        units.seconds(each.ttft.p50),
                        units.memory(each.weights_bytes),
                    )
                    for each in figures
                ),
                note=_KLD_NOTE if has_kld else "",
            ),
            *((costs,) if costs else ()),
            Table(
                headers=("Configuration", "Settings"),
                rows=tuple((each.name, _settings(each)) for each in configurations),
            ),
        ),
    )


def _settings(configuration: NamedConfiguration) -> str:
    tree = configuration.asked.to_dict()
    others_say = ("max_tokens", "seed")
    tree["sampling"] = {name: value for name, value in tree["sampling"].items() if name not in others_say}
    tree |= tree.pop("optimization")
    return ", ".join(f"{name} {value}" for name, value in _flat(tree, ""))


def _flat(tree: Mapping[str, Any], within: str) -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", _written(value)


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(_written(each) for each in value.values() if each is not None)
    if isinstance(value, list | tuple):
        return " → ".join(map(_written, value)) or "none"
    return "none" if value in (None, "") else str(value)


# --- origin -------------------------------------------------------------------------------------------


def _origin(results: Results, design: Design, environments: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Names and values; of several machines or versions each."""
    if machines := dict.fromkeys(filter(None, map(machine_words, environments))):
        yield "Machine", "; ".join(machines)
    for key, name in _FACTS:
        if found := dict.fromkeys(str(each[key]) for each in environments if each.get(key)):
            yield name, "; ".join(found)
    for place, name in enumerate(results.names):
        cells = (cell for cell in results.cells if cell.key.configuration == place)
        if weights := dict.fromkeys(cell.weights_sha256[:_DIGITS] for cell in cells):
            yield f"Weights of {name}, sha256", ", ".join(weights)
    yield "Begun", f"{units.moment(results.kept.created_at)} UTC"
    yield "Repeats, seed, margin", f"{design.repeats:,}, {design.seed}, {design.margin_points:g} points"
    yield "Passes", ", ".join(design.passes)
    yield "Design, sha256", design.sha256[:_DIGITS]


def _attachments(design: Design, file: str) -> Iterator[Attachment]:
    yield Attachment(file, design_toml(design))
    if (prompts := own_prompts(design)) is not None:
        yield Attachment(own_prompts_name(design), prompts, written=False)


def _cut(text: str) -> str:
    left = len(text) - _LONGEST_TEXT
    return text if left <= 0 else f"{text[:_LONGEST_TEXT]}… ({units.counted(left, 'more character')})"
