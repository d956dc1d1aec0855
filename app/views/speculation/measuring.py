"""What the Speculation lab's sections share: the kept results of a model, and the button that measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from app import resources
from app.background.jobs import Report
from app.environment import measured_here
from app.estimates import answer_times
from app.runs.prompts import SamplePrompt
from app.speculation.figures import Summary
from app.speculation.lab import MAX_TOKENS, PAIRS, lab_request, prompt_sha256
from app.speculation.measuring import measure_drafters
from app.store import DraftFigures
from app.views.reports.disturbance import WORD as DISTURBED
from app.views.shared.background_job import BackgroundJob
from app.views.shared.sizes import Size, choose_size
from engine.errors import InvalidRequestError
from engine.types import Precision, SpeculationConfig

Known = Mapping[tuple[str, str], DraftFigures]


def known_figures(model: str, precision: Precision) -> Known:
    """By configuration and prompt, what was measured on this machine under the weights that were measured last.

    Raises:
        StoreError: the run database cannot be read.
    """
    device = resources.get_engine().status().device
    found = resources.get_store().drafts.results(model, precision)
    results = [result for result in found if measured_here(result.environment, device)]
    return {
        (result.config_hash, result.prompt_sha256): result.figures
        for result in results
        if result.weights_sha256 == results[-1].weights_sha256
    }


def figures_of(
    known: Known,
    model: str,
    precision: Precision,
    speculation: SpeculationConfig,
    prompts: Sequence[SamplePrompt],
) -> list[DraftFigures]:
    """What is known of a drafter on some prompts, in their order; those not measured are left out."""
    try:
        config_hash = lab_request(prompts[0], model, precision, speculation).config.hash
    except InvalidRequestError:  # a drafter that does not fit this precision was never measured
        return []
    return [known[key] for prompt in prompts if (key := (config_hash, prompt_sha256(prompt))) in known]


def disturbed_column(summaries: Sequence[Summary | None]) -> dict[str, list[str | None]]:
    """A column that says on how many prompts others disturbed a speed-up; none where they disturbed nothing."""
    marks = [f"{s.disturbed} of {s.prompts} prompts" if s and s.disturbed else None for s in summaries]
    return {DISTURBED: marks} if any(marks) else {}


def measuring_job(name: str, model: str, precision: Precision) -> BackgroundJob:
    """The background job of a section."""
    return BackgroundJob(f"speculation {name} {model} {precision}", title=f"Measuring drafters for {model} {precision}")


@dataclass(frozen=True, slots=True)
class Amount:
    """What one size measures: every drafter on every prompt."""

    speculations: Sequence[SpeculationConfig]
    prompts: Sequence[SamplePrompt]


def choose_amount(
    name: str,
    model: str,
    precision: Precision,
    sizes: Mapping[str, Amount],
    known: Known,
    *,
    first: str,
    draft_lengths: bool = False,
) -> Amount:
    """What the size that is chosen measures.

    Args:
        name: of the section; begins the widget's key.
        model, precision: what is drafted for.
        sizes: by their names, from the smallest to the largest.
        known: what is there already.
        first: the size that is chosen at first.
        draft_lengths: whether sizes differ by their drafters, one for each draft length, instead of their prompts.

    Raises:
        StoreError: the run database cannot be read.
    """
    time = answer_times(resources.get_store(), model, resources.get_engine().status().device).get(precision)

    def size_of(size: str, its: Amount) -> Size:
        left = [
            prompt
            for each in its.speculations
            for prompt in its.prompts
            if not figures_of(known, model, precision, each, [prompt])
        ]
        seconds = None
        if time:
            answers_s = sum(2 * PAIRS * time.seconds(each.system + each.prompt, MAX_TOKENS) for each in left)
            seconds = (time.load_s or 0.0) + answers_s
        count, noun = (len(its.speculations), "draft length") if draft_lengths else (len(its.prompts), "prompt")
        return Size(size, count, noun, len(left) or int(not its.speculations), seconds)

    offered = [size_of(size, its) for size, its in sizes.items()]
    busy = measuring_job(name, model, precision).running
    return sizes[choose_size(offered, key=f"speculation-{name}-size", first=first, disabled=busy).name]


def measure(
    name: str,
    model: str,
    precision: Precision,
    speculations: Sequence[SpeculationConfig],
    prompts: Sequence[SamplePrompt],
    known: Known,
) -> None:
    """The button and the progress of a measurement, which goes on in the background whoever looks.

    Args:
        name: of the section; begins the button's key.
        model, precision: what is drafted for.
        speculations: who drafts.
        prompts: what is answered.
        known: what is there already.
    """
    job = measuring_job(name, model, precision)
    done = sum(len(figures_of(known, model, precision, each, prompts)) for each in speculations)
    again = done > 0 and done == len(speculations) * len(prompts)
    if job.start_button(
        "Measure",
        key=f"speculation-{name}-run",
        begun=done > 0,
        again=again,
        why_not="" if speculations else "Choose a drafter to measure.",
        help="Each prompt is answered plainly and with drafts by turns; medians count. What is known is not asked "
        "again, unless all is.",
    ):
        work = partial(
            measure_drafters,
            resources.get_engine(),
            resources.get_store().drafts,
            model,
            precision,
            speculations,
            prompts,
            again=again,
        )

        def work_and_look_again(report: Report) -> None:
            work(report)
            choices.refresh(model, precision)

        choices = resources.get_drafter_choices()
        job.start(work_and_look_again)
    job.follow(lambda: len(known_figures(model, precision)))
