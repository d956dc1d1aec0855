"""``python -m tests.benchmarks all`` or one by name; ``--keep`` puts what it came to into ``docs``, ``page`` makes the
page of what is there."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

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
    screen,
    serving,
    speculation,
    start,
    store,
    tokens,
)
from tests.benchmarks.keeping import about, keep, write_page
from tests.benchmarks.kernels import profile, sensitivity
from tests.benchmarks.lanes import LANE_NAMES, MODELS
from tests.benchmarks.screen import paints, paths
from tests.benchmarks.table import Row, print_table


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One of them."""

    module: ModuleType
    """Says what it measures."""
    run: Callable[[Path, decode.Options], list[Row]]


BENCHMARKS = {
    "decode": Benchmark(decode, decode.run),
    "divergence": Benchmark(divergence, lambda models_dir, _: divergence.run(models_dir)),
    "speculation": Benchmark(
        speculation, lambda models_dir, what: speculation.run(models_dir, what.models, what.rounds)
    ),
    "cascade": Benchmark(cascade, lambda _, what: cascade.run(what.pairs)),
    "guard": Benchmark(guard, lambda _, what: guard.run(what.pairs)),
    "judge": Benchmark(judge, lambda models_dir, _: judge.run(models_dir)),
    "all-gears": Benchmark(all_gears, lambda models_dir, _: all_gears.run(models_dir)),
    "chat": Benchmark(chat, lambda models_dir, _: chat.run(models_dir)),
    "load": Benchmark(load, lambda models_dir, _: load.run(models_dir)),
    "profile": Benchmark(profile, profile.run),
    "sensitivity": Benchmark(sensitivity, sensitivity.run),
    "long-contexts": Benchmark(long_contexts, long_contexts.run),
    "tokens": Benchmark(tokens, lambda models_dir, what: tokens.run(models_dir, what.models)),
    "convert": Benchmark(convert, lambda models_dir, _: convert.run(models_dir)),
    "serving": Benchmark(serving, serving.run),
    "app": Benchmark(screen, lambda models_dir, _: [*paths.run(models_dir), *paints.run(models_dir)]),
    "start": Benchmark(start, lambda models_dir, _: start.run(models_dir)),
    "experiments": Benchmark(experiments, lambda models_dir, _: experiments.run(models_dir)),
    "store": Benchmark(store, lambda *_: store.run()),
    "dashboards": Benchmark(dashboards, lambda _, what: dashboards.run(what.rows, what.databases)),
}
_PAGE = "page"
_DATABASES = ("sqlite", "postgresql+psycopg")


def main() -> None:
    """Run what is asked for, each with its name above."""
    options = _parser().parse_args()
    if options.name == _PAGE:
        write_page()
        return
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
        databases=tuple(options.databases),
    )
    models_dir = Settings.from_env().models_dir
    rows = {}
    for name in BENCHMARKS if options.name == "all" else [options.name]:
        print(f"== {name}")
        begun = datetime.now(UTC)
        rows[name] = BENCHMARKS[name].run(models_dir, what)
        print_table(rows[name])
        if options.keep:
            keep(name, about(BENCHMARKS[name].module), _command(name), begun, rows[name])
            write_page()
    if options.json:
        kept = rows if options.name == "all" else rows[options.name]
        options.json.write_text(json.dumps(kept, indent=1) + "\n")


def _command(name: str) -> str:
    """What makes this benchmark's figures again; where a run database lay is left out."""
    given = [each for each in sys.argv[2:] if each != "--keep"]
    given = [f"{kind}://…" if kind in _DATABASES else each for each in given for kind in [each.partition("://")[0]]]
    return " ".join(["python -m tests.benchmarks", name, *given])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", choices=["all", *BENCHMARKS, _PAGE])
    parser.add_argument("--keep", action="store_true", help="keep the rows in docs/benchmarks, and make the page anew")
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
    of_dashboards.add_argument(
        "--databases", nargs="+", metavar="URL", default=defaults.databases, help="empty, or filled before"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    main()
