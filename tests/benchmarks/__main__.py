"""``python -m tests.benchmarks all`` or one by name; ``--json PATH`` keeps the rows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from app.settings import Settings
from tests.benchmarks import app, convert, decode, divergence, load, store
from tests.benchmarks.table import Row, print_table

BENCHMARKS: dict[str, Callable[[Path], list[Row]]] = {
    "decode": decode.run,
    "divergence": divergence.run,
    "load": load.run,
    "convert": convert.run,
    "app": app.run,
    "store": lambda _: store.run(),
}


def main() -> None:
    """Run what is asked for, each with its name above."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", choices=["all", *BENCHMARKS])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    models_dir = Settings.from_env().models_dir
    rows = {}
    for name in BENCHMARKS if options.name == "all" else [options.name]:
        print(f"== {name}")
        rows[name] = BENCHMARKS[name](models_dir)
        print_table(rows[name])
    if options.json:
        kept = rows if options.name == "all" else rows[options.name]
        options.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
