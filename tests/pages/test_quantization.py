"""The Quantization lab, opened through the entry: empty, running, full, failed, and with the alarm raised."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

import engine as engine_package
from app import resources
from app.background.jobs import Jobs
from app.quantization.corpus import measure_corpus
from app.quantization.tasks import measure_tasks
from app.store import AlarmLimits, RunStore
from app.views.quantization import tasks as lab_tasks
from engine import Corpus, Task, default_corpus
from engine.errors import GearboxError
from engine.types import CPU_PRECISIONS, Precision
from tests.support.fakes import FakeLabEngine
from tests.support.ui import open_app, texts

PAGE = "pages/quantization.py"
MODEL = "smollm2-135m"
CORPUS, TASKS = "On a corpus", "On tasks"
ALL = CPU_PRECISIONS

Open = Callable[..., AppTest]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs) -> Open:
    """Open the page on a section."""

    def open_lab(scripted: FakeLabEngine, section: str = "", *, installed: tuple[str, ...] = (MODEL,)) -> AppTest:
        models = [
            SimpleNamespace(
                name=MODEL,
                title=MODEL,
                in_catalog=True,
                installed=MODEL in installed,
                problem=None,
                provenance="dequantized from Q4_1",
                quantized_before=True,
            )
        ]
        monkeypatch.setattr(engine_package, "list_models", lambda _: models)
        monkeypatch.setattr(resources, "get_jobs", lambda: jobs)
        return open_app(monkeypatch, store, PAGE, {"measure": section} if section else None, engine=scripted)

    return open_lab


def finish(app: AppTest, jobs: Jobs) -> AppTest:
    """Wait for all jobs, and look again."""
    until = time.monotonic() + 30
    while any(thread.name.startswith("job ") for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.02)
    app.run()
    assert not app.exception
    return app


def words(app: AppTest) -> str:
    return texts(app, "info", "warning", "error", "caption", "markdown", "text", "subheader", "title")


def ignore(stage: str, fraction: float) -> None:
    """A job's report that nobody reads."""


# --- without anything -----------------------------------------------------------------------------


def test_without_a_model_the_page_shows_the_way_to_one(lab: Open) -> None:
    app = lab(FakeLabEngine(), installed=())
    assert "No model is installed yet" in app.info[0].value
    assert [link.proto.page for link in app.get("page_link")] == ["model-library"]
    assert not app.button


@pytest.mark.parametrize(
    ("section", "button", "says"),
    [
        ("", "lab-prompt-run", "the 16-bit model reads the same answer"),
        (CORPUS, "lab-corpus-run", "Nothing was measured for smollm2-135m on Gearbox's sample prompts"),
        (TASKS, "lab-tasks-run", "Nothing was measured for smollm2-135m yet"),
    ],
)
def test_an_empty_lab_says_what_it_does_and_offers_one_button(lab: Open, section: str, button: str, says: str) -> None:
    app = lab(FakeLabEngine(), section)
    assert says in app.info[0].value
    assert not app.button(key=button).disabled
    assert not app.dataframe


def test_the_page_says_what_16_bit_means(lab: Open) -> None:
    assert "“16-bit” of smollm2-135m is what the others are compared with: dequantized from Q4_1" in words(
        lab(FakeLabEngine())
    )


# --- on my prompt ---------------------------------------------------------------------------------


def test_a_prompt_is_compared_token_by_token(lab: Open, store: RunStore, jobs: Jobs) -> None:
    app = lab(
        FakeLabEngine([*["The", "sky", "scatters", "blue", "light", "in", "all", "directions."]], klds={"int4": 0.05})
    )
    app.button(key="lab-prompt-run").click().run()
    finish(app, jobs)
    figures = {metric.label: metric.value for metric in app.metric}
    assert figures["KLD mean"] == "0.0500 nats"
    assert figures["Top-1 flips"] == "1 of 8"
    assert "part at token 3: int4 wrote 'scatters' (41.0 %), 16 bits would have written ' reflects' (42.0 %)" in words(
        app
    )
    assert "A close call" in words(app)
    assert "Tokens per second" in figures
    assert not app.warning
    (run,) = store.page().rows
    assert run.precision == "int4"


def test_what_was_chosen_stays_chosen_while_it_runs_and_after(lab: Open, jobs: Jobs) -> None:
    app = lab(FakeLabEngine())
    app.segmented_control(key="lab-precision").set_value(Precision.NF4)
    app.text_area(key="lab-prompt").set_value("What is rain?")
    app.button(key="lab-prompt-run").click().run()
    finish(app, jobs)
    assert app.segmented_control(key="lab-precision").value == Precision.NF4
    assert app.text_area(key="lab-prompt").value == "What is rain?"
    assert "smollm2-135m in nf4" in words(app)


