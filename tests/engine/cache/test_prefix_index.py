"""Which sequences are kept, found and let go, and how a miss is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cache import CacheIdentity, EvictionReason, PrefixIndex, Work, as_ids, explain
from engine.cache.prefix_index import shared_prefix
from engine.types import CacheReport, Message, MissCause

MINE = CacheIdentity("weights", "int4", "gearbox", "bf16", None, "me")
BYTES_PER_TOKEN = 10

ids_lists = st.lists(st.integers(0, 2), min_size=1, max_size=8)
steps = st.lists(st.tuples(st.sampled_from(["me", "you"]), ids_lists), min_size=1, max_size=25)


def index_of(budget_bytes: int = 10**6) -> PrefixIndex[None]:
    ticks = iter(range(10**6))
    return PrefixIndex(budget_bytes, clock=lambda: float(next(ticks)))


def keep(
    index: PrefixIndex[None],
    ids: Sequence[int],
    messages: Sequence[Message] = (),
    identity: CacheIdentity = MINE,
) -> bool:
    return index.add(identity, as_ids(ids), tuple(messages), None, BYTES_PER_TOKEN * len(ids))


def explained(
    index: PrefixIndex[None],
    ids: Sequence[int],
    messages: Sequence[Message] = (),
    identity: CacheIdentity = MINE,
    *,
    cold: bool = False,
    retokenized: Mapping[int, str] = MappingProxyType({}),
) -> CacheReport:
    def spell(token_ids: Sequence[int]) -> str:
        return " ".join(map(str, token_ids))

    return explain(index, identity, as_ids(ids), messages, spell, cold=cold, retokenized=retokenized)


@given(steps, st.integers(0, 300))
def test_what_is_found_is_really_a_prefix_of_the_same_owner_and_the_budget_holds(
    added: list[tuple[str, list[int]]], budget_bytes: int
) -> None:
    index = index_of(budget_bytes)
    for salt, ids in added:
        identity = replace(MINE, salt=salt)
        match = index.nearest([identity], as_ids(ids))
        if match:
            assert match.kept.identity == identity
            assert match.kept.ids[: match.tokens].tolist() == ids[: match.tokens]
            best = max(shared_prefix(k.ids, as_ids(ids)) for k in index.kept() if k.identity == identity)
            assert match.tokens == best
        keep(index, ids, identity=identity)
        assert index.used_bytes <= budget_bytes
        for one in index.kept():
            for other in index.kept():
                if one is not other and one.identity == other.identity:
                    assert shared_prefix(one.ids, other.ids) < min(len(one.ids), len(other.ids))


@given(steps)
def test_with_room_for_all_nothing_that_was_kept_is_lost(added: list[tuple[str, list[int]]]) -> None:
    index = index_of()
    for salt, ids in added:
        keep(index, ids, identity=replace(MINE, salt=salt))
    for salt, ids in added:
        match = index.nearest([replace(MINE, salt=salt)], as_ids(ids))
        assert match is not None
        assert match.tokens == len(ids)


def test_the_longest_unused_leaves_first_and_being_used_counts() -> None:
    index = index_of(2 * 3 * BYTES_PER_TOKEN)
    keep(index, [1, 1, 1])
    keep(index, [2, 2, 2])
    first = index.nearest([MINE], as_ids([1, 1, 1]))
    assert first
    index.count(first.kept, 3)
    keep(index, [3, 3, 3])
    assert [kept.ids.tolist() for kept in index.kept()] == [[1, 1, 1], [3, 3, 3]]
    assert [gone.reason for gone in index.evicted()] == [EvictionReason.BUDGET]


def test_hits_save_prefill_at_the_pace_the_sequence_was_computed_with_also_when_it_grows() -> None:
    index = index_of()
    index.add(MINE, as_ids([1, 2]), (), None, 20, Work(2, 0.4))
    used = index.nearest([MINE], as_ids([1, 2, 3]))
    assert used
    index.count(used.kept, 2)
    index.add(MINE, as_ids([1, 2, 3]), (), None, 30, Work(1, 0.5))
    (grown,) = index.kept()
    assert (grown.hits, grown.reused_tokens, grown.saved_s) == (1, 2, pytest.approx(0.4))
    assert grown.work == (3, pytest.approx(0.9))
    assert index.evicted() == ()


def test_what_a_request_uses_stays_even_beyond_the_budget() -> None:
    index = index_of()
    keep(index, [1, 1, 1])
    used = index.nearest([MINE], as_ids([1, 1, 1]))
    assert used
    index.pin(used.kept)
    index.resize(0)
    assert index.kept() == (used.kept,)
    assert not index.evict_oldest(EvictionReason.MEMORY)
    index.unpin(used.kept)
    assert index.kept() == ()


@pytest.mark.parametrize("budget_bytes", [0, 2 * BYTES_PER_TOKEN])
def test_a_sequence_larger_than_the_budget_is_not_kept(budget_bytes: int) -> None:
    index = index_of(budget_bytes)
    keep(index, [4, 4])
    before = index.kept()
    assert not keep(index, [1, 2, 3])
    assert index.kept() == before
    assert index.evicted()[-1].ids.tolist() == [1, 2, 3]


def test_a_session_that_ends_takes_its_sequences_along_and_leaves_the_others() -> None:
    index = index_of()
    keep(index, [1, 2, 3])
    keep(index, [1, 2, 3], identity=replace(MINE, salt="you"))
    index.forget("me")
    assert [kept.identity.salt for kept in index.kept()] == ["you"]
    report = explained(index, [1, 2, 3, 4])
    assert report.cause is not MissCause.EVICTED


# --- why not more ----------------------------------------------------------------------------------

LONG = list(range(100, 140))
HISTORY = (Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello."))


def test_a_conversation_that_goes_on_has_nothing_to_explain() -> None:
    index = index_of()
    keep(index, LONG, HISTORY)
    report = explained(index, [*LONG, 1, 2], (*HISTORY, Message("user", "And?")))
    assert (report.cause, report.lost_tokens, report.nearest_tokens) == (None, 0, len(LONG))


def test_the_same_prompt_again_leaves_one_token_to_compute_and_nothing_lost() -> None:
    index = index_of()
    keep(index, [*LONG, 7, 8], HISTORY)
    report = explained(index, LONG, HISTORY[:2])
    assert (report.cause, report.lost_tokens, report.nearest_tokens) == (None, 0, len(LONG) - 1)


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ((Message("system", "Be long."), *HISTORY[1:]), MissCause.SYSTEM_PROMPT),
        ((HISTORY[0], Message("user", "Bye"), HISTORY[2]), MissCause.TURN),
        ((*HISTORY[:2], Message("assistant", "Good day.")), MissCause.TURN),
        (HISTORY, MissCause.TEMPLATE),
    ],
)
def test_a_parting_names_the_token_and_the_likely_cause(changed: tuple[Message, ...], cause: MissCause) -> None:
    index = index_of()
    keep(index, LONG, HISTORY)
    report = explained(index, [*LONG[:10], 1, 2, *LONG[12:], 3], (*changed, Message("user", "And?")))
    assert (report.cause, report.parted_at, report.lost_tokens) == (cause, 10, len(LONG) - 10)
    assert report.kept_text.split()[0] == "110"
    assert report.came_text.split()[0] == "1"


def test_an_answer_that_was_read_anew_is_named_as_the_cause() -> None:
    index = index_of()
    keep(index, LONG, HISTORY)
    came = (*HISTORY, Message("user", "And?"), Message("assistant", "Yes."), Message("user", "So?"))
    parted = [*LONG[:30], 1, 2, 3]
    report = explained(index, parted, came, retokenized={2: "the template cuts it", 4: "the template shouts it"})
    assert report.cause is MissCause.TEMPLATE
    assert report.detail == "The answer of turn 1 was read anew and not in its own tokens: the template cuts it."
    later = explained(index, parted, came, retokenized={4: "the template shouts it"})
    assert "shouts" not in later.detail  # it was not yet there when the sequence was kept


def test_a_new_question_after_what_was_kept_is_no_miss() -> None:
    index = index_of()
    keep(index, LONG, HISTORY)
    other_question = (HISTORY[0], Message("user", "Bye"))
    report = explained(index, [*LONG[:10], 1, 2], other_question)
    assert (report.cause, report.lost_tokens, report.nearest_tokens) == (None, 0, 10)


def test_another_precision_is_named_where_it_would_have_given_more() -> None:
    index = index_of()
    keep(index, LONG, HISTORY, replace(MINE, precision="bf16"))
    report = explained(index, [*LONG, 1], HISTORY)
    assert (report.cause, report.lost_tokens) == (MissCause.CONFIGURATION, len(LONG))
    assert "bf16" in report.detail


def test_another_session_is_named_without_telling_what_it_holds() -> None:
    index = index_of()
    keep(index, LONG, HISTORY, replace(MINE, salt="you"))
    report = explained(index, [*LONG[:20], 1, 2], HISTORY)
    assert report.cause is MissCause.SESSION
    assert (report.parted_at, report.kept_text) == (None, "")


def test_another_session_and_another_precision_at_once_are_nobodys_business() -> None:
    index = index_of()
    keep(index, LONG, HISTORY, replace(MINE, salt="you", precision="bf16"))
    assert explained(index, [*LONG, 1], HISTORY).cause is MissCause.NOTHING


def test_a_sequence_that_left_is_named_with_the_reason() -> None:
    index = index_of(BYTES_PER_TOKEN * len(LONG))
    keep(index, LONG, HISTORY)
    keep(index, [1] * len(LONG))
    report = explained(index, [*LONG, 1], HISTORY)
    assert (report.cause, report.lost_tokens) == (MissCause.EVICTED, len(LONG))
    assert "budget" in report.detail


def test_a_cold_start_says_what_it_gave_up() -> None:
    index = index_of()
    keep(index, LONG, HISTORY)
    report = explained(index, [*LONG, 1], HISTORY, cold=True)
    assert (report.cause, report.lost_tokens) == (MissCause.COLD, len(LONG))


def test_an_empty_cache_explains_itself() -> None:
    report = explained(index_of(), LONG)
    assert (report.cause, report.lost_tokens, report.parted_at) == (MissCause.NOTHING, 0, None)
