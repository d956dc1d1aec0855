"""Whatever happens to runs, a search finds what reading every run finds."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from app.store import RunOutcome, RunStatus, RunStore
from tests.support.fakes import make_request
from tests.support.searching import found, index_all
from tests.support.stores import new_database

LETTERS = "abAB %_\"'é为\n"
TEXTS = st.text(LETTERS, max_size=12)
WORDS = st.text(LETTERS, min_size=1, max_size=5).filter(str.strip)


def ascii_lower(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


class Runs(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = RunStore.open(new_database(Path(self.folder.name, "gearbox.db")))
        self.prompts: dict[str, str] = {}
        self.answers: dict[str, str] = {}
        self.notes: dict[str, str] = {}

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(prompt=WORDS)
    def begin(self, prompt: str) -> None:
        run_id = self.store.create_run(make_request(prompt), person_id="s", environment={})
        self.prompts[run_id] = self.store.get(run_id).prompt

    @precondition(lambda self: self.prompts)
    @rule(data=st.data(), text=TEXTS, over=st.booleans())
    def answer(self, data: st.DataObject, text: str, over: bool) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.prompts)))
        if over or run_id in self.answers:
            self.store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, text))
            self.answers[run_id] = text

    @precondition(lambda self: self.prompts)
    @rule(data=st.data(), text=TEXTS)
    def note(self, data: st.DataObject, text: str) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.prompts)))
        self.store.set_note(run_id, text)
        self.notes[run_id] = text

    @precondition(lambda self: self.prompts)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.prompts)))
        self.store.delete([run_id])
        for texts in (self.prompts, self.answers, self.notes):
            texts.pop(run_id, None)

    @rule()
    def index(self) -> None:
        index_all(self.store)

    @rule(needle=WORDS)
    def search(self, needle: str) -> None:
        wanted = ascii_lower(needle.strip())
        kept = (self.prompts, self.answers, self.notes)
        expected = {id for id in self.prompts if any(wanted in ascii_lower(texts.get(id, "")) for texts in kept)}
        assert found(self.store, needle) == expected


Runs.TestCase.settings = settings(max_examples=12, stateful_step_count=20, deadline=None, derandomize=True)
TestRuns = Runs.TestCase
