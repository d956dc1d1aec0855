"""``python -m engine evaluate``, as a script would use it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from engine import DivergenceStats, read_corpus
from engine.command_line import run as main
from engine.models.checkpoint import resolve
from tests.conftest import REPOSITORY, SMALL

TEXT = "A slow tram climbs the hill, and the driver rings its bell twice at every stop. " * 27
"""A little over 512 tokens of SmolLM2's."""
FIGURES = {field.name for field in fields(DivergenceStats)}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _data_dir(tiny_models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARBOX_DATA_DIR", str(tiny_models_dir.parent))


@pytest.mark.slow
@pytest.mark.timeout(600)  # a window of bf16 takes a while on a processor without bf16
def test_real_weights_as_one_json_object(corpus: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARBOX_DATA_DIR", str(models_dir.parent))
    monkeypatch.delenv("TQDM_DISABLE", raising=False)  # set by commands that another test ran in this process
    command = ["evaluate", "--model", SMALL, "--quantization", "int4", "--corpus", str(corpus), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "engine", *command],
        cwd=REPOSITORY, env=os.environ.copy(), capture_output=True, text=True, timeout=590, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    result = json.loads(done.stdout)
    assert set(result) == FIGURES | {
        "model", "precision", "weights_sha256", "corpus", "windows", "weights_bytes", "reference_weights_bytes",
    }  # fmt: skip
    assert (result["model"], result["precision"]) == (SMALL, "int4")
    assert result["weights_sha256"] == resolve(SMALL, models_dir).weights_sha256
    assert result["corpus"]["sha256"] == read_corpus(corpus).sha256
    assert result["windows"] == 1
    assert result["tokens"] == 255
    assert 0 < result["kld_median"] <= result["kld_p99"] <= result["kld_max"]
    assert 0 < result["kld_mean"] < 0.5
    assert 0.5 < result["same_top"] <= 1
    assert 0.8 < result["ppl_ratio"] < 1.5
    assert result["weights_bytes"] < 0.5 * result["reference_weights_bytes"]
    # how far it is, and how much time is left
    assert "left" in done.stderr
    assert "All texts read" in done.stderr


def test_figures_have_units(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--model", "tiny", "--quantization", "nf4", "--corpus", str(corpus)]) == 0
    out = capsys.readouterr().out
    heading, *lines = out.splitlines()
    assert re.fullmatch(r"tiny in nf4 against 16 bits, on corpus\.txt: [\d,]+ tokens scored", heading)
    shown = {line[:20].strip(): line[20:] for line in lines}
    assert set(shown) == {
        "Perplexity ratio", "KLD, mean", "KLD, median", "KLD, p99", "KLD, max", "Top-1 agreement", "RMS Δp", "Weights",
    }  # fmt: skip
    assert all("nats" in figure for name, figure in shown.items() if name.startswith("KLD"))
    assert all("±" in shown[name] for name in ("Perplexity ratio", "KLD, mean", "Top-1 agreement", "RMS Δp"))


def test_without_a_corpus_the_sample_prompts_are_answered_and_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--model", "tiny", "--quantization", "bf16", "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["corpus"]["name"] == "Gearbox's sample prompts"
    assert result["windows"] == 21
    assert (result["kld_max"], result["same_top"], result["ppl_ratio"]) == (0, 1, 1)
    assert "Answering prompt 1 of 21" in err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"\x7fELF\x02\x01\x00\x00", "zero byte"),
        (b"\x80\x81\x82", "not text in UTF-8: byte 0x80 in line 1"),
        (b"A short text.", "too short"),
    ],
)
def test_a_bad_corpus_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, says: str
) -> None:
    path = tmp_path / "corpus.txt"
    if content is not None:
        path.write_bytes(content)
    assert main(["evaluate", "--model", "tiny", "--quantization", "int4", "--corpus", str(path), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert err.count("\n") == 1


def test_an_unknown_or_missing_model_is_bad_input(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model in ("no-such-model", SMALL):  # the second is in the catalogue, and not installed here
        assert main(["evaluate", "--model", model, "--quantization", "int4", "--corpus", str(corpus)]) == 2
        assert SMALL in capsys.readouterr().err


def test_an_unknown_precision_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", "--model", "tiny", "--quantization", "int3"])
    assert exit_.value.code == 2
    assert "int4" in capsys.readouterr().err
