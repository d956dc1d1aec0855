"""What no other test asks of both databases: keys, autopilots, drafters, verdicts, answers of a chat."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from app.doors.keys import KeyLimits
from app.store import DraftFigures, DraftResult, ExperimentState, GoneError, KeyStore, RunStore, StartedFrom, Viewer
from app.store.leases import repository as leases
from app.store.leases.schema import Lease
from engine.evaluation.judge import Verdict
from engine.types import Precision, SpeculationConfig, Tier
from tests.support.cascade import answer
from tests.support.experiments import TASKS
from tests.support.fakes import make_request
from tests.support.searching import keep

SET, TIER, WEIGHTS = "s" * 64, "small@int8", "w" * 64
JUDGE = Tier(model="judge", precision=Precision.INT8)
RIGHT, WRONG = Verdict(right=True, confidence=0.75), Verdict(right=False, confidence=0.5)
ANNA, BEN = Viewer("anna", sees_all=False), Viewer("ben", sees_all=False)
DRAFT = DraftResult(
    model="small",
    weights_sha256=WEIGHTS,
    precision="int8",
    config_hash="c" * 16,
    prompt_sha256="p" * 64,
    speculation=SpeculationConfig(),
    created_at=datetime(2026, 3, 1, tzinfo=UTC),
    figures=DraftFigures(
        plain_tpot_s=0.2,
        drafted_tpot_s=0.1,
        tokens=5,
        identical=5,
        drafted_tokens=4,
        accepted_tokens=3,
        verification_steps=2,
        rejections=1,
    ),
    environment={"cpu": "x"},
)


def test_keys_are_made_known_used_and_revoked(store: RunStore) -> None:
    keys = KeyStore(store._database)
    first, secret = keys.create("Anna's laptop", KeyLimits(), created_by="anna")
    second, _ = keys.create("Ben", KeyLimits(concurrent=3))
    assert {key.id for key in keys.list()} == {first.id, second.id}
    assert keys.known(secret) is None
    assert [key and key.id for key in (keys.check(secret), keys.known(secret))] == [first.id] * 2
    assert next(key for key in keys.list() if key.id == first.id).last_used_at is not None
    keys.revoke(first.prefix)
    assert keys.check(secret) is keys.known(secret) is None
    with pytest.raises(GoneError):
        keys.revoke("gbx_00000000")


def test_autopilots_are_kept_with_their_heats_and_deleted_with_them(store: RunStore) -> None:
    annas = store.seen_by(ANNA)
    id = annas.autopilots.keep(name="Fast", plan={"seconds": 60}, prompts=TASKS)
    heats = [
        annas.experiments.keep(name=name, question="", design={}, design_sha256=name * 64, prompts=TASKS)
        for name in ("a", "b")
    ]
    for seconds, heat in enumerate(heats):
        annas.autopilots.add_heat(id, heat)
        annas.autopilots.set_seconds(heat, float(seconds))
    assert [(heat.experiment_id, heat.seconds) for heat in annas.autopilots.heats(id)] == [
        (heats[0], 0.0),
        (heats[1], 1.0),
    ]
    assert annas.autopilots.prompts(id) == TASKS
    assert [kept.id for kept in annas.autopilots.all()] == [id]
    assert store.seen_by(BEN).autopilots.all() == ()
    with pytest.raises(GoneError):
        store.seen_by(BEN).autopilots.get(id)
    annas.autopilots.begin(id, StartedFrom.PAGE)
    under_way = annas.autopilots.get(id).under_way
    assert under_way is not None
    assert under_way.here
    annas.autopilots.set_state(id, ExperimentState.DONE)
    assert annas.autopilots.get(id).state is ExperimentState.DONE
    annas.autopilots.delete(id)
    assert annas.autopilots.all() == annas.experiments.all() == ()
    with pytest.raises(GoneError):
        annas.autopilots.set_seconds(heats[0], 3.0)


def test_whoever_goes_on_says_so_every_minute(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    id = store.experiments.keep(name="Long", question="", design={}, design_sha256="d" * 64, prompts=TASKS)
    store.experiments.begin(id, StartedFrom.PAGE)
    later = leases.now() + timedelta(minutes=2)
    monkeypatch.setattr(leases, "now", lambda: later)
    store._leases.tidy_up()
    with store._database.read() as session:
        (row,) = session.scalars(select(Lease)).all()
        assert row.seen_at == later


def test_drafters_are_kept_prompt_by_prompt(store: RunStore) -> None:
    newer = replace(DRAFT, created_at=DRAFT.created_at + timedelta(days=1), environment={"cpu": "y"})
    other = replace(DRAFT, prompt_sha256="q" * 64)
    for result in (newer, DRAFT, other):  # an older one that comes late changes nothing
        store.drafts.keep(result)
    assert set(map(repr, store.drafts.results("small", "int8"))) == {repr(newer), repr(other)}
    assert store.drafts.results("small", "int4") == ()
    store.drafts.forget(WEIGHTS, "c" * 16, ["p" * 64])
    assert store.drafts.results("small", "int8") == (other,)


def test_verdicts_on_recorded_answers_go_with_them_into_another_set(store: RunStore) -> None:
    store.router.keep_set(SET, "Sums", TASKS)
    first, second = TASKS[0].id, TASKS[1].id
    for prompt in (first, second):
        store.router.keep_answer(SET, prompt, TIER, WEIGHTS, replace(answer(), text="4"), {"cpu": "x"})
    assert store.router.answered(SET, TIER, WEIGHTS) == {first, second}
    assert {each.prompt_id for each in store.router.latest_answers(TIER, 5)} == {first, second}
    for verdict in (WRONG, RIGHT):
        store.router.keep_verdict(SET, first, TIER, "4", JUDGE, WEIGHTS, verdict)
    (said,) = store.router.verdicts(SET).values()
    assert [each.verdict for each in said] == [RIGHT]
    count, latest = store.router.judged_until(SET)
    assert (count, latest) == (1, said[0].created_at)
    store.router.keep_set("t" * 64, "More sums", TASKS)
    store.router.copy_answers(SET, "t" * 64, [first])
    assert store.router.answered("t" * 64, TIER, WEIGHTS) == {first}
    assert [each.verdict for each in next(iter(store.router.verdicts("t" * 64).values()))] == [RIGHT]
    store.router.renew(SET, TIER, WEIGHTS)
    assert store.router.answered(SET, TIER, WEIGHTS) == frozenset()


def test_verdicts_on_runs_go_with_the_runs(store: RunStore) -> None:
    run_id = keep(store, "four")
    for verdict in (WRONG, RIGHT):
        store.router.keep_run_verdict(run_id, JUDGE, WEIGHTS, verdict)
    store.router.keep_run_verdict("gone", JUDGE, WEIGHTS, RIGHT)
    assert [each.verdict for each in store.router.run_verdicts([run_id, "gone"])[run_id]] == [RIGHT]
    store.delete([run_id])
    assert store.router.run_verdicts([run_id]) == {}


def test_an_answer_is_added_to_a_chat_once(store: RunStore) -> None:
    chat_id = store.chat.create("T", make_request().config.to_dict())
    asked = store.chat.append(chat_id, None, "user", "x")
    run_id = keep(store, "y")
    added = [store.chat.keep_answer(chat_id, asked, "y", token_ids=(1, 2), run_id=run_id) for _ in range(2)]
    assert added[0] == added[1]
    assert [message.content for message in store.chat.get(chat_id).messages] == ["x", "y"]


def test_saved_configurations_of_all_are_listed_by_name(store: RunStore) -> None:
    config = make_request().config.to_dict()
    for person, name in (("anna", "b"), (None, "A"), ("ben", "c")):
        store.configurations.save(person, name, config, warm=False)
    assert [saved.name for saved in store.configurations.everybodys()] == ["A", "b", "c"]
