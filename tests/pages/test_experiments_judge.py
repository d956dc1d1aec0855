"""The Judge section of an experiment: what is offered, what was said with its audit, what the decision makes of it."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import NumberInput

from app import resources
from app.experiments.judging.budget import Budget
from app.experiments.judging.judge import Reply
from app.experiments.judging.running import judge_experiment
from app.settings import Settings
from app.store import JudgementKind, NoVerdict, Pass, RunStore
from app.views.experiments.judging import judge as view
from engine import Task
from engine.types import GenerationRequest
from tests.support.experiments import AnsweringEngine, Told, design, run
from tests.support.judging import OTHER, ScriptedJudge, says
from tests.support.ui import open_app, texts

PAGE = "pages/experiments.py"
HOSTILE = "<script>alert(1)</script> ![x](http://evil/x.png) :smile: **no**"


class Unlike(AnsweringEngine):
    """Answers with something of its own to each prompt, and hostile."""

    def says(self, request: GenerationRequest) -> tuple[str, ...]:
        return (*super().says(request), HOSTILE)


@pytest.fixture
def experiment(store: RunStore) -> str:
    tasks = [Task(id=f"p{n}", category="Chat", prompt=f"{n} {HOSTILE}", max_tokens=40) for n in range(12)]
    return run(Unlike(), store, design(tasks, passes=[Pass.QUALITY]))


def judged(store: RunStore, id: str, judge: ScriptedJudge, kind: JudgementKind = JudgementKind.SCORE) -> None:
    judge_experiment(judge, store, id, kind, Budget(1000, 3600.0), Told())


def opened(monkeypatch: pytest.MonkeyPatch, store: RunStore, id: str, section: str = "Judge") -> AppTest:
    app = open_app(monkeypatch, store, PAGE, {"experiment": id, "show": section})
    assert not app.exception
    return app


def models(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    installed = [SimpleNamespace(name=name, installed=True, parameters=10**9) for name in names]
    monkeypatch.setattr(view, "list_models", lambda _folder: installed)


def table(app: AppTest, column: str) -> dict[str, list[object]]:
    (found,) = [each.value for each in app.dataframe if column in each.value]
    return {str(name): list(found[name]) for name in found}


def limit(app: AppTest, label: str) -> NumberInput:
    (found,) = [each for each in app.number_input if each.label == label]
    return found


def test_before_any_was_asked_a_judge_is_offered_with_its_budget(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, experiment: str
) -> None:
    models(monkeypatch, "small", "other")
    app = opened(monkeypatch, store, experiment)
    assert app.selectbox(key="experiments-judging-who").options == ["other int4", "small int4"]
    assert any("48 questions of 48 that are left" in each.value for each in app.caption)
    assert not app.dataframe
    app.number_input(key="experiments-judging-most").set_value(10).run()
    assert any("10 questions of 48" in each.value for each in app.caption)
    assert not app.button(key="experiments-judging-start").disabled


def test_without_a_model_it_says_so(monkeypatch: pytest.MonkeyPatch, store: RunStore, experiment: str) -> None:
    models(monkeypatch)
    app = opened(monkeypatch, store, experiment)
    assert any("No model is here that could judge" in each.value for each in app.info)


def test_a_server_is_offered_where_there_is_one_and_the_page_tells_where_texts_go(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, experiment: str, tmp_path: Path
) -> None:
    models(monkeypatch)
    given = {"GEARBOX_DATA_DIR": str(tmp_path), "GEARBOX_JUDGE_URL": "https://judge.example/v1"}
    settings = Settings.from_env({**given, "GEARBOX_JUDGE_KEY": "sk-secret"})
    monkeypatch.setattr(resources, "get_settings", lambda: settings)
    app = opened(monkeypatch, store, experiment)
    assert app.selectbox(key="experiments-judging-who").options == ["A model of a server"]
    app.text_input(key="experiments-judging-model").set_value("big").run()
    assert any("sent to judge.example" in each.value for each in app.caption)
    assert not [text for text in texts(app) if "sk-secret" in text]


def test_scores_never_stand_without_the_audit_and_texts_are_shown_as_they_are(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, experiment: str
) -> None:
    models(monkeypatch)
    judged(store, experiment, ScriptedJudge(says(0.7)))
    app = opened(monkeypatch, store, experiment)
    scores, audit = table(app, "Judged"), table(app, "Limit")
    assert scores["Score (%), no checker"] == pytest.approx([70.0, 70.0])
    assert scores["Judged"] == [12, 12]
    assert audit["Figure"][:2] == ["No verdict", "Swayed by order"]
    assert audit["Found"][:2] == ["0.0 %", "0 %"]
    assert any("Cost: 48 questions" in each.value for each in app.caption)
    assert any("Nothing says how often this judge is right" in each.value for each in app.caption)
    shown = [each.value for each in app.markdown if "script>" in each.value]
    assert shown
    assert not [text for text in shown if re.search(r"(?<!\\)<script>|!\[x\]\(|(?<!\\):smile:", text)]
    assert any(HOSTILE in each.value for each in app.text)


def test_a_judge_that_fails_marks_the_decision_until_the_limit_is_another(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, experiment: str
) -> None:
    models(monkeypatch)
    replies = iter([Reply(no_verdict=NoVerdict.REFUSED)] * 6)
    judged(store, experiment, ScriptedJudge(lambda asked: next(replies, says(0.7)(asked))))
    app = opened(monkeypatch, store, experiment)
    assert any("It fails its audit: no verdict 12.5 %" in each.value for each in app.warning)
    decided = opened(monkeypatch, store, experiment, "Decision")
    assert any("As wise int4 judges" in each.value for each in [*decided.warning, *decided.info])
    assert any("The judge fails its audit" in each.value for each in [*decided.warning, *decided.info])
    assert "Quality, as judged" in [each.label for each in decided.metric]
    table = opened(monkeypatch, store, experiment, "All configurations")
    assert any("Scores are wise int4's. The judge fails its audit: no verdict" in each.value for each in table.caption)
    judging = opened(monkeypatch, store, experiment)
    limit(judging, "Without a verdict, % at most").set_value(50.0)
    judging.button(key="experiments-limits-keep").click().run()
    assert not judging.warning
    assert limit(judging, "Without a verdict, % at most").value == 50.0
    for section in ("Judge", "Decision"):
        assert not opened(monkeypatch, store, experiment, section).warning, "it is the same for everybody"


def test_two_judges_are_told_apart_and_one_is_chosen(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, experiment: str
) -> None:
    models(monkeypatch)
    judged(store, experiment, ScriptedJudge(says(0.7)))
    judged(store, experiment, ScriptedJudge(says(0.2), id=OTHER))
    app = opened(monkeypatch, store, experiment)
    (choice,) = [each for each in app.selectbox if each.label == "Whose verdicts count"]
    assert sorted(choice.options) == ["other int8 · grades", "wise int4 · grades"]
    choice.set_value("other int8 · grades").run()
    for each in (app, opened(monkeypatch, store, experiment)):
        assert table(each, "Judged")["Score (%), no checker"] == pytest.approx([20.0, 20.0])
        assert any(name == "Agreement with wise int4" for name in table(each, "Limit")["Figure"])
