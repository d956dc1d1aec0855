"""``python -m engine`` as a process: odd bytes, poor locales, readers that leave, interrupts at any moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.models.kept import KEPT_FILE
from tests.conftest import REPOSITORY

POOR_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0"}
INTERRUPTED_AT = """
import os, runpy, signal, sys

awaited = sys.argv.pop(1)

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == awaited:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.path.insert(0, "")
runpy.run_module("engine", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def environment(tiny_models_dir: Path) -> dict[str, str]:
    as_usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return as_usual | {"GEARBOX_DATA_DIR": str(tiny_models_dir.parent)}


def run(*arguments: str | bytes, env: dict[str, str], **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        cwd=REPOSITORY, env=env, capture_output=True, timeout=120, check=False, **options,
    )  # type: ignore[call-overload, no-any-return]  # fmt: skip


@pytest.mark.slow
def test_a_prompt_of_bytes_that_are_no_utf8_is_answered(environment: dict[str, str]) -> None:
    ask = ["generate", "--model", "tiny", "--max-tokens", "3", "--json"]
    odd = run(*ask, "--prompt", b"caf\xe9", env=environment)
    assert odd.returncode == 0, odd.stderr
    plain = run(*ask, "--prompt", "caf\ufffd", env=environment)
    assert json.loads(odd.stdout)["token_ids"] == json.loads(plain.stdout)["token_ids"]


@pytest.mark.slow
def test_a_corpus_with_half_a_character_is_answered(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_bytes(b'\xef\xbb\xbf{"prompt": "half \\ud83d, one\xe2\x80\xa8two"}\r\n')
    scored = ["evaluate", "--model", "tiny", "--quantization", "int8", "--corpus", str(tmp_path / "odd.jsonl")]
    done = run(*scored, "--json", env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["windows"] == 1


@pytest.mark.slow
def test_paths_of_odd_bytes_are_read_or_refused_in_a_line(environment: dict[str, str], tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/mod\xe8le"
    os.mkdir(folder)  # noqa: PTH102 (a path of bytes)
    refused = [
        run("generate", "--model", folder, "--prompt", "x", env=environment),
        run(
            "generate", "--model", "tiny", "--prompt", "x", env=environment | {"GEARBOX_DATA_DIR": os.fsdecode(folder)}
        ),
        run("evaluate", "--model", "tiny", "--quantization", "int8", "--corpus", folder + b"/none", env=environment),
    ]
    for done in refused:
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1), done.stderr
        assert b"mod" in done.stderr
    corpus = folder + b"/t\xeate.txt"
    with open(corpus, "w", encoding="utf-8") as file:  # noqa: PTH123 (a path of bytes)
        file.write("A slow tram climbs the hill. " * 200)
    done = run("evaluate", "--model", "tiny", "--quantization", "int8", "--corpus", corpus, "--json", env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["corpus"]["name"] == "t\ufffdte.txt"


@pytest.mark.slow
def test_a_locale_without_accents_gets_what_it_can_show(environment: dict[str, str], tmp_path: Path) -> None:
    poor = environment | POOR_LOCALE
    (tmp_path / "corpus.txt").write_text("A slow tram climbs the hill. " * 200, encoding="utf-8")
    scored = ["evaluate", "--model", "tiny", "--quantization", "int8", "--corpus", str(tmp_path / "corpus.txt")]
    done = run(*scored, env=poor)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert b"KLD, mean" in done.stdout
    assert b" ? " in done.stdout, "the sign ±"
    complained = run("generate", "--model", "modèle", "--prompt", "x", env=poor)
    assert (complained.returncode, complained.stderr.count(b"\n")) == (2, 1)


@pytest.mark.slow
def test_a_locale_without_accents_reads_and_writes_json_whole(environment: dict[str, str]) -> None:
    ask = ["generate", "--model", "tiny", "--prompt", "À bientôt ± 北京", "--max-tokens", "40", "--json"]
    poor, rich = (run(*ask, env=environment | extra) for extra in (POOR_LOCALE, {"PYTHONUTF8": "1"}))
    assert poor.returncode == rich.returncode == 0, poor.stderr
    assert poor.stdout.isascii()
    for key in ("text", "token_ids", "config"):
        assert json.loads(poor.stdout)[key] == json.loads(rich.stdout)[key]


@pytest.mark.parametrize(
    "command",
    ["models", "--help", pytest.param("generate --model tiny --prompt x --max-tokens 200", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
def test_a_reader_that_leaves_ends_it_quietly(
    environment: dict[str, str], command: str, buffering: dict[str, str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "engine", *command.split()],
            cwd=REPOSITORY, env=environment | buffering, stdout=write, stderr=subprocess.PIPE, timeout=120, check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141 or (command == "--help" and buffering), "argparse takes no notice of a single write"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_is_one_line(environment: dict[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "engine", "models"],
            cwd=REPOSITORY, env=environment, stdout=full, stderr=subprocess.PIPE, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"No space left" in done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "engine.command_line",
        "numpy",
        "engine.untrusted",
        "engine.evaluation",
        *(
            pytest.param(late, marks=pytest.mark.slow)
            for late in ("torch", "transformers", "engine.models.decoders.weights")
        ),
    ],
)
def test_an_interrupt_while_something_is_imported_is_one_line(environment: dict[str, str], module: str) -> None:
    for kept in Path(environment["GEARBOX_DATA_DIR"]).rglob(f"{KEPT_FILE}*"):
        kept.unlink()  # else transformers is not imported
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT, module, "generate", "--model", "tiny", "--prompt", "x"],
        cwd=REPOSITORY, env=environment, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, b"error: interrupted\n")


@pytest.mark.slow
def test_an_interrupt_while_a_model_answers_is_one_line(environment: dict[str, str]) -> None:
    ask = ["generate", "--model", "tiny", "--prompt", "x", "--max-tokens", "100000"]
    child = subprocess.Popen(
        [sys.executable, "-m", "engine", *ask],
        cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.read(1)
    child.send_signal(2)
    _, said = child.communicate(timeout=60)
    assert (child.returncode, said) == (130, b"error: interrupted\n")


def test_closed_streams_are_no_error(environment: dict[str, str]) -> None:
    command = f"exec {sys.executable} -m engine models >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", command], cwd=REPOSITORY, env=environment, check=False).returncode == 0
