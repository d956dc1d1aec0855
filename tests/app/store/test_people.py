"""What is kept of persons' settings, and whose the labs' texts are."""

from pathlib import Path

import pytest

from app.store import RunStore, Viewer
from app.store.people import repository
from engine import Corpus
from engine.evaluation.tasks import Task

ANN, BOB = Viewer("a" * 32, sees_all=False), Viewer("b" * 32, sees_all=False)
GUEST = Viewer("c" * 32, sees_all=True)
TASKS = [Task(id="t", category="Sums", prompt="1 + 1?", checker="number", expected="2", max_tokens=8)]


def test_settings_come_back_to_whom_they_belong_and_after_a_restart(store: RunStore, file: Path) -> None:
    store.people.keep_settings("a", {"prompt": "Hi ünï", "price": 0.5, "window": None})
    store.people.keep_settings("b", {"prompt": "Ho"})
    again = RunStore.open(f"sqlite:///{file}")
    assert again.people.settings("a") == {"prompt": "Hi ünï", "price": 0.5, "window": None}
    assert again.people.settings("b") == {"prompt": "Ho"}
    assert again.people.settings("c") == {}
    again.close()


def test_two_tabs_that_set_different_things_keep_both_and_the_last_to_set_one_thing_wins(store: RunStore) -> None:
    store.people.keep_settings("a", {"prompt": "one", "price": 1})
    store.people.keep_settings("a", {"prompt": "two"})
    assert store.people.settings("a") == {"prompt": "two", "price": 1}


def test_what_has_no_room_is_left_out_and_the_rest_stays(store: RunStore) -> None:
    store.people.keep_settings("a", {"prompt": "small", "log": "first"})
    store.people.keep_settings("a", {"log": "x" * repository.MOST_CHARACTERS, "price": 2})
    assert store.people.settings("a") == {"prompt": "small", "price": 2}


def test_who_has_set_nothing_for_longest_is_forgotten_first(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "MOST_PERSONS", 3)
    for person in ("a", "b", "c", "a", "d"):
        store.people.keep_settings(person, {"prompt": person})
    assert [person for person in "abcd" if store.people.settings(person)] == ["a", "c", "d"]


@pytest.mark.parametrize("kind", ["corpus", "set"])
def test_a_text_of_ones_own_is_seen_by_its_owners_alone_each_by_their_name_for_it(store: RunStore, kind: str) -> None:
    corpus = Corpus(name="", text="Long ago.")
    sha256 = corpus.sha256 if kind == "corpus" else "s" * 64

    def keep(by: RunStore, name: str, *, everybodys: bool = False) -> None:
        if kind == "corpus":
            by.lab.keep_corpus(Corpus(name=name, text=corpus.text), everybodys=everybodys)
        else:
            by.router.keep_set(sha256, name, TASKS, everybodys=everybodys)

    def seen(by: RunStore) -> tuple[str, ...]:
        kept = by.lab.corpora() if kind == "corpus" else by.router.sets()
        readable = by.lab.corpus(sha256) if kind == "corpus" else by.router.tasks(sha256)
        assert bool(kept) == bool(readable)
        return tuple(each.name for each in kept)

    ann, bob, guest = (store.seen_by(viewer) for viewer in (ANN, BOB, GUEST))
    keep(ann, "Ann's")
    assert (seen(ann), seen(bob), seen(guest), seen(store)) == (("Ann's",), (), ("Ann's",), ("Ann's",))
    keep(bob, "Bob's")
    assert (seen(ann), seen(bob)) == (("Ann's",), ("Bob's",))
    keep(store, "The application's")
    assert (seen(ann), seen(bob)) == (("Ann's",), ("Bob's",))
    keep(ann, "Everybody's", everybodys=True)
    assert (seen(ann), seen(bob)) == (("Everybody's",), ("Everybody's",))
    keep(ann, "Mine again")
    assert (seen(ann), seen(bob)) == (("Everybody's",), ("Everybody's",))


def test_what_was_measured_on_somebodys_corpus_names_it_to_nobody_else(store: RunStore) -> None:
    corpus = Corpus(name="Secret plans", text="Long ago.")
    store.seen_by(ANN).lab.keep_corpus(corpus)
    result = {"model": "m", "weights_sha256": "w", "precision": "int4", "corpus_sha256": corpus.sha256}
    store.seen_by(ANN).lab.begin_corpus_result(**result, windows=1)
    assert [found.corpus_name for found in store.seen_by(ANN).lab.corpus_results()] == ["Secret plans"]
    assert store.seen_by(BOB).lab.corpus_results() == ()