def test_an_answer_beyond_the_limits_raises_the_alarm(lab: Open, jobs: Jobs) -> None:
    app = lab(FakeLabEngine(klds={"int4": 0.4}))
    app.button(key="lab-prompt-run").click().run()
    finish(app, jobs)
    assert "Degradation alarm: KLD mean 0.4 nats (limit 0.15)" in app.warning[0].value


def test_an_empty_prompt_is_refused_in_words(lab: Open, jobs: Jobs) -> None:
    app = lab(FakeLabEngine())
    app.text_area(key="lab-prompt").set_value("  ")
    app.button(key="lab-prompt-run").click().run()
    assert "The prompt is empty" in app.error[0].value
    assert not app.button(key="lab-prompt-run").disabled


def test_a_failure_is_shown_where_it_was_asked_for(lab: Open, jobs: Jobs) -> None:
    app = lab(FakeLabEngine(failure=GearboxError("The memory is full.")))
    app.button(key="lab-prompt-run").click().run()
    finish(app, jobs)
    assert app.error[0].value == "The memory is full."
    assert not app.button(key="lab-prompt-run").disabled


def test_while_a_prompt_runs_it_can_be_cancelled_and_the_page_answers(lab: Open, jobs: Jobs, store: RunStore) -> None:
    gate = threading.Event()
    app = lab(FakeLabEngine(gate=gate))
    app.button(key="lab-prompt-run").click().run()
    assert app.button(key="lab-prompt-run").disabled
    (cancel,) = (button for button in app.button if button.label == "Cancel")
    cancel.click().run()
    gate.set()
    finish(app, jobs)
    assert "Cancelled" in words(app)
    assert store.page().rows[0].status == "stopped"


# --- on a corpus ----------------------------------------------------------------------------------


def measured(store: RunStore, scripted: FakeLabEngine, corpus: Corpus | None = None) -> None:
    measure_corpus(scripted, store.lab, MODEL, ALL, corpus or default_corpus(), ignore)


def test_a_corpus_gives_a_row_a_precision_and_a_chart(lab: Open, jobs: Jobs) -> None:
    app = lab(FakeLabEngine(klds={"int4": 0.02, "nf4": 0.1}), CORPUS)
    app.button(key="lab-corpus-run").click().run()
    finish(app, jobs)
    table = app.dataframe[0].value
    assert list(table["precision"]) == [str(precision) for precision in ALL]
    by_precision = table.set_index("precision")
    assert by_precision["kld"]["bf16"] == 0
    assert by_precision["kld"]["int4"] == pytest.approx(0.02)
    assert by_precision["max"]["nf4"] == pytest.approx(0.15)
    assert by_precision["rate"]["int4"] == pytest.approx(100)
    assert "±" in by_precision["ratio"]["int4"]
    assert set(by_precision["state"]) == {"OK"}
    assert app.get("plotly_chart")
    assert app.button(key="lab-corpus-run").label == "Measure again"


def test_precisions_beyond_the_limits_are_marked_and_the_limits_are_kept(lab: Open, store: RunStore) -> None:
    scripted = FakeLabEngine(klds={"int4": 0.02, "nf4": 0.3})
    measured(store, scripted)
    app = lab(scripted, CORPUS)
    states = app.dataframe[0].value.set_index("precision")["state"]
    assert (states["int4"], states["nf4"]) == ("OK", "Degraded")
    assert "nf4: Degradation alarm: KLD mean 0.3 nats (limit 0.15)" in app.warning[0].value
    app.number_input(key="alarm-kld-mean").set_value(0.35).run()
    assert store.lab.limits() == AlarmLimits(kld_mean=0.35, same_top=0.85)
    assert set(app.dataframe[0].value["state"]) == {"OK"}
    assert not app.warning


def test_a_measurement_cut_short_is_resumed(lab: Open, store: RunStore, jobs: Jobs) -> None:
    broken = FakeLabEngine(failure=GearboxError("The memory is full."))
    app = lab(broken, CORPUS)
    app.button(key="lab-corpus-run").click().run()
    finish(app, jobs)
    assert app.error[0].value == "The memory is full."
    assert app.button(key="lab-corpus-run").label == "Resume"
    broken.failure = None
    compared = len(broken.compared)
    app.button(key="lab-corpus-run").click().run()
    finish(app, jobs)
    assert not app.error
    assert len(set(broken.compared)) == len(broken.compared) > compared


def test_while_a_corpus_is_measured_the_page_shows_how_far_it_is(lab: Open, jobs: Jobs) -> None:
    gate, reached = threading.Event(), threading.Event()

    def hold(precision: Precision) -> None:
        reached.set()
        gate.wait(20)

    app = lab(FakeLabEngine(before_window=hold), CORPUS)
    app.button(key="lab-corpus-run").click().run()
    assert reached.wait(20)
    app.run()
    assert "bf16 · window 1 of" in app.get("progress")[0].proto.text
    assert app.button(key="lab-corpus-run").disabled
    (cancel,) = (button for button in app.button if button.label == "Cancel")
    cancel.click().run()
    gate.set()
    finish(app, jobs)
    assert "Cancelled. What was done so far is kept" in words(app)
    assert app.button(key="lab-corpus-run").label == "Resume"


