"""The Router lab's step of bringing prompts: a file previewed, checked, kept."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from app.store import RunStore
from tests.support.router_lab import Open, words


def bring(app: AppTest, name: str, data: bytes) -> AppTest:
    uploader = next(each for each in app.get("file_uploader") if each.key.startswith("router-bring-file"))
    uploader.set_value([(name, data, "text/plain")])
    app.run()
    assert not app.exception
    return app


CAPITALS = b"question;answer\nCapital of France?;Paris\n;Rome\nCapital of Spain?;Madrid\n"


def test_a_file_is_previewed_kept_and_chosen(open_lab: Open, store: RunStore) -> None:
    app = bring(open_lab("bring"), "capitals.csv", CAPITALS)
    shown = app.dataframe[-1].value
    assert list(shown["As it is asked"]) == ["Capital of France?", "Capital of Spain?"]
    assert list(shown["Right is"]) == ["“Paris” in it", "“Madrid” in it"]
    assert "Row 3 has no text in column “question”" in words(app)
    assert "router-next" not in {button.key for button in app.button}, "to go on would be to go on without the file"
    app.button(key="router-bring-keep").click().run()
    assert "router-next" in {button.key for button in app.button}
    assert "“capitals” is kept: 2 prompts, 2 checked by contains, 1 row left out" in app.success[0].value
    (kept,) = store.router.sets()
    assert app.selectbox(key="router-data-set").value == kept.sha256
    assert [task.expected for task in store.router.tasks(kept.sha256)] == ["Paris", "Madrid"]


def test_the_checker_that_was_guessed_can_be_changed(open_lab: Open, store: RunStore) -> None:
    app = bring(open_lab("bring"), "capitals.csv", CAPITALS)
    checker = next(each for each in app.selectbox if each.label == "Checked by")
    assert checker.value == "contains"
    checker.set_value("none").run()
    assert set(app.dataframe[-1].value["Right is"]) == {"likeness to the large model's answer"}
    app.button(key="router-bring-keep").click().run()
    (kept,) = store.router.sets()
    assert {task.checker for task in store.router.tasks(kept.sha256)} == {None}


def test_facts_and_sums_in_one_file_are_checked_each_in_its_way(open_lab: Open) -> None:
    mixed = CAPITALS + b"Capital of Italy?;Rome\nCapital of Cuba?;Havana\nCapital of Peru?;Lima\nWhat is 6 * 7?;42\n"
    app = bring(open_lab("bring"), "mixed.csv", mixed)
    assert "Numbers among the expected answers: 1 of 6" in words(app)
    next(each for each in app.selectbox if each.label == "Checked by").set_value("number or contains").run()
    assert list(app.dataframe[-1].value["Checked by"]) == ["contains"] * 4 + ["number"]
    assert "Numbers among" not in words(app)
    bring(app, "capitals.csv", CAPITALS)
    (checker,) = (each for each in app.selectbox if each.label == "Checked by")
    assert "Number or contains" not in checker.options


def test_a_checker_that_fits_nothing_says_so_and_keeps_nothing(open_lab: Open, store: RunStore) -> None:
    app = bring(open_lab("bring"), "capitals.csv", CAPITALS)
    next(each for each in app.selectbox if each.label == "Checked by").set_value("number").run()
    assert "cannot be checked by column “answer”: “Paris” is no number" in words(app)
    assert "router-bring-keep" not in {button.key for button in app.button}


def test_the_same_file_again_says_that_it_is_there_and_goes_on(open_lab: Open, store: RunStore) -> None:
    app = bring(open_lab("bring"), "capitals.csv", CAPITALS)
    app.button(key="router-bring-keep").click().run()
    app = bring(app, "capitals again.csv", CAPITALS)
    assert "These prompts are here already, as “capitals”, since" in words(app)
    app.button(key="router-bring-open").click().run()
    assert "“capitals” is chosen" in app.success[0].value
    assert len(store.router.sets()) == 1


def test_a_file_that_cannot_be_read_says_why(open_lab: Open) -> None:
    app = bring(open_lab("bring"), "own.csv", "prompt,answer\nGrüße,x\n".encode("latin-1"))
    assert "Save it as UTF-8" in app.error[0].value
