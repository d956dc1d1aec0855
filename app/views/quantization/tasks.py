"""The lab on tasks: what cheaper weights get right and wrong, so that equal scores hide no changed answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st

from app import resources, units
from app.estimates import AnswerTime, answer_times
from app.literal import literal
from app.prompts.choosing import some_of_each
from app.quantization.tasks import measure_tasks, tasks_sha256
from app.runs.together import sooner_on
from app.store import LabStore, TaskAnswer, TaskResult
from app.views.gears.precisions import choose_precisions, quantized_precisions
from app.views.shared.background_job import BackgroundJob
from app.views.shared.reasons import show_reason
from app.views.shared.sizes import Size, choose_size
from engine import Task, compare_outcomes, expected_words, load_tasks, wilson_interval
from engine.types import Precision

_SHOWN = "lab-tasks-shown"


def show_task_lab(model: str, lab: LabStore) -> None:
    """What to measure, how far it is, the scores, and the answers that flipped."""
    tasks = load_tasks()
    job = BackgroundJob(f"quantization tasks {model}", title=f"Measuring {model} on tasks")
    results = read_results(lab, model, tasks)
    others = quantized_precisions()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        help_text = "Each is compared with 16 bits."
        chosen = choose_precisions("lab-tasks-precisions", others, help_text, disabled=job.running)
    precisions = [Precision.BF16, *chosen]
    size = _choose_size(model, tasks, precisions, results, job)
    _measure(model, lab, job, tasks, size, precisions, results)

    sizes = sizes_of(tasks)

    def finished() -> int:
        known = read_results(lab, model, tasks).values()
        return sum(_answered(result, each) for result in known for each in sizes.values())

    job.follow(finished)
    plain = results.get(Precision.BF16)
    if not results and not job.running:
        st.info(
            f"Nothing was measured for {literal(model)} yet. {len(tasks)} short tasks are answered greedily in 16 bits "
            "and in each precision, and checked. Two precisions can score alike and still get different tasks right: "
            "the lab counts the answers that flipped, and lists them."
        )
    if plain is None:
        return
    for name, answered in reversed(sizes.items()):
        measured = [results[p] for p in (Precision.BF16, *others) if p in results and _answered(results[p], answered)]
        if plain in measured and (len(measured) > 1 or len(answered) == len(tasks)):
            if len(answered) < len(tasks):
                st.caption(
                    f":material/data_thresholding: {name}: on {len(answered)} of {len(tasks)} tasks. A larger size "
                    "goes on from these, and tells smaller differences."
                )
            _show_scores(measured, plain, answered)
            _show_flips(measured, plain, answered)
            return


def sizes_of(tasks: Sequence[Task]) -> dict[str, Sequence[Task]]:
    """The tasks of each size, from the smallest to the largest."""
    return {"Quick": some_of_each(tasks, 2), "Standard": some_of_each(tasks, 6), "Full": tasks}


def read_results(lab: LabStore, model: str, tasks: Sequence[Task]) -> Mapping[str, TaskResult]:
    """What is known of each precision on these tasks, under the weights that were measured last.

    Raises:
        StoreError: the run database cannot be read.
    """
    wanted = tasks_sha256(tasks)
    results = [result for result in lab.task_results(model) if result.tasks_sha256 == wanted]
    return {r.precision: r for r in results if r.weights_sha256 == results[0].weights_sha256}


def _answered(result: TaskResult, tasks: Sequence[Task]) -> bool:
    return all(task.id in result.answers for task in tasks)


def _choose_size(
    model: str,
    tasks: Sequence[Task],
    precisions: Sequence[Precision],
    results: Mapping[str, TaskResult],
    job: BackgroundJob,
) -> Sequence[Task]:
    device = resources.get_engine().status().device
    times, sooner = answer_times(resources.get_store(), model, device), sooner_on(device)

    def size_of(name: str, its: Sequence[Task]) -> Size:
        left = {
            precision: [task for task in its if precision not in results or task.id not in results[precision].answers]
            for precision in precisions
        }
        known = all(precision in times for precision, missing in left.items() if missing)
        seconds = None
        if known:
            seconds = sum(
                (times[precision].load_s or 0.0) + sum(_seconds(task, times[precision]) for task in missing) / sooner
                for precision, missing in left.items()
                if missing
            )
        return Size(name, len(its), "task", sum(map(len, left.values())), seconds)

    sizes = [size_of(name, its) for name, its in sizes_of(tasks).items()]
    return sizes_of(tasks)[choose_size(sizes, key="lab-tasks-size", first="Full", disabled=job.running).name]


def _seconds(task: Task, time: AnswerTime) -> float:
    """Of one task alone: answers are taken to be half as long as they may be."""
    return time.seconds(task.prompt, task.max_tokens / 2)


def _measure(
    model: str,
    lab: LabStore,
    job: BackgroundJob,
    tasks: Sequence[Task],
    size: Sequence[Task],
    precisions: Sequence[Precision],
    results: Mapping[str, TaskResult],
) -> None:
    known = [results.get(precision) for precision in precisions]
    again = all(result and result.finished for result in known)
    measured = not again and all(result and _answered(result, size) for result in known)
    if job.start_button(
        "Measure",
        key="lab-tasks-run",
        begun=any(known),
        again=again,
        why_not="Choose a precision to compare with 16 bits."
        if len(precisions) < 2
        else "This size is measured. Choose a larger one to go on."
        if measured
        else "",
        help="All of these were measured already; the earlier answers stay in the database."
        if again
        else "What was answered before is not asked again.",
    ):
        job.start(
            partial(
                measure_tasks,
                resources.get_engine(),
                lab,
                model,
                precisions,
                tasks,
                only=None if again else size,
                again=again,
            )
        )


def _outcomes(result: TaskResult, tasks: Sequence[Task]) -> list[bool]:
    return [result.answers[task.id].right for task in tasks]


def _show_scores(measured: Sequence[TaskResult], plain: TaskResult, tasks: Sequence[Task]) -> None:
    before = _outcomes(plain, tasks)
    columns: dict[str, list[object]] = {
        name: []
        for name in ("Precision", "Accuracy (95 % interval)", "Right", "Lost", "Gained", "Flips", "McNemar's p")
    }
    for result in measured:
        after = _outcomes(result, tasks)
        low, high = wilson_interval(sum(after), len(after))
        paired = compare_outcomes(before, after)
        is_plain = result is plain
        row = (
            result.precision,
            f"{units.percent(sum(after) / len(after))} ({units.percent(low)} to {units.percent(high)})",
            f"{sum(after)} of {len(after)}",
            None if is_plain else paired.lost,
            None if is_plain else paired.gained,
            None if is_plain else paired.flips,
            None if is_plain else paired.p_value,
        )
        for name, value in zip(columns, row, strict=True):
            columns[name].append(value)
    column = st.column_config
    st.dataframe(
        columns,
        hide_index=True,
        placeholder=units.MISSING,
        column_config={
            "Precision": column.TextColumn(pinned=True),
            "Lost": column.NumberColumn(help="Right in 16 bits, wrong here."),
            "Gained": column.NumberColumn(help="Wrong in 16 bits, right here."),
            "Flips": column.NumberColumn(help="Answers whose correctness changed, in either direction."),
            "McNemar's p": column.NumberColumn(
                format="%.3f",
                help="How often chance alone would split the flips as unevenly as this (exact test, two-sided). "
                "A small value says that the precision really is better or worse at these tasks.",
            ),
        },
        alt="Accuracy by precision",
    )


def _show_flips(measured: Sequence[TaskResult], plain: TaskResult, tasks: Sequence[Task]) -> None:
    others = {result.precision: result for result in measured if result is not plain}
    if not others:
        return
    st.subheader("Answers that flipped", anchor=False)
    chosen = st.segmented_control(
        "In", list(others), default=next(iter(others)), required=True, key=_SHOWN, label_visibility="collapsed"
    )
    other = others.get(chosen or "", next(iter(others.values())))
    flipped = [task for task in tasks if plain.answers[task.id].right != other.answers[task.id].right]
    if not flipped:
        st.caption(f"None: {other.precision} gets the same tasks right and wrong as 16 bits.")
    for task in flipped:
        with st.container(border=True):
            st.caption(literal(task.category))
            st.text(task.prompt)
            st.text(f"Expected ({task.checker}): {expected_words(task)}")
            left, right = st.columns(2)
            with left:
                _show_answer("16 bits", task, plain.answers[task.id])
            with right:
                _show_answer(other.precision, task, other.answers[task.id])


def _show_answer(name: str, task: Task, answer: TaskAnswer) -> None:
    icon, colour, word = (
        (":material/check:", "green", "right") if answer.right else (":material/close:", "red", "wrong")
    )
    st.badge(f"{name}: {word}", icon=icon, color=colour)  # type: ignore[arg-type]
    st.text(answer.text or "(nothing)")
    show_reason(task, answer.text)
