"""An experiment's scores in the shape of lm-evaluation-harness: a results file a configuration, and its samples.

The shape is that of ``lm_eval`` 0.4 (``lm_eval/loggers/evaluation_tracker.py``): tasks are the prompts' categories, and
the experiment is their group. Standard errors are those of independent draws, s / √n, as the harness has them;
prompts of one template are no independent draws, and the report's own intervals say what that costs.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.experiments.planning.writing import file_stem
from app.experiments.results.arrays import Floats, Measure, Results
from app.store import Pass, RunStore
from engine import Task

METRICS: Mapping[Measure, str] = {
    Measure.CHECKER: "acc",
    Measure.JUDGE: "judge",
    Measure.WORD_F1: "word_f1_to_baseline",
    Measure.SAME_TEXT: "same_text_as_baseline",
}
"""What a measure is called in the file."""
_FILTER = "none"
_VERSION = 1.0
_LONGEST_TASK = 60
_UNKNOWN = "N/A"
"""What the harness writes for a standard error of one sample."""


@dataclass(frozen=True, slots=True)
class LmEvalFile:
    """One file of an export."""

    path: str
    """Below the folder: the configuration's, then the file's name as the harness gives it."""
    text: str


def lm_eval_files(store: RunStore, results: Results, *, samples: bool) -> Iterator[LmEvalFile]:
    """The files of an experiment, one configuration after the other.

    Args:
        store: keeps the answers.
        results: what it has come to so far.
        samples: whether each answer comes along, a file of JSON lines a task.

    Raises:
        StoreError: the answers cannot be read.
    """
    stamp = f"{results.kept.created_at:%Y-%m-%dT%H-%M-%S.%f}"
    tasks, scores = _tasks(results), scores_of(results)
    for place, name in enumerate(results.names):
        folder = f"{place + 1}-{file_stem(name)}"
        tree = results_tree(results, scores, place)
        yield LmEvalFile(f"{folder}/results_{stamp}.json", json.dumps(tree, ensure_ascii=False, indent=2) + "\n")
        if samples:
            answers = _answers(store, results, place)
            for task, columns in tasks.items():
                lines = (_sample(results, scores, place, int(column), answers) for column in columns)
                text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines if line)
                yield LmEvalFile(f"{folder}/samples_{task}_{stamp}.jsonl", text)


def scores_of(results: Results) -> dict[str, Floats]:
    """The scores by what they are called in the file, ``[configurations, prompts]`` each."""
    return {name: results.scores(measure) for measure, name in METRICS.items()}


def results_tree(results: Results, scores: Mapping[str, Floats], place: int) -> dict[str, Any]:
    """One configuration's results file; ``scores`` are those of :func:`scores_of`."""
    tasks, config = _tasks(results), results.design.configurations[place].config
    group = _task_name(results.design.name)
    every = np.arange(len(results.prompt_ids))
    generation = {**config.sampling.to_dict(), "until": list(config.sampling.stop)}
    return {
        "results": {name: _row(scores, place, columns, name) for name, columns in {**tasks, group: every}.items()},
        "groups": {group: _row(scores, place, every, group)},
        "group_subtasks": {group: list(tasks)},
        "configs": {name: _task_config(results, scores, name, columns, generation) for name, columns in tasks.items()},
        "versions": dict.fromkeys([*tasks, group], _VERSION),
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {name: dict.fromkeys(_metrics(scores, columns), True) for name, columns in tasks.items()},
        "n-samples": {
            name: {"original": len(columns), "effective": int(results.answered_by(place)[columns].sum())}
            for name, columns in tasks.items()
        },
        "config": {
            "model": "gearbox",
            "model_args": config.to_dict(),
            "gen_kwargs": generation,
            "random_seed": results.design.seed,
            "limit": None,
            "experiment": results.kept.id,
            "configuration": results.names[place],
            "config_hash": config.hash,
            "weights_sha256": sorted(
                {cell.weights_sha256 for cell in results.cells if cell.key.configuration == place}
            ),
        },
        "date": results.kept.created_at.timestamp(),
        "model_source": "gearbox",
        "model_name": config.model,
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", config.model),
        "chat_template": None,
        "task_hashes": {
            name: _hash([results.design.prompts[at].to_dict() for at in at_]) for name, at_ in tasks.items()
        },
    }