def test_a_pasted_text_becomes_a_corpus(lab: Open, store: RunStore, jobs: Jobs) -> None:
    app = lab(FakeLabEngine(n_windows=2), CORPUS)
    app.text_area(key="lab-corpus-text").set_value("It was a dark and stormy night. " * 20)
    app.text_input(key="lab-corpus-name").set_value("Storm")
    app.button(key="lab-corpus-add").click().run()
    assert not app.error
    (kept,) = store.lab.corpora()
    assert kept.name == "Storm"
    assert app.selectbox(key="lab-corpus").value == kept.sha256
    app.button(key="lab-corpus-run").click().run()
    finish(app, jobs)
    assert set(app.dataframe[0].value["tokens"]) == {4}


def test_nothing_is_no_corpus(lab: Open, store: RunStore) -> None:
    app = lab(FakeLabEngine(), CORPUS)
    app.button(key="lab-corpus-add").click().run()
    assert "Choose a file or paste a text first" in app.error[0].value
    assert store.lab.corpora() == ()


# --- on tasks -------------------------------------------------------------------------------------


@pytest.fixture
def few_tasks(monkeypatch: pytest.MonkeyPatch) -> tuple[Task, ...]:
    tasks = tuple(
        Task(id=f"t{n}", category="Facts", prompt=f"Task {n}", checker="contains", expected=word, max_tokens=8)
        for n, word in enumerate(("sky", "sun", "moon"))
    )
    monkeypatch.setattr(lab_tasks, "load_tasks", lambda: tasks)
    return tasks


class Forgetful(FakeLabEngine):
    """Says something else below 16 bits."""

    def says(self, request):  # type: ignore[no-untyped-def]
        return ("sky",) if request.config.precision is Precision.BF16 else ("sun",)


def test_equal_scores_do_not_hide_answers_that_flipped(lab: Open, store: RunStore, few_tasks: tuple[Task, ...]) -> None:
    measure_tasks(Forgetful(), store.lab, MODEL, ALL, few_tasks, ignore)
    app = lab(Forgetful(), TASKS)
    table = app.dataframe[0].value.set_index("Precision")
    assert list(table["Right"]) == ["1 of 3"] * len(ALL)
    assert (table["Lost"]["int4"], table["Gained"]["int4"], table["McNemar's p"]["int4"]) == (1, 1, 1)
    assert "to" in table["Accuracy (95 % interval)"]["bf16"]
    shown = texts(app, "text", "caption")
    assert "Expected (contains): “sky” in it" in shown
    assert "Expected (contains): “sun” in it" in shown
    assert "moon" not in shown
    assert app.button(key="lab-tasks-run").label == "Measure again"


def test_tasks_are_measured_in_the_background(lab: Open, jobs: Jobs, few_tasks: tuple[Task, ...]) -> None:
    app = lab(FakeLabEngine(tokens=("sky",)), TASKS)
    app.button(key="lab-tasks-run").click().run()
    finish(app, jobs)
    assert list(app.dataframe[0].value["Precision"]) == [str(precision) for precision in ALL]
    assert "gets the same tasks right and wrong as 16 bits" in words(app)


def test_a_quick_size_is_marked_and_a_larger_one_goes_on_from_it(
    lab: Open, jobs: Jobs, store: RunStore, few_tasks: tuple[Task, ...]
) -> None:
    engine = FakeLabEngine(tokens=("sky",))
    app = lab(engine, TASKS)
    assert [label.split(" · ")[:2] for label in app.segmented_control(key="lab-tasks-size").options] == [
        ["Quick", "2 tasks"],
        ["Full", "3 tasks"],
    ]
    app.segmented_control(key="lab-tasks-size").set_value("Quick").run()
    app.button(key="lab-tasks-run").click().run()
    finish(app, jobs)
    assert {len(result.answers) for result in store.lab.task_results(MODEL)} == {2}
    assert list(app.dataframe[0].value["Right"]) == ["1 of 2"] * len(ALL)
    assert "Quick: on 2 of 3 tasks" in words(app)
    assert app.button(key="lab-tasks-run").disabled
    app.segmented_control(key="lab-tasks-size").set_value("Full").run()
    assert app.button(key="lab-tasks-run").label == "Resume"
    app.button(key="lab-tasks-run").click().run()
    finish(app, jobs)
    assert {len(result.answers) for result in store.lab.task_results(MODEL)} == {3}
    assert list(app.dataframe[0].value["Right"]) == ["1 of 3"] * len(ALL)
    assert "tasks. A larger size" not in words(app)
