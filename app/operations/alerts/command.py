"""``gearbox alerts check`` and ``gearbox alerts list``."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what the commands need is imported when one is run
    from engine.command_line import Commands

_LISTED = 50


def add_alerts(commands: Commands) -> None:
    """Add them to the parser of a program."""
    alerts = commands.add_parser("alerts", help="what alert rules find now, and what fired before")
    actions = alerts.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="look at every rule now, tell nobody, and print what each finds; ends with 1 where one fires"
    )
    check.set_defaults(command=check_rules)
    listing = actions.add_parser("list", help=f"list the latest {_LISTED} alerts, the newest first")
    listing.set_defaults(command=list_alerts)


def check_rules(_options: argparse.Namespace) -> int:
    """Print what each rule finds.

    Raises:
        StoreError: the run database cannot be read.
    """
    from app.operations.alerts.messages import one_line
    from app.operations.alerts.watch import findings
    from app.settings import Settings
    from app.store import RunStore

    settings = Settings.from_env()
    with closing(RunStore.of(settings)) as store:
        found = findings(store, settings.data_dir, datetime.now(UTC))
    for finding in found:
        state = "cannot tell" if finding.holds is None else "FIRES" if finding.holds else "ok"
        sys.stdout.write(f"{state:11}  {one_line(finding.title)}: {one_line(finding.words)}\n")
    return 1 if any(finding.holds for finding in found) else 0


def list_alerts(_options: argparse.Namespace) -> int:
    """Print the latest alerts.

    Raises:
        StoreError: the run database cannot be read.
    """
    from app.operations.alerts.messages import one_line
    from app.settings import Settings
    from app.store import RunStore

    with closing(RunStore.of(Settings.from_env())) as store:
        alerts = store.alerts.history(_LISTED)
    now = datetime.now(UTC)
    for alert in alerts:
        end = f"{alert.resolved_at:%Y-%m-%d %H:%M}" if alert.resolved_at else "open"
        sys.stdout.write(
            f"{alert.opened_at:%Y-%m-%d %H:%M}  {end:16}  {alert.state(now):12}  {alert.gear:11}  "
            f"{one_line(alert.title)}\n"
        )
    if not alerts:
        sys.stderr.write("No alert has fired yet.\n")
    return 0