def _tasks(results: Results) -> dict[str, Any]:
    """The columns of each category's prompts, by its name as a task; two that would have one name are told apart."""
    found: dict[str, Any] = {}
    taken = {_task_name(results.design.name)}
    for category in dict.fromkeys(results.categories):
        columns = np.array([at for at, each in enumerate(results.categories) if each == category])
        name, number = _task_name(category), 2
        while name in taken:
            name, number = f"{_task_name(category)}_{number}", number + 1
        taken.add(name)
        found[name] = columns
    return found


def _task_name(text: str) -> str:
    return re.sub(r"\W+", "_", text.lower()).strip("_")[:_LONGEST_TASK] or "prompts"


def _metrics(scores: Mapping[str, Floats], columns: Any) -> dict[str, Floats]:
    """The scores that some prompts have, of these alone."""
    return {name: each[:, columns] for name, each in scores.items() if np.isfinite(each[:, columns]).any()}


def _row(scores: Mapping[str, Floats], place: int, columns: Any, alias: str) -> dict[str, Any]:
    row: dict[str, Any] = {"alias": alias, "sample_len": len(columns)}
    for metric, each in _metrics(scores, columns).items():
        known = each[place][np.isfinite(each[place])]
        if len(known):
            error = float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) > 1 else _UNKNOWN
            row |= {f"{metric},{_FILTER}": float(known.mean()), f"{metric}_stderr,{_FILTER}": error}
    return row


def _task_config(
    results: Results, scores: Mapping[str, Floats], name: str, columns: Any, generation: Mapping[str, Any]
) -> dict[str, Any]:
    prompts = [results.design.prompts[at] for at in columns]
    return {
        "task": name,
        "tag": results.categories[int(columns[0])],
        "dataset_path": results.design.prompts_from,
        "output_type": "generate_until",
        "num_fewshot": 0,
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in _metrics(scores, columns)
        ],
        "generation_kwargs": {**generation, "max_gen_toks": max(_most(results, task) for task in prompts)},
        "repeats": results.design.repeats,
        "should_decontaminate": False,
        "metadata": {"version": _VERSION, "checkers": sorted({task.checker or "none" for task in prompts})},
    }


def _sample(
    results: Results, scores: Mapping[str, Floats], place: int, column: int, answers: Mapping[str, str]
) -> dict[str, Any] | None:
    """One prompt's line; ``None`` before there is an answer, or where it was deleted."""
    task = results.design.prompts[column]
    failed = bool(results.failed[place, column])
    if not failed and task.id not in answers:
        return None
    text = answers.get(task.id, "")
    known = {name: float(each[place, column]) for name, each in scores.items() if np.isfinite(each[place, column])}
    target = "" if task.expected is None else str(task.expected)
    return {
        "doc_id": column,
        "doc": task.to_dict(),
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": task.transcript, "arg_1": {"max_gen_toks": _most(results, task)}}},
        "resps": [[text]],
        "filtered_resps": [text],
        "filter": _FILTER,
        "metrics": list(known),
        "doc_hash": _hash(task.to_dict()),
        "prompt_hash": _hash(task.transcript),
        "target_hash": _hash(target),
        **known,
        **({"failed": True} if failed else {}),
    }


def _answers(store: RunStore, results: Results, place: int) -> dict[str, str]:
    """A configuration's first answers, by the prompt's id."""
    kind = Pass.QUALITY if Pass.QUALITY in results.design.passes else Pass.SPEED
    runs = results.run_ids(place, kind)
    texts = store.experiments.answers(set(runs.values()))
    return {prompt_id: texts[run_id] for prompt_id, run_id in runs.items() if run_id in texts}


def _most(results: Results, task: Task) -> int:
    most = results.design.max_tokens
    return task.max_tokens if most is None else min(task.max_tokens, most)


def _hash(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
