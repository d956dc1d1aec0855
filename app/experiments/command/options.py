"""The parsers of ``gearbox experiment …``. What the commands need is imported when one is run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from app.experiments.judging.budget import FIRST_JUDGEMENTS, FIRST_MINUTES

if TYPE_CHECKING:
    from engine.command_line import Commands


def add_experiments(commands: Commands) -> None:
    """Add them to the parser of a program."""
    experiment = commands.add_parser(
        "experiment", help="run an experiment: prompts x configurations, from a file; report it, judge it; an autopilot"
    )
    actions = experiment.add_subparsers(required=True, metavar="ACTION")
    _add_run(actions)
    _add_report(actions)
    _add_export(actions)
    _add_autopilot(actions)
    _add_judge(actions)


def _add_run(actions: Commands) -> None:
    run = actions.add_parser(
        "run", help="answer and time all of it, and print its table; run again, it goes on where it was"
    )
    run.add_argument("file", help="TOML: name, prompts, and a [[configuration]] table each")
    run.add_argument("--quick", action="store_true", help="with about 50 of the prompts, of each category its share")
    run.add_argument("--retry-failed", action="store_true", help="ask again what configurations could not answer")
    run.add_argument("--report", metavar="FILE", help="write the last candidate's report there too, as HTML")
    run.set_defaults(command=_run_experiment)


def _add_report(actions: Commands) -> None:
    report = actions.add_parser("report", help="write a candidate's report as one HTML file")
    report.add_argument("experiment", metavar="ID|NAME", help="its id, or its name; of several the newest")
    report.add_argument("--output", metavar="FILE", required=True, help="where to write it")
    report.add_argument("--candidate", metavar="NAME", help="which configuration; the last unless given")
    report.add_argument(
        "--replay",
        metavar="FILE",
        help="write the timed answers to a prompt there, to be played again: the baseline's and the candidate's, "
        "or those of the first three candidates",
    )
    report.add_argument("--prompt", metavar="ID", help="which prompt is replayed; the slowest unless given")
    report.set_defaults(command=_report_experiment)


def _add_export(actions: Commands) -> None:
    export = actions.add_parser("export", help="write its scores in the shape of lm-evaluation-harness")
    export.add_argument("experiment", metavar="ID|NAME", help="its id, or its name; of several the newest")
    export.add_argument(
        "--format", choices=("lm-eval",), default="lm-eval", help="lm-eval, which there is alone so far"
    )
    export.add_argument(
        "--output", metavar="FOLDER", required=True, help="where; a folder for each configuration is made in it"
    )
    export.add_argument("--samples", action="store_true", help="each prompt with its answer too, as JSON lines")
    export.set_defaults(command=_export_experiment)


def _add_autopilot(actions: Commands) -> None:
    autopilot = actions.add_parser(
        "autopilot",
        help="search for a configuration within limits, and show it on held-out prompts; run again, it goes on",
    )
    autopilot.add_argument("file", help="TOML: prompts, seconds, a [baseline] table, and where you like candidates")
    autopilot.add_argument("--report", metavar="FILE", help="write the report on held-out prompts there too, as HTML")
    autopilot.add_argument("--save", metavar="NAME", help="save what it chooses as a configuration of this name")
    autopilot.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    autopilot.set_defaults(command=_run_autopilot)


def _add_judge(actions: Commands) -> None:
    judge = actions.add_parser(
        "judge", help="have a model judge an experiment's answers, and print its scores with its audit beside"
    )
    judge.add_argument("experiment", metavar="ID|NAME", help="its id, or its name; of several the newest")
    judge.add_argument(
        "--model",
        required=True,
        metavar="MODEL[@PRECISION]",
        help="an installed model, in int4 unless given; or a model of --url",
    )
    judge.add_argument(
        "--url", help="an OpenAI-compatible server that has the model; its key stands in GEARBOX_JUDGE_KEY"
    )
    judge.add_argument(
        "--pairs", action="store_true", help="compare with the baseline's answers in both orders, instead of grading"
    )
    judge.add_argument(
        "--judgements",
        type=int,
        default=FIRST_JUDGEMENTS,
        metavar="N",
        help=f"at most; {FIRST_JUDGEMENTS} unless given",
    )
    judge.add_argument(
        "--minutes", type=float, default=FIRST_MINUTES, metavar="N", help=f"at most; {FIRST_MINUTES} unless given"
    )
    for name, what in (
        ("silent", "without a verdict"),
        ("flips", "of the pairs of which the preferred answer changed with the order"),
        ("length", "by which the longer answer is preferred more often than the shorter"),
    ):
        help = f"it fails its audit above so many %% {what}; kept with the experiment"
        judge.add_argument(f"--{name}", type=_percent, metavar="PERCENT", help=help)
    judge.add_argument(
        "--kappa", type=_kappa, metavar="K", help="it fails its audit below this agreement, 0 to 1; kept likewise"
    )
    judge.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    judge.set_defaults(command=_judge_experiment)


def _percent(text: str) -> float:
    """As a share."""
    return _between(text, 100.0, "a percentage from 0 to 100") / 100


def _kappa(text: str) -> float:
    return _between(text, 1.0, "a number from 0 to 1")


def _between(text: str, most: float, words: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise argparse.ArgumentTypeError(f"it is {words}, and not {text[:20]!r}")
    return value


def _run_experiment(options: argparse.Namespace) -> int:
    from app.experiments.command.experiments import run_file

    return run_file(options)


def _report_experiment(options: argparse.Namespace) -> int:
    from app.experiments.command.experiments import write_report

    return write_report(options)


def _export_experiment(options: argparse.Namespace) -> int:
    from app.experiments.command.experiments import export_results

    return export_results(options)


def _run_autopilot(options: argparse.Namespace) -> int:
    from app.experiments.command.autopilots import run_autopilot_file

    return run_autopilot_file(options)


def _judge_experiment(options: argparse.Namespace) -> int:
    from app.experiments.command.judges import judge

    return judge(options)
