"""Memory granted to running sequences as they grow: who gives way, who goes on, and that all of them end."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.cache import CHUNK, KVCache
from engine.generation.token_buffer import TokenBuffer
from engine.passes import Hidden, Logits, Wait, at_once
from engine.serving.scheduling.jobs import CallJob
from engine.serving.scheduling.kv_room import KVRoom
from engine.serving.scheduling.running import Running
from tests.support.lazy_memory import needs_lazy_memory

pytestmark = needs_lazy_memory
CONTEXT = 40_000
DECODER: Any = SimpleNamespace()
DECODER.native = DECODER
A_TOKEN = KVCache(1, 1, 1, 4).position_bytes
A_CHUNK = CHUNK * A_TOKEN
PIECE = 128


@dataclass
class Sequence:
    """A prompt and an answer in the making, with room for the whole context."""

    prompt: int
    answer: int
    cache: KVCache = field(default_factory=lambda: KVCache(1, CONTEXT, 1, 4))
    computed: int = 0
    """Rows in all."""

    def __post_init__(self) -> None:
        self.text = TokenBuffer(range(self.prompt), self.prompt + self.answer + 1)
        self.running = Running(CallJob(lambda job: at_once(lambda: None)), at_once(lambda: None))
        self.want()

    def want(self) -> None:
        left = self.text.ids[self.cache.length :]
        if len(self.text) == self.prompt + self.answer:
            self.running.wanted = None
        elif len(left) > 1:
            self.running.wanted = Hidden(DECODER, left[:PIECE], self.cache, self.text)
        else:
            self.running.wanted = Logits(DECODER, left, self.cache, self.text)

    def compute(self) -> None:
        """What it wants, as the scheduler does it: what was given back first, all at once."""
        wanted, again = self.running.wanted, self.running.put_off is not None
        assert isinstance(wanted, Hidden | Logits)
        rows, granted = len(wanted.ids), self.cache.granted
        self.cache.claim(rows)
        assert self.cache.granted == granted, "more was written than had been granted"
        self.cache.commit(rows)
        self.computed += rows
        if again:
            self.running.wanted, self.running.put_off = self.running.put_off, None
            return
        if self.cache.length == len(self.text):
            self.text.append(0)
        self.want()


def run(room: KVRoom, most_bytes: int, sequences: list[Sequence]) -> int:
    """All to their end; how many went on at once at most."""
    going, beside = list(sequences), 0
    for _ in range(40 * sum(each.prompt + each.answer for each in sequences)):
        room.settle([each.running for each in going])
        able = [each for each in going if not each.running.is_parked]
        assert able, "nobody goes on"
        beside = max(beside, len(able))
        charged = sum(each.cache.allocated_bytes for each in going)
        assert room.used_bytes == charged
        assert charged <= most_bytes or len(able) == 1
        for each in able:
            each.compute()
        going = [each for each in going if each.running.wanted is not None]
        if not going:
            return beside
    raise AssertionError("they do not come to an end")


lengths = st.tuples(st.integers(1, 1_500), st.integers(1, 400))


@given(st.lists(lengths, min_size=1, max_size=6), st.integers(0, 12))
def test_all_come_to_their_end_within_the_room_or_one_at_a_time(asked: list[tuple[int, int]], chunks: int) -> None:
    sequences, room = [Sequence(*each) for each in asked], KVRoom(chunks * A_CHUNK)
    run(room, chunks * A_CHUNK, sequences)
    needed = [each.prompt + each.answer - 1 for each in sequences]
    assert all(each.cache.length >= each.prompt for each in sequences)
    again = sum(each.computed for each in sequences) - sum(needed)
    assert again >= 0
    # what is read again was given back for somebody: each time at most all that the youngest held
    assert again <= room.given_back * max(needed)
    room.settle([])
    assert (room.used_bytes, room.share) == (0, 0.0)


def test_many_that_may_write_a_whole_context_run_beside_one_another() -> None:
    sequences = [Sequence(20, 100) for _ in range(16)]
    most_bytes = 32 * A_CHUNK  # a chunk for each, and one more each to grow into
    room = KVRoom(most_bytes)
    assert sum(each.cache.capacity * A_TOKEN for each in sequences) > 70 * most_bytes
    assert run(room, most_bytes, sequences) == 16
    assert room.given_back == 0


def test_who_comes_to_a_full_room_waits_before_it_has_read_anything_and_nobody_reads_twice() -> None:
    sequences = [Sequence(900, 20), Sequence(900, 20), Sequence(10, 5)]
    room = KVRoom(6 * A_CHUNK)
    assert run(room, 6 * A_CHUNK, sequences) == 2  # the short one beside the second
    assert room.given_back == 0
    assert [each.computed for each in sequences] == [919, 919, 14]


def test_two_that_outgrow_the_room_do_not_take_it_from_one_another_again_and_again() -> None:
    sequences = [Sequence(200, 3_000), Sequence(200, 3_000)]
    room = KVRoom(10 * A_CHUNK)
    run(room, 10 * A_CHUNK, sequences)
    assert room.given_back == 1
    assert sequences[0].computed == 3_199


def test_one_that_goes_on_from_what_is_kept_gives_back_only_what_it_wrote() -> None:
    old, young = Sequence(200, 800), Sequence(1_000, 300)
    young.cache.claim(600)
    young.cache.commit(600)
    young.cache.kept_tokens = 600
    young.cache.shrink()
    young.want()
    room = KVRoom(5 * A_CHUNK)
    room.settle([old.running, young.running])
    assert room.used_bytes == A_CHUNK + (1_024 - 600) * A_TOKEN
    lengths = set[int]()
    going = [old, young]
    while going:
        room.settle([each.running for each in going])
        for each in going:
            if each.running.is_parked:
                lengths.add(each.cache.length)
                assert each.cache.own_bytes == 0
            else:
                each.compute()
        going = [each for each in going if each.running.wanted is not None]
    assert room.given_back == 1
    assert lengths == {600}


def test_what_is_kept_gives_way_before_anybody_who_runs() -> None:
    kept = [2 * A_CHUNK]

    def make_room(needed: int) -> bool:
        free = 4 * A_CHUNK - sum(each.cache.used_bytes for each in sequences)
        if needed > free - sum(kept):
            kept.clear()
        return needed <= free

    sequences = [Sequence(200, 200), Sequence(200, 200)]
    room = KVRoom(100 * A_CHUNK, make_room)
    assert run(room, 100 * A_CHUNK, sequences) == 2
    assert (kept, room.given_back) == ([], 0)


def test_where_the_machine_has_no_more_the_youngest_gives_way() -> None:
    sequences = [Sequence(200, 400), Sequence(200, 400)]
    room = KVRoom(100 * A_CHUNK, lambda needed: needed <= 3 * A_CHUNK - sum(s.cache.used_bytes for s in sequences))
    run(room, 100 * A_CHUNK, sequences)
    assert room.given_back == 1
    assert sequences[0].computed == 599


def test_one_that_needs_more_than_all_goes_on_though_somebody_waits_for_it() -> None:
    waiting, large = Sequence(10, 10), Sequence(1_000, 300)
    waiting.running.wanted = Wait(lambda: False)
    room = KVRoom(A_CHUNK)
    for _ in range(20):
        room.settle([waiting.running, large.running])
        assert not large.running.is_parked
        large.compute()
    assert room.given_back == 0
