"""The bar of a command line."""

from __future__ import annotations

import pytest

from engine.models.sources.progress import terminal_bar


@pytest.mark.parametrize(("is_terminal", "every_stage"), [(True, True), (False, False)])
def test_a_log_is_not_filled_with_every_stage(
    is_terminal: bool, every_stage: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    with terminal_bar("Small") as progress:
        for step in range(50):
            progress(f"step {step}", step / 50)
    said = capsys.readouterr().err
    assert ("step 17" in said) is every_stage
    assert "step 0" in said
