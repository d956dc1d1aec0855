"""The kernels under AddressSanitizer and UndefinedBehaviorSanitizer, with every test of tiny models that uses them.

Python and torch are as they are; but the sanitizers' allocator serves torch's tensors too, so that a kernel which
reads or writes one byte beside a tensor is seen.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.native.compilation import SANITIZE, SANITIZERS, _compiler, why_not
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.full, pytest.mark.timeout(7000)]

FILES = (
    "tests/engine/native/test_kernels.py",
    "tests/engine/native/test_instructions.py",
    "tests/engine/native/test_checks.py",
    "tests/engine/native/test_pairs.py",
    "tests/engine/native/test_company.py",
    "tests/engine/quantization/test_schemes.py",
    "tests/engine/models/test_decoder.py",
    "tests/engine/cache/test_kv_cache.py",
    "tests/engine/cache/test_prefix_loans.py",
    "tests/engine/cache/test_system_prompts.py",
    "tests/engine/generation/test_sampling.py",
    "tests/engine/generation/test_choosing.py",
    "tests/engine/backends/test_passes.py",
    "tests/engine/backends/test_sharing.py",
    "tests/engine/speculation/test_speculation.py",
    "tests/engine/cascade/test_engine.py",
    "tests/engine/evaluation/test_engine.py",
)
"""Kernels, decoder, cache, speculation, and the engine around them."""


class Sanitized:
    """Runs Python with sanitized kernels, and reads what the sanitizers wrote."""

    def __init__(self, folder: Path, preloaded: str) -> None:
        self._log = folder / "report"
        common = f"halt_on_error=1:print_stacktrace=1:log_path={self._log}"
        self.environment = os.environ | {
            SANITIZE: "1",
            "ASAN_OPTIONS": f"detect_leaks=0:allocator_may_return_null=1:{common}",
            "UBSAN_OPTIONS": common,
        }
        self._preloaded = preloaded

    def build(self) -> None:
        command = [sys.executable, "-m", "engine", "kernels"]
        subprocess.run(command, cwd=REPOSITORY, env=self.environment, check=True, timeout=1200)

    def run(self, *arguments: str) -> tuple[subprocess.CompletedProcess[str], str]:
        """The finished process and the sanitizers' reports, empty if there are none."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=self.environment | {"LD_PRELOAD": self._preloaded},
            capture_output=True,
            text=True,
            timeout=6900,
            check=False,
        )
        reports = [path.read_text() for path in sorted(self._log.parent.glob(f"{self._log.name}*"))]
        # undefined behaviour is told of on the error stream, wherever the log is
        reports += [line for line in (done.stdout + done.stderr).splitlines() if ": runtime error: " in line]
        return done, "\n".join(reports)


@pytest.fixture
def sanitized(tmp_path: Path) -> Sanitized:
    """Sanitized kernels, built; a skip that says what is missing where they cannot be."""
    if reason := why_not():
        pytest.skip(reason)
    compiler = str(_compiler())
    tried = subprocess.run(
        [compiler, *SANITIZERS, "-x", "c++", "-", "-o", str(tmp_path / "tried")],
        input="int main() { return 0; }", capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tried.returncode:
        pytest.skip(f"{compiler} has no sanitizers: {tried.stderr.strip()[-200:]}")
    # torch throws through libstdc++, which must be there when the sanitizer looks for what throws
    libraries = []
    for name in ("libasan.so", "libstdc++.so.6"):
        found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        libraries.append(found.stdout.strip())
        if not Path(libraries[-1]).is_file():
            pytest.skip(f"{compiler} has no {name} that could be loaded before Python")
    runner = Sanitized(tmp_path, " ".join(libraries))
    runner.build()
    return runner


BESIDE_A_TENSOR = """
import torch
from engine.native.kernels import library
from engine.quantization.int8 import NativeInt8Linear
linear = NativeInt8Linear.pack(torch.ones(64, 64, dtype=torch.bfloat16), None)
linear.matrix.outputs = {outputs}
library().multiply(linear.matrix, torch.ones(1, 64))
print("went through")
"""
AT_AN_ODD_ADDRESS = """
import ctypes, torch
from engine.native.kernels import library
from engine.quantization.bf16 import NativeBf16Linear
linear = NativeBf16Linear.pack(torch.ones(3, 5, dtype=torch.bfloat16), None)
x, y = torch.ones(1, 5), torch.zeros(8)
library()._lib.gearbox_multiply(linear.matrix, x.data_ptr(), 1, y.data_ptr() + {odd}, 1)
print("went through")
"""


@pytest.mark.parametrize(
    ("program", "sound", "spoilt", "says"),
    [
        (BESIDE_A_TENSOR, {"outputs": 64}, {"outputs": 72}, "heap-buffer-overflow"),
        (AT_AN_ODD_ADDRESS, {"odd": 0}, {"odd": 1}, "misaligned address"),
    ],
    ids=["address", "undefined behaviour"],
)
def test_a_wrong_call_is_seen(
    sanitized: Sanitized, program: str, sound: dict[str, int], spoilt: dict[str, int], says: str
) -> None:
    """Else the test below could not fail."""
    done, reports = sanitized.run("-c", program.format(**sound))
    assert (done.returncode, done.stdout.strip(), reports) == (0, "went through", ""), done.stderr
    done, reports = sanitized.run("-c", program.format(**spoilt))
    assert done.returncode != 0
    assert "went through" not in done.stdout
    assert says in reports


def test_no_test_of_the_kernels_is_reported(
    sanitized: Sanitized, record_property: Callable[[str, object], None]
) -> None:
    options = ("-q", "-p", "no:cacheprovider", "--timeout", "1200", "-m", "not slow and not full")
    done, reports = sanitized.run("-m", "pytest", *options, *FILES)
    summary = done.stdout.strip().splitlines()[-1:]
    told = f"{SANITIZERS[0].removeprefix('-fsanitize=')}: {''.join(summary)}; reports: {reports or 'none'}"
    print(told)  # noqa: T201  # `make test-full` shows it
    record_property("sanitizers", told)
    assert reports == ""
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
