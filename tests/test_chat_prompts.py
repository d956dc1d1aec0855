"""A chat's tokens are those of transformers' ``apply_chat_template``, whatever the tokenizer and the template do."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.models.tokenizer import ChatTokenizer
from engine.types import Message
from tests.tokenizers_of_all_kinds import (
    CONTROLS,
    NORMALIZERS,
    RENAMED,
    SPACES,
    TEMPLATES,
    WORDS,
    Rules,
    renamed,
    save_tokenizer,
    tokenizer_json,
)

FEW = (
    Rules(space="first"),
    Rules(space="first", bos=True, normalized=True, normalizer="nfc"),
    Rules(space="always", rstrip=True, single_word=True),
    Rules(space="never", normalizer="nfkc", normalized=True),
    Rules(space="prepend", lstrip=True, bos=True),
    Rules(space="bytes", normalizer="nfc", lstrip=True, single_word=True),
    Rules(space="bytes with prefix", normalizer="lowercase", rstrip=True, normalized=True),
    Rules(space="bytes with prefix", normalizer="strip", bos=True),
    Rules(model="unigram", space="first", normalizer="nfkc"),
    Rules(model="unigram", space="always", normalizer="lowercase", lstrip=True, rstrip=True),
)
"""Each rule at least once; the slow test draws from all of them together."""
ALL = st.builds(
    Rules,
    model=st.sampled_from(["bpe", "unigram"]),
    space=st.sampled_from(SPACES),
    normalizer=st.sampled_from(NORMALIZERS),
    lstrip=st.booleans(),
    rstrip=st.booleans(),
    single_word=st.booleans(),
    normalized=st.booleans(),
    bos=st.booleans(),
)
NAMES = st.sampled_from(sorted(TEMPLATES))
PIECES = st.one_of(
    st.sampled_from(
        [" ", "  ", "\n", "\n\n", "the ", "end", "Ünit", "Ünits", "e\u0301", "ﬁ", "你好", "🌍", "|>", "<|", "The"]
    ),
    st.sampled_from(WORDS),
    st.text(max_size=4),
)
TEXTS = st.lists(PIECES, min_size=1, max_size=6).map("".join)
TYPING = st.lists(st.one_of(PIECES, st.sampled_from(CONTROLS[1:])), min_size=1, max_size=6).map("".join)


def conversations(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[Message]]:
    def build(system: str | None, contents: list[str]) -> list[Message]:
        roles = ("user", "assistant", "user")
        messages = [Message(role, content) for role, content in zip(roles, contents, strict=False)]
        return ([Message("system", system)] if system is not None else []) + messages

    return st.builds(
        build, st.none() | texts, st.one_of(st.tuples(texts).map(list), st.tuples(texts, texts, texts).map(list))
    )


@lru_cache(maxsize=256)
def tokenizer(rules: Rules, template: str, *, twin: bool = False) -> ChatTokenizer:
    text, source = tokenizer_json(rules), TEMPLATES[template]
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    if twin:
        text, source, names = renamed(text), renamed(source), {key: renamed(name) for key, name in names.items()}
    return ChatTokenizer(save_tokenizer(Path(mkdtemp(prefix="gearbox-")), text, source, **names))


def of_transformers(of: ChatTokenizer, messages: list[Message], *, parts: bool = False) -> list[int]:
    turns = [
        {"role": m.role, "content": [{"type": "text", "text": m.content}] if parts else m.content} for m in messages
    ]
    found: Any = of._hf.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)
    return list(found["input_ids"])


def check_equal(rules: Rules, template: str, messages: list[Message]) -> None:
    chat = tokenizer(rules, template)
    if not any(chat._typed.find(message.content) for message in messages):
        assert chat.encode_chat(messages) == of_transformers(chat, messages, parts=template == "parts")


def check_typed(rules: Rules, template: str, messages: list[Message]) -> None:
    if rules.space == "prepend" and rules.normalized:
        return  # the tokenizer then looks for control tokens behind a space, and misses the template's own
    chat, twin = tokenizer(rules, template), tokenizer(rules, template, twin=True)
    parts, ids = template == "parts", chat.encode_chat(messages)
    neutral = of_transformers(chat, [replace(message, content="the") for message in messages], parts=parts)
    unknown = chat._hf.unk_token_id
    assert controls(chat, ids, unknown) == controls(chat, neutral, unknown)
    if rules.model == "bpe" and not any(name in message.content for name in RENAMED.values() for message in messages):
        assert ids == of_transformers(twin, messages, parts=parts)


def controls(chat: ChatTokenizer, ids: list[int], unknown: int) -> list[int]:
    return [token_id for token_id in ids if token_id in chat.control_tokens and token_id != unknown]


@given(st.sampled_from(FEW), NAMES, conversations(TEXTS))
def test_a_chat_has_the_ids_that_transformers_gives_it(rules: Rules, template: str, messages: list[Message]) -> None:
    check_equal(rules, template, messages)


@given(st.sampled_from(FEW), NAMES, conversations(TYPING))
def test_typed_control_tokens_are_read_as_a_twin_without_them_reads_them(
    rules: Rules, template: str, messages: list[Message]
) -> None:
    """The twin's template and tokenizer have other control tokens: for it what was typed is plain text."""
    check_typed(rules, template, messages)


@pytest.mark.slow
@settings(max_examples=250, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(ALL, NAMES, conversations(TEXTS), conversations(TYPING))
def test_chats_of_all_rules_together(
    rules: Rules, template: str, messages: list[Message], typing: list[Message]
) -> None:
    check_equal(rules, template, messages)
    check_typed(rules, template, typing)
