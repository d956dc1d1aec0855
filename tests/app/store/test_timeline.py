import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.store import Timeline
from engine.types import TokenEvent

finite = st.floats(-60, 60)
tokens = st.builds(
    TokenEvent,
    token_id=st.integers(0, 200_000),
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    t=st.floats(0, 100_000),
    logprob=finite,
    entropy=finite,
    source=st.sampled_from(["target", "draft", "bonus"]),
    tier=st.none() | st.sampled_from(["smollm2-135m", "qwen2.5-coder-1.5b"]),
)


@settings(deadline=None)
@given(st.lists(tokens, max_size=40))
def test_a_timeline_survives_packing(events: list[TokenEvent]) -> None:
    timeline = Timeline.from_events(events)
    back = Timeline.unpack(timeline.pack())
    assert (back.token_ids, back.texts, back.source, back.tier) == (
        timeline.token_ids,
        timeline.texts,
        timeline.source,
        timeline.tier,
    )
    assert back.t_s == pytest.approx(timeline.t_s, rel=0, abs=0.51e-6)
    assert back.logprob == pytest.approx(timeline.logprob, rel=0, abs=0.51e-4)
    assert back.entropy == pytest.approx(timeline.entropy, rel=0, abs=0.51e-4)


def test_times_do_not_drift_over_a_long_answer() -> None:
    times = tuple(number / 3e5 for number in range(20_000))
    events = [TokenEvent(token_id=1, text="x", t=t, logprob=-1, entropy=1) for t in times]
    assert Timeline.unpack(Timeline.from_events(events).pack()).t_s[-1] == pytest.approx(times[-1], abs=0.51e-6)


def test_what_is_not_a_number_stays_so_and_what_no_file_can_hold_is_replaced() -> None:
    event = TokenEvent(token_id=1, text="a\0\ud800b", t=0.5, logprob=-math.inf, entropy=math.nan, tier="m\udfff")
    back = Timeline.unpack(Timeline.from_events([event]).pack())
    assert math.isnan(back.logprob[0])
    assert math.isnan(back.entropy[0])
    assert back.texts == ("a\ufffd\ufffdb",)
    assert back.tier == ("m\ufffd",)
    assert back.to_dict()["entropy"] == [None]


def test_a_token_takes_fewer_than_sixteen_bytes() -> None:
    chance = random.Random(7)
    words = [" the", " sky", " is", " blue", " because", " light", " scatters", ".", " short", " waves", "\n"]
    moment = 0.0
    events = []
    for _ in range(256):
        moment += chance.gauss(0.012, 0.001)
        index = chance.randrange(2_000)
        word = words[index % len(words)] + str(index // len(words))
        events.append(TokenEvent(index * 17, word, moment, -chance.expovariate(1), chance.expovariate(1)))
    assert len(Timeline.from_events(events).pack()) < 16 * 256
