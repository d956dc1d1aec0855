"""The Alerts page, opened through the entry: what fires, SLOs, rules, channels; and where its links lead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.operations.alerts.rules import SHIPPED, all_rules
from app.operations.alerts.watch import observe_all
from app.store import AlertState, Metric, RunStatus, RunStore, Scope, Viewer
from app.store.database.identity import now
from app.views.operations.alerts.channels import add_channel
from app.views.operations.alerts.objectives import edit_objective
from app.views.operations.alerts.rules import edit_rule
from tests.support.fakes import make_request
from tests.support.past_traffic import PastTraffic, disk_with_room
from tests.support.ui import add_run, open_app, texts

PAGE = "pages/alerts.py"
HOSTILE = "**m** :red[x] <script>alert(1)</script> [a](http://x)"
MINUTE = timedelta(minutes=1)
CHANGES = ("new", "edit", "remove", "test")
"""What the keys of buttons that change something begin with."""


def plant(store: RunStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An alert about failing runs of a model with a hostile name, and its id."""
    disk_with_room(monkeypatch, 40)
    rule = next(rule for rule in SHIPPED if rule.key == "errors")
    store.alerts.keep_rule(replace(rule, scope=Scope(model=HOSTILE), runbook="1. Look.\n2. **Mend** :red[it]."))
    traffic, moment = PastTraffic(store, monkeypatch), now()
    for number in range(20):
        request = make_request(f"Why {number}?", model=HOSTILE)
        traffic.run(moment - timedelta(seconds=10 + number), request, status=RunStatus.FAILED)
    add_run(store, make_request("Not of the alert"))
    observe_all(store, tmp_path, now())
    return next(alert.id for alert in store.alerts.open() if alert.rule == "errors")


def dialog(draw: Callable[[], None]) -> AppTest:
    """A page that shows a dialog each time it is drawn."""

    def script(draw):  # type: ignore[no-untyped-def]  # its text alone is run, without this file's names
        draw()

    app = AppTest.from_function(script, default_timeout=60, args=(draw,)).run()
    assert not app.exception
    return app


def test_with_nothing_in_it_each_section_says_what_it_is_for(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, PAGE)
    assert "No alert fires" in texts(app, "success")
    assert "No server looks at the rules yet" in texts(app, "caption")
    assert "Nothing is promised yet" in texts(open_app(monkeypatch, store, PAGE, {"alerts": "SLOs"}), "info")
    assert "A channel sends them" in texts(open_app(monkeypatch, store, PAGE, {"alerts": "Channels"}), "info")
    rules = open_app(monkeypatch, store, PAGE, {"alerts": "Rules"})
    assert [toggle.value for toggle in rules.toggle] == [True] * len(SHIPPED)


def test_an_alert_is_shown_as_it_was_found_whatever_names_say(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, tmp_path: Path
) -> None:
    plant(store, monkeypatch, tmp_path)
    shown = texts(open_app(monkeypatch, store, PAGE), "markdown")
    assert "20 of 20 runs" in shown
    assert "Look first at: **machine**" in shown
    assert "\\*\\*m\\*\\*" in shown
    assert "\\<script>" in shown
    assert "\\*\\*Mend\\*\\* \\:red\\[it\\]".replace("\\[", "&#91;").replace("\\]", "&#93;") in shown


def test_it_is_acknowledged_silenced_and_heard_again(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, tmp_path: Path
) -> None:
    alert_id = plant(store, monkeypatch, tmp_path)
    app = open_app(monkeypatch, store, PAGE)
    app.button(key=f"acknowledge-{alert_id}").click().run()
    assert store.alerts.get(alert_id).state(now()) is AlertState.ACKNOWLEDGED
    app.button(key=f"silence-{alert_id}-14400").click().run()
    alert = store.alerts.get(alert_id)
    assert alert.silenced_until is not None
    assert timedelta(hours=3.9) < alert.silenced_until - now() <= timedelta(hours=4)
    assert "silent until" in texts(app, "caption")
    app.button(key=f"unsilence-{alert_id}").click().run()
    assert store.alerts.get(alert_id).state(now()) is AlertState.ACKNOWLEDGED
    assert "Acknowledged by you" in texts(app, "markdown")


def test_the_history_says_how_an_alert_ended(monkeypatch: pytest.MonkeyPatch, store: RunStore, tmp_path: Path) -> None:
    plant(store, monkeypatch, tmp_path)
    store.alerts.switch_rule("errors", on=False)
    observe_all(store, tmp_path, now())
    past = open_app(monkeypatch, store, PAGE).dataframe[0].value
    assert "Its rule was switched off." in list(past["ended"])


