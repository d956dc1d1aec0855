"""An experiment's scores as lm-evaluation-harness writes its own."""

from __future__ import annotations

import json
import math

import pytest

from app.experiments.reporting.lm_eval import lm_eval_files, results_tree, scores_of
from app.experiments.results.arrays import read_results
from app.store import Pass, RunStore
from tests.support.experiments import BOTH, AnsweringEngine, answered, design, quality, read, run, sums

TASKS = sums(8, ("Easy sums", "Easy-Sums", "Hard"))


def test_each_category_is_a_task_with_mean_and_standard_error_and_all_are_a_group(store: RunStore) -> None:
    scores = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    results = read(store, design(TASKS), *answered(0, TASKS, [1.0] * 8), *answered(1, TASKS, scores))
    tree = results_tree(results, scores_of(results), 1)
    assert list(tree["results"]) == ["easy_sums", "easy_sums_2", "hard", "own"]
    easy = tree["results"]["easy_sums"]
    assert easy["acc,none"] == 1.0
    assert easy["acc_stderr,none"] == 0.0
    own = tree["groups"]["own"]
    assert own["acc,none"] == pytest.approx(5 / 8)
    deviation = math.sqrt(sum((score - 5 / 8) ** 2 for score in scores) / 7)
    assert own["acc_stderr,none"] == pytest.approx(deviation / math.sqrt(8))
    assert tree["group_subtasks"] == {"own": ["easy_sums", "easy_sums_2", "hard"]}
    assert tree["n-samples"]["hard"] == {"original": 2, "effective": 2}
    assert tree["higher_is_better"]["hard"] == {"acc": True}
    assert tree["configs"]["hard"]["metric_list"][0]["metric"] == "acc"
    assert tree["config"]["model_args"]["optimization"]["quantization"] == {"precision": "int4"}
    json.dumps(tree, allow_nan=False)


def test_what_was_not_answered_is_not_counted_and_one_sample_has_no_standard_error(store: RunStore) -> None:
    results = read(store, design(TASKS), quality(0, TASKS[2].id, 1.0))
    tree = results_tree(results, scores_of(results), 0)
    assert tree["n-samples"]["hard"] == {"original": 2, "effective": 1}
    assert tree["results"]["hard"]["acc_stderr,none"] == "N/A"
    assert "acc,none" not in tree["results"]["easy_sums"]


def test_samples_hold_prompt_answer_and_score(store: RunStore) -> None:
    results = read_results(store, run(AnsweringEngine(), store, design(passes=[Pass.QUALITY])))
    files = {file.path: file.text for file in lm_eval_files(store, results, samples=True)}
    assert {path.partition("/")[0] for path in files} == {"1-16-bits", "2-int4"}
    (facts,) = (text for path, text in files.items() if path.startswith("2-int4/samples_facts_"))
    sky, moon = map(json.loads, facts.splitlines())
    assert (sky["doc_id"], sky["target"], sky["acc"], sky["metrics"]) == (0, "sky", 1.0, ["acc"])
    assert (moon["acc"], moon["resps"]) == (0.0, [["The sky of a sea."]])
    assert moon["arguments"]["gen_args_0"]["arg_0"] == "What is it?"
    (chat,) = (text for path, text in files.items() if path.startswith("1-16-bits/samples_chat_"))
    assert json.loads(chat)["metrics"] == ["word_f1_to_baseline", "same_text_as_baseline"]
    assert len(BOTH) * 3 == len(files)
