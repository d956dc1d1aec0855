"""``python -m tests.benchmarks all`` or one by name; ``--json PATH`` keeps the rows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from app.settings import Settings
from tests.benchmarks import (
    all_gears,
    cascade,
    chat,
    convert,
    dashboards,
    decode,
    divergence,
    experiments,
    guard,
    judge,
    load,
    long_contexts,
    serving,
    speculation,
    store,
)
from tests.benchmarks.lanes import LANE_NAMES, MODELS
from tests.benchmarks.screen import paints, paths
from tests.benchmarks.table import Row, print_table

BENCHMARKS: dict[str, Callable[[Path, decode.Options], list[Row]]] = {
    "decode": decode.run,
    "divergence": lambda models_dir, _: divergence.run(models_dir),
    "speculation": lambda models_dir, what: speculation.run(models_dir, what.models, what.rounds),
    "cascade": lambda _, what: cascade.run(what.pairs),
    "guard": lambda _, what: guard.run(what.pairs),
    "judge": lambda models_dir, _: judge.run(models_dir),
    "all-gears": lambda models_dir, _: all_gears.run(models_dir),
    "chat": lambda models_dir, _: chat.run(models_dir),
    "load": lambda models_dir, _: load.run(models_dir),
    "long-contexts": long_contexts.run,
    "convert": lambda models_dir, _: convert.run(models_dir),
    "serving": serving.run,
    "app": lambda models_dir, _: [*paths.run(models_dir), *paints.run(models_dir)],
    "experiments": lambda models_dir, _: experiments.run(models_dir),
    "store": lambda *_: store.run(),
    "dashboards": lambda _, what: dashboards.run(what.rows),
}


def main() -> None:
    """Run what is asked for, each with its name above."""
    options = _parser().parse_args()
    what = decode.Options(
        models=tuple(options.models),
        rounds=options.rounds,
        peers=options.peers,
        lanes=tuple(options.lanes),
        pairs=tuple(options.pairs),
        clients=tuple(options.clients),
        url=options.url,
        served_model=options.served_model,
        rows=options.rows,
    )
    models_dir = Settings.from_env().models_dir
    rows = {}
    for name in BENCHMARKS if options.name == "all" else [options.name]:
        print(f"== {name}")
        rows[name] = BENCHMARKS[name](models_dir, what)
        print_table(rows[name])
    if options.json:
        kept = rows if options.name == "all" else rows[options.name]
        options.json.write_text(json.dumps(kept, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", choices=["all", *BENCHMARKS])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    of_decode = parser.add_argument_group("decode")
    defaults = decode.Options()
    of_decode.add_argument("--models", nargs="+", choices=MODELS, default=defaults.models, help="catalogue names")
    of_decode.add_argument("--rounds", type=_positive, default=defaults.rounds, help="how often each lane is asked")
    of_decode.add_argument("--lanes", nargs="+", choices=LANE_NAMES, default=defaults.lanes, help="our own lanes")
    of_decode.add_argument("--no-peers", dest="peers", action="store_false", help="leave the other engines out")
    of_cascade = parser.add_argument_group("cascade")
    of_cascade.add_argument("--pairs", nargs="+", type=Path, default=(), help="further files of recorded answers")
    of_serving = parser.add_argument_group("serving")
    of_serving.add_argument("--clients", nargs="+", type=_positive, default=defaults.clients, help="who ask at once")
    of_serving.add_argument("--url", help="an OpenAI-compatible server that takes part")
    of_serving.add_argument("--served-model", help="what it calls the model, unless as the catalogue does")
    of_dashboards = parser.add_argument_group("dashboards")
    of_dashboards.add_argument("--rows", type=_positive, default=defaults.rows, help="stored runs")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    main()
