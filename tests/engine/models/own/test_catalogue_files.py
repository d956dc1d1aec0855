"""The catalogue's published files become what they always became: runs and caches know a model by these hashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.models.checkpoint import resolve
from engine.models.format.manifest import identity
from engine.models.sources.conversion import convert

KNOWN = {
    "smollm2-135m": (
        "e3099e11c1611e513986fbd54be6575b4924a85a9938bbe24d9f7a8b595c18bb",
        "7d27c493c729a66ecefc837280b05d948b1ed50d130eebdbf911b1b36cf38ed7",
    ),
    "qwen2.5-coder-0.5b": (
        "1e269d3de3df5406211d73f30864eb776be5fb3472863e628f4c71f2c691911b",
        "fac9f52d351446fd749e886a4f93dc0deba3217aad49109a8e7ee7d86f9af8dd",
    ),
    "qwen2.5-coder-1.5b": (
        "f629c36182862200e58eaef6ce44e3f42fd8e614b52c600b2934d0a0c3189232",
        "fac9f52d351446fd749e886a4f93dc0deba3217aad49109a8e7ee7d86f9af8dd",
    ),
}
"""sha256 of configuration and weights together, and of ``tokenizer.json``."""


@pytest.mark.slow
@pytest.mark.parametrize("name", list(KNOWN))
def test_a_published_file_becomes_the_very_model_that_it_always_became(
    name: str, models_dir: Path, tmp_path: Path
) -> None:
    if not (models_dir / name).is_dir():
        pytest.skip(f"{name} is not installed")
    source = resolve(name, models_dir).source
    assert source is not None
    manifest = convert(source, "", tmp_path)
    hashes = {file: record.sha256 for file, record in manifest.files.items()}
    assert (identity(hashes), hashes["tokenizer.json"]) == KNOWN[name]
