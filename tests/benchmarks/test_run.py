"""Every benchmark runs from end to end on tiny models in the place of the catalogue's, whatever its figures are."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.models.format.manifest import FileRecord, Manifest, sha256_of
from engine.native.structures import PARTS
from tests.benchmarks import (
    all_gears,
    cascade,
    chat,
    convert,
    coverage,
    decode,
    divergence,
    experiments,
    guard,
    load,
    long_contexts,
    serving,
    speculation,
    start,
    store,
)
from tests.benchmarks.kernels import profile, sensitivity
from tests.benchmarks.lanes import MODELS
from tests.benchmarks.screen import paints, paths
from tests.benchmarks.table import Row, print_table
from tests.support.scripted_server import ScriptedServer
from tests.support.server import find_chromium
from tests.support.tiny import FAMILIES, make_tiny_checkpoint
from tests.support.tiny_catalog import write_gguf

pytestmark = [pytest.mark.slow, pytest.mark.full]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where each model of the catalogue is a tiny one, each of another family; heads of their own, and one
    that is the embedding."""
    folder = tmp_path_factory.mktemp("data") / "models"
    for name, family in zip(MODELS, FAMILIES, strict=False):
        tied = name == MODELS[0]
        place = make_tiny_checkpoint(folder / name, family, max_position_embeddings=4096, tie_word_embeddings=tied)
        records = {file.name: FileRecord(file.stat().st_size, sha256_of(file)) for file in place.iterdir()}
        made = Manifest(
            source_file="gone.gguf", source_sha256="", encodings={}, bits_per_weight=16, parameters=10**5, files=records
        )
        made.write(place)
    return folder


def assert_whole(rows: list[Row]) -> None:
    assert rows
    assert all(row.get("error") is None for row in rows), rows
    print_table(rows)


@pytest.mark.parametrize("model", MODELS)
def test_decode(models: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "DIVERGENCE_PROMPTS", 2)
    monkeypatch.setattr(decode, "_prompt_of", lambda tokens, encode: "the wheel turns and " * 20)
    rows = decode.run(models, decode.Options(models=(model,), rounds=1, peers=False))
    assert_whole(rows)
    assert {str(row["precision"]) for row in rows} == {"bf16", "int8", "int4", "nf4"}


def test_divergence(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = divergence.default_corpus()
    monkeypatch.setattr(divergence, "default_corpus", lambda: type(corpus)(name="few", prompts=corpus.prompts[:2]))
    assert_whole(divergence.run(models))


def test_speculation(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = speculation.load_prompts(speculation.PROMPTS)
    monkeypatch.setattr(speculation, "load_prompts", lambda _: prompts[:2])
    monkeypatch.setattr(speculation, "NEW_TOKENS", 12)
    assert_whole(speculation.run(models, MODELS, 1))


def test_all_gears(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_gears, "PER_CATEGORY", 1)
    monkeypatch.setattr(all_gears, "TASKS_PER_CATEGORY", 1)
    monkeypatch.setattr(all_gears, "TURNS", all_gears.TURNS[:2])
    monkeypatch.setattr(all_gears, "NEW_TOKENS", 4)
    assert_whole(all_gears.run(models))


def test_chat(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "ROUNDS", 1)
    monkeypatch.setattr(chat, "TURNS", chat.TURNS[:3])
    monkeypatch.setattr(chat, "ANSWER_TOKENS", 8)
    assert_whole(chat.run(models))


def test_load(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "REPEATS", 1)
    assert_whole(load.run(models))


def test_serving(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "NEW_TOKENS", 6)
    monkeypatch.setattr(serving, "LONG_WORDS", 100)
    with ScriptedServer() as server:
        options = decode.Options(models=MODELS[:1], rounds=2, peers=False, clients=(1, 3), url=server.url)
        rows = serving.run(models, options)
    assert_whole(rows)
    lanes = [serving.SERIAL, serving.TOGETHER, server.url]
    assert [(row["lane"], row["clients"]) for row in rows] == [
        *((lane, clients) for clients in (1, 3) for lane in lanes),
        (serving.BESIDE, 3),
    ]
    assert [row["as_alone"] for row in rows if row["lane"] == serving.TOGETHER] == ["2 of 2", "6 of 6"]
    assert len(server.bodies) == 1 + 2 * (1 + 3)


def test_convert(tmp_path: Path) -> None:
    write_gguf(tmp_path / next(iter(convert.CATALOG.values())).file_name)
    assert_whole(convert.run(tmp_path))


def test_cascade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "SPLITS", 1)
    monkeypatch.setattr(cascade, "BOUNDARIES", cascade.BOUNDARIES[:1])
    monkeypatch.setattr(coverage, "DRAWS", 10)
    monkeypatch.setattr(coverage, "SIZES", (100,))
    assert_whole(cascade.run(()))


def test_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BOUNDARIES", guard.BOUNDARIES[:1])
    assert_whole(guard.run(()))


@pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium")
def test_app(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paints, "REPEATS", 2)
    monkeypatch.setattr(paths, "ROUNDS", 1)
    assert_whole(paints.run(models))
    assert_whole(paths.run(models))


@pytest.mark.parametrize("model", MODELS)
def test_long_contexts(models: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_contexts, "CONTEXTS", (256, 512))
    monkeypatch.setattr(long_contexts, "PREFIX_TOKENS", 400)
    assert_whole(long_contexts.run(models, decode.Options(models=(model,), rounds=2, peers=False)))


@pytest.mark.parametrize("model", MODELS)
def test_profile(models: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "ROWS", (1, 8, 140))
    rows = profile.run(models, decode.Options(models=(model,), rounds=1, lanes=("int4",)))
    assert_whole(rows)
    assert {row["part"] for row in rows} == {*PARTS, "outside", "all"}
    assert all(row["median_ms"] > 0 for row in rows if row["part"] in ("qkv", "attention", "head", "all"))


@pytest.mark.parametrize("model", MODELS)
def test_sensitivity(models: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "PROMPTS", 2)
    rows = sensitivity.run(models, decode.Options(models=(model,)))
    assert_whole(rows)
    assert [row["plan"] for row in rows if "plan" in row][-1] == "the best of them"
    assert {row["form"] for row in rows if "form" in row} == {"int3", "nf4"}


@pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium")
def test_start(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "REPEATS", 1)
    monkeypatch.setattr(start, "SETTLED_S", 0.0)
    assert_whole(start.run(models))


def test_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ROWS", 500)
    assert_whole(store.run())


def test_experiments(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "PROMPTS", 60)
    monkeypatch.setattr(experiments, "REPEATS", 1)
    monkeypatch.setattr(experiments, "ANSWERED", 4)
    assert_whole(experiments.run(models))