def test_the_links_of_an_alert_open_its_very_runs(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, tmp_path: Path
) -> None:
    alert_id = plant(store, monkeypatch, tmp_path)
    runs = open_app(monkeypatch, store, "pages/runs.py", {"alert": alert_id})
    assert "Only the runs of the alert" in texts(runs, "caption")
    assert len(runs.dataframe[0].value) == 20
    runs.button(key="leave-alert").click().run()
    assert len(runs.dataframe[0].value) == 21
    lab = open_app(monkeypatch, store, "pages/speculation.py", {"alert": alert_id})
    assert "20 of 20 runs" in texts(lab, "markdown")
    assert set(lab.dataframe[0].value["prompt"]) <= {f"Why {number}?" for number in range(20)}
    lab.selectbox(key="alert-prompt").select("Why 3?").run()
    assert lab.session_state["speculation-prompt"] == "Why 3?"
    for page in ("pages/quantization.py", "pages/cache.py", "pages/router.py"):
        assert "20 of 20 runs" in texts(open_app(monkeypatch, store, page, {"alert": alert_id}), "markdown")
    gone = open_app(monkeypatch, store, "pages/cache.py", {"alert": "nobody's"})
    assert "20 of 20 runs" not in texts(gone, "markdown")


def test_an_objective_is_shown_with_attainment_budget_and_burn_rates(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    store.objectives.add(Metric.TTFT, 0.9, limit_s=1.0)
    traffic, moment = PastTraffic(store, monkeypatch), now()
    for number in range(20):
        traffic.run(moment - MINUTE * number, ttft_s=5.0 if number == 0 else 0.5)
    app = open_app(monkeypatch, store, PAGE, {"alerts": "SLOs"})
    figures = {metric.label: metric.value for metric in app.metric}
    assert figures["Attainment, 28 d"] == "95.0 %"
    assert figures["Error budget left"] == "50 %"
    assert figures["Burn rate, 1 h"] == "0.5×"
    assert "95.0 % of 20 requests" in [metric.delta for metric in app.metric]
    assert "TTFT p90 ≤ 1.00 s" in texts(app, "markdown")


def test_an_objective_is_made_changed_and_refused_in_its_dialog(store: RunStore) -> None:
    app = dialog(lambda: edit_objective(store.objectives, store.facets(), None))
    app.selectbox(key="slo-metric").select(Metric.TPOT).run()
    app.number_input(key="slo-limit-tpot").set_value(80.0)
    app.number_input(key="slo-target-tpot").set_value(99.5)
    app.button(key="keep-slo").click().run()
    (made,) = store.objectives.all()
    assert (made.metric, made.limit_s, made.target, made.window_days) == (Metric.TPOT, 0.08, 0.995, 28)
    app = dialog(lambda: edit_objective(store.objectives, store.facets(), made))
    app.number_input(key="slo-days").set_value(7)
    app.button(key="keep-slo").click().run()
    assert store.objectives.all() == (replace(made, window_days=7),)
    app = dialog(lambda: edit_objective(store.objectives, store.facets(), made))
    app.number_input(key="slo-target-tpot").set_value(100.0)
    app.button(key="keep-slo").click().run()
    assert "leaves no error budget" in texts(app, "error")


def test_a_rule_is_changed_switched_off_and_put_back(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, PAGE, {"alerts": "Rules"})
    app.toggle(key="rule-on-stale").set_value(False).run()
    assert not next(rule for rule in all_rules(store.alerts.rules()) if rule.key == "stale").is_on
    hit_rate = next(rule for rule in SHIPPED if rule.key == "hit-rate")
    app = dialog(lambda: edit_rule(store.alerts, store.facets(), hit_rate))
    app.number_input(key="rule-limit-hit-rate-falls").set_value(50.0)
    app.text_area(key="rule-runbook-hit-rate").input("Call Anna.")
    app.button(key="keep-rule").click().run()
    changed = next(rule for rule in store.alerts.rules() if rule.key == "hit-rate")
    assert changed == replace(hit_rate, limit=0.5, runbook="Call Anna.")
    app = dialog(lambda: edit_rule(store.alerts, store.facets(), changed))
    app.button(key="drop-rule").click().run()
    assert [rule.key for rule in store.alerts.rules()] == ["stale"]


def test_a_switch_shows_what_is_stored_and_keeps_what_another_window_changed(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    app = open_app(monkeypatch, store, PAGE, {"alerts": "Rules"})
    app.toggle(key="rule-on-stale").set_value(False).run()
    stale = replace(store.alerts.rules()[0], limit=3.0)
    store.alerts.keep_rule(stale)
    app.toggle(key="rule-on-stale").set_value(True).run()
    assert store.alerts.rules() == (replace(stale, is_on=True),)
    store.alerts.switch_rule("stale", on=False)
    assert app.run().toggle(key="rule-on-stale").value is False


def test_who_does_not_see_all_changes_no_channel_rule_or_slo(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    store.alerts.channels.add("hook", "JSON", "json://a")
    store.objectives.add(Metric.ERRORS, 0.9)
    stranger = store.seen_by(Viewer("a" * 32, sees_all=False))
    for section in ("SLOs", "Rules", "Channels"):
        app = open_app(monkeypatch, stranger, PAGE, {"alerts": section})
        assert "Only the machine's own desk may change" in texts(app, "caption")
        assert [button.key for button in app.button if button.key and button.key.split("-")[0] in CHANGES] == []
        assert all(toggle.disabled for toggle in app.toggle)
    app = open_app(monkeypatch, store.seen_by(Viewer("a" * 32, sees_all=True)), PAGE, {"alerts": "Channels"})
    assert app.button(key="new-channel")
    assert not app.toggle[0].disabled


def test_a_rule_of_one_s_own_is_made(store: RunStore) -> None:
    app = dialog(lambda: edit_rule(store.alerts, store.facets(), None))
    app.button(key="keep-rule").click().run()
    assert "Give the rule a name" in texts(app, "error")
    app.text_input(key="rule-name").input("Slow starts")
    app.selectbox(key="rule-figure").select("ttft").run()
    app.number_input(key="rule-limit-ttft-above").set_value(2.5)
    app.button(key="keep-rule").click().run()
    (made,) = store.alerts.rules()
    assert (made.name, made.figure, made.limit, made.percentile) == ("Slow starts", "ttft", 2.5, 0.95)


def test_a_channel_is_added_and_its_address_not_shown_again(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = dialog(lambda: add_channel(store.alerts.channels))
    app.text_input(key="channel-name").input("*hook*")
    app.text_input(key="channel-url").input("http://example.com/secret-4711")
    app.button(key="add-channel").click().run()
    assert "For a webhook write" in texts(app, "error")
    app.text_input(key="channel-url").input("json://example.invalid/secret-4711")
    app.button(key="add-channel").click().run()
    (channel,) = store.alerts.channels.all()
    page = open_app(monkeypatch, store, PAGE, {"alerts": "Channels"})
    assert "\\*hook\\*" in texts(page, "markdown")
    assert "secret-4711" not in str(page)
    assert "Addresses are kept in plain text" in texts(page, "caption")
    page.button(key=f"test-{channel.id}").click().run()
    assert "Test waits to be sent" in texts(page, "markdown")
    (errand,) = store.alerts.channels.claim()
    store.alerts.channels.settle(errand.delivery, "The service answered 500.")
    assert "not sent yet. The service answered 500. Try 2 of 8 at" in texts(page.run(), "markdown")
    alerts = open_app(monkeypatch, store, PAGE)
    assert "The service answered 500" in texts(alerts, "warning")
    page.toggle(key=f"channel-on-{channel.id}").set_value(False).run()
    assert [each.is_on for each in store.alerts.channels.all()] == [False]


def test_operations_says_whether_all_is_within_its_promise(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, tmp_path: Path
) -> None:
    monkeypatch.setattr(store.objectives.memo, "clock", lambda: 0.0)  # however slow this machine is, nothing is kept
    add_run(store)
    calm = texts(open_app(monkeypatch, store, "pages/operations.py"), "markdown")
    assert "No SLO is set yet" in calm
    assert "No alert fires" in calm
    store.objectives.add(Metric.ERRORS, 0.9)
    assert "The SLO is kept" in texts(open_app(monkeypatch, store, "pages/operations.py"), "markdown")
    plant(store, monkeypatch, tmp_path)
    troubled = texts(open_app(monkeypatch, store, "pages/operations.py"), "markdown")
    assert "1 of 1 SLO broken" in troubled
    assert "2 alerts" in troubled
    assert "Runs fail" in troubled
