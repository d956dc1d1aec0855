"""Seconds to convert a catalogue file into a Hugging Face folder, its checksum included."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from engine.models import CATALOG
from engine.models.format.manifest import sha256_of
from engine.models.sources.conversion import convert
from tests.benchmarks.table import Row
from tests.benchmarks.timing import spread

REPEATS = 3


def run(models_dir: Path) -> list[Row]:
    """Convert each catalogue file that is here, several times."""
    rows: list[Row] = []
    for model in CATALOG.values():
        source = models_dir / model.file_name
        if not source.exists():
            continue
        seconds = []
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory(dir=models_dir) as folder:
                begun = time.perf_counter()
                convert(source, sha256_of(source), Path(folder))
                seconds.append(time.perf_counter() - begun)
        rows.append(
            {
                "model": model.name,
                "source_bytes": model.bytes,
                "convert_s": statistics.median(seconds),
                "spread": spread(seconds),
            }
        )
    return rows
