"""``gearbox alerts check`` and ``gearbox alerts list``."""

from __future__ import annotations

import argparse
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from app.operations.alerts.command import check_rules, list_alerts
from app.operations.alerts.watch import observe_all
from app.store import RunStatus, RunStore
from app.store.database.identity import now
from tests.support.past_traffic import PastTraffic

NO_OPTIONS = argparse.Namespace()


@pytest.fixture
def database(file: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunStore:
    """The store that the commands find."""
    monkeypatch.setenv("GEARBOX_DATABASE_URL", str(store._database.url))
    monkeypatch.setenv("GEARBOX_DATA_DIR", str(tmp_path))
    return store


def test_what_fires_is_printed_and_the_command_fails(
    database: RunStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert list_alerts(NO_OPTIONS) == 0
    assert "No alert has fired yet" in capsys.readouterr().err
    check_rules(NO_OPTIONS)
    assert "cannot tell  Runs fail" in capsys.readouterr().out
    traffic, moment = PastTraffic(database, monkeypatch), now()
    for number in range(12):
        traffic.run(moment - timedelta(seconds=number + 5), status=RunStatus.FAILED)
    assert check_rules(NO_OPTIONS) == 1
    assert "FIRES        Runs fail: Error share 100 % (12 of 12 runs)" in capsys.readouterr().out
    with closing(RunStore.open(str(database._database.url))) as again:
        assert again.alerts.history() == ()  # nothing was written
    observe_all(database, tmp_path, now())
    assert list_alerts(NO_OPTIONS) == 0
    shown = capsys.readouterr().out
    assert "open" in shown
    assert "firing        machine      Runs fail" in shown
