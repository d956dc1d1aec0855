from __future__ import annotations

from dataclasses import replace

import pytest

from app.store import RunFilter, RunNotFoundError, RunOutcome, RunSort, RunSource, RunStatus, RunStore
from app.views.runs import table
from engine.types import Precision, SamplingParams
from tests.support.fakes import make_metrics, make_request
from tests.support.ui import add_run, open_app, texts

PAGE = "pages/runs.py"


def test_without_runs_the_page_shows_the_way_to_the_playground(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    app = open_app(monkeypatch, store, PAGE)
    assert "No runs yet" in app.info[0].value
    assert app.page_link[0].value == "Open the playground"
    assert not app.dataframe


def test_every_run_is_a_row_newest_first(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store, make_request("The first prompt"))
    add_run(store, make_request("The second prompt"), status=RunStatus.FAILED, words=(), error="Too long.")
    table = open_app(monkeypatch, store, PAGE).dataframe[0].value
    assert list(table["prompt"]) == ["The second prompt", "The first prompt"]
    assert list(table["status"]) == ["failed", "finished"]
    assert table["ttft"][1] == pytest.approx(100)


def test_filters_narrow_the_list(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store, make_request("plain"))
    add_run(store, make_request("packed", precision=Precision.INT4))
    app = open_app(monkeypatch, store, PAGE)
    app.multiselect(key="runs-precision").select("int4").run()
    assert list(app.dataframe[0].value["prompt"]) == ["packed"]
    app.text_input(key="runs-text").set_value("nothing like it").run()
    assert "No run passes" in app.info[0].value


def test_a_short_text_is_looked_for_among_the_newest_until_somebody_looks_further(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    monkeypatch.setattr(table, "LOOKED_BACK", 2)
    for number in range(4):
        add_run(store, make_request(f"Q{number}"))
    app = open_app(monkeypatch, store, PAGE)
    app.text_input(key="runs-text").set_value("Q").run()
    assert list(app.dataframe[0].value["prompt"]) == ["Q3", "Q2"]
    assert "among the newest 2 runs" in texts(app, "caption")
    app.button(key="runs-further-back").click().run()
    assert list(app.dataframe[0].value["prompt"]) == ["Q3", "Q2", "Q1", "Q0"]
    assert "among the newest" not in texts(app, "caption")
    app.text_input(key="runs-text").set_value("Q1").run()
    assert "No run passes" in app.info[0].value
    assert "among the newest 2 runs" in texts(app, "caption")


def test_the_order_is_that_of_all_runs_not_of_one_page(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    for n in range(30):
        add_run(store, make_request(f"prompt {n}"), metrics=make_metrics(ttft_s=0.1 * ((n * 7) % 30 + 1)))
    app = open_app(monkeypatch, store, PAGE)
    app.selectbox(key="runs-size").set_value(25)
    app.selectbox(key="runs-sort").set_value("ttft_s").run()
    shown = list(app.dataframe[0].value["ttft"])
    assert len(shown) == 25
    assert shown[0] == pytest.approx(3000)
    assert shown == sorted(shown, reverse=True)
    assert "30 runs" in texts(app, "caption")


def test_a_link_shows_what_belongs_together_whatever_its_source_and_can_be_left(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    add_run(store, make_request("of an experiment"), group_id="g", source=RunSource.EXPERIMENT)
    add_run(store, make_request("alone"))
    app = open_app(monkeypatch, store, PAGE, {"group": "g"})
    assert list(app.dataframe[0].value["prompt"]) == ["of an experiment"]
    assert "Only runs that belong together" in texts(app, "caption")
    next(button for button in app.button if button.label == "All runs").click().run()
    assert list(app.dataframe[0].value["prompt"]) == ["alone"]


def test_a_permalink_opens_its_run(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    run_id = add_run(store, make_request("Why is the sky blue?"))
    app = open_app(monkeypatch, store, PAGE, {"run": run_id})
    assert "smollm2-135m · bf16" in texts(app, "subheader")
    assert {metric.label: metric.value for metric in app.metric}["TTFT"] == "100 ms"
    assert "Why is the sky blue?" in texts(app, "code")
    assert "The sky is blue." in texts(app, "code")
    assert f"history?run={run_id}" in texts(app, "code")
    assert not app.dataframe


def test_an_unknown_run_is_said_to_be_gone(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, PAGE, {"run": "nowhere"})
    assert "There is no run nowhere" in app.warning[0].value


def test_a_failed_run_says_why(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    run_id = add_run(store, words=(), status=RunStatus.FAILED, error="The prompt is 12 tokens too long.")
    app = open_app(monkeypatch, store, PAGE, {"run": run_id})
    assert app.error[0].value == "The prompt is 12 tokens too long."
    assert not app.metric


def test_a_rating_a_tag_and_a_note_are_kept(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    run_id = add_run(store)
    other = add_run(store)
    store.set_tags(other, ["demo"])
    app = open_app(monkeypatch, store, PAGE, {"run": run_id})
    app.feedback(key=f"rating-{run_id}").set_value(1).run()
    app.multiselect(key=f"tags-{run_id}").select("demo").run()
    app.text_area(key=f"note-{run_id}").set_value("Good enough to ship.").run()
    run = store.get(run_id)
    assert (run.rating, run.tags, run.note) == (1, ("demo",), "Good enough to ship.")
    assert store.get(other).note == ""


def test_all_sections_of_a_run_can_be_shown(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    run_id = add_run(store)
    app = open_app(monkeypatch, store, PAGE, {"run": run_id})
    section = f"section-{run_id}"
    app.get_by_key(section).set_value("Tokens").run()
    assert app.get_by_key(f"tokens-{run_id}-colour").value == "latency"
    app.get_by_key(section).set_value("Configuration").run()
    assert '"temperature"' in app.json[0].value
    app.get_by_key(section).set_value("Environment").run()
    assert "cpu" in str(app.table[0].value)
    assert not app.exception


def test_a_run_of_the_api_shows_how_its_tokens_were_chosen_and_who_asked(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    sampling = SamplingParams(
        temperature=0.5,
        seed=7,
        stop=("END", "\n\n"),
        frequency_penalty=0.5,
        presence_penalty=-1,
        logit_bias=((3, -100.0),),
        json_schema='{"type":"object"}',
        top_logprobs=2,
    )
    request = make_request(sampling=sampling)
    run_id = store.create_run(
        request, person_id=None, environment={}, source=RunSource.API, user="*anna*", metadata={"team": "a_b_c"}
    )
    metrics = replace(make_metrics(), mean_batch_size=3.2)
    store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, "{}", "stop", metrics=metrics))
    app = open_app(monkeypatch, store, PAGE, {"run": run_id})
    shown = texts(app, "caption")
    for words in (
        "temperature 0.5 · at most 256 tokens · seed 7",
        "frequency penalty 0.5 · presence penalty -1 · 1 token biased · 2 stop strings · held to a JSON schema · "
        "2 likeliest tokens told with each",
        r"\*anna\*",
        "API",
    ):
        assert words in shown
    assert {metric.label: metric.value for metric in app.metric}["Batch size"] == "3.20"
    app.get_by_key(f"section-{run_id}").set_value("Configuration").run()
    assert '"object"' in app.json[1].value
    assert "team" in str(app.table[0].value)


def test_a_text_that_was_continued_is_told_from_a_prompt(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    request = replace(make_request(), messages=(), completion="Once upon a time")
    app = open_app(monkeypatch, store, PAGE, {"run": add_run(store, request)})
    assert "Text to be continued" in texts(app, "caption")
    assert "Once upon a time" in texts(app, "code")


def test_deleting_asks_first(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    run_id = add_run(store)
    app = open_app(monkeypatch, store, PAGE, {"run": run_id})
    delete = next(button for button in app.button if button.label == "Delete")
    delete.click().run()
    assert store.get(run_id).id == run_id
    app.button(key="confirm-delete").click().run()
    with pytest.raises(RunNotFoundError):
        store.get(run_id)
    assert "run" not in app.query_params


def test_runs_of_a_group_can_be_compared(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    first, second = (add_run(store, group_id="pair") for _ in range(2))
    alone = add_run(store)
    labels = [button.label for button in open_app(monkeypatch, store, PAGE, {"run": alone}).button]
    assert "Compare with the runs that belong to it" not in labels
    app = open_app(monkeypatch, store, PAGE, {"run": second})
    next(button for button in app.button if "belong to it" in button.label).click().run()
    assert app.title[0].value == "Compare"
    assert app.query_params["compare"] == f"{first},{second}"


def test_a_run_of_a_large_group_is_compared_with_the_newest_of_it(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    ids = [add_run(store, group_id="many") for _ in range(6)]
    app = open_app(monkeypatch, store, PAGE, {"run": ids[0]})
    next(button for button in app.button if "newest 3 of 6 runs that belong to it" in button.label).click().run()
    assert app.query_params["compare"] == ",".join([ids[0], *ids[3:]])


def test_a_database_that_cannot_be_read_is_a_message(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    from app.store import StoreError

    def locked() -> None:
        raise StoreError("The run database is locked by another process.")

    monkeypatch.setattr(store, "facets", locked)
    app = open_app(monkeypatch, store, PAGE)
    assert app.error[0].value == "The run database is locked by another process."


def test_a_list_that_shrank_is_shown_at_its_last_page(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.views.runs import table as run_table

    for _ in range(3):
        add_run(store)
    state: dict[str, object] = {}
    monkeypatch.setattr(run_table.st, "session_state", state)
    _, key = run_table.read_page(store, RunFilter(), RunSort(), 2)
    state[key] = 5
    page, _ = run_table.read_page(store, RunFilter(), RunSort(), 2)
    assert len(page.rows) == 1
    assert state[key] == 2
