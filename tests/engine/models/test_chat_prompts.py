"""A chat's tokens are those of transformers' ``apply_chat_template``, whatever the tokenizer and the template do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.errors import InvalidRequestError
from engine.models.tokenization.tokenizer import ChatTokenizer
from engine.types import Message
from tests.support.tokenizers_of_all_kinds import (
    CONTROLS,
    NORMALIZERS,
    RENAMED,
    SPACES,
    TEMPLATES,
    WORDS,
    Rules,
    of_transformers,
    open_tokenizer,
    renamed,
    save_tokenizer,
    tokenizer_json,
    transformers_own,
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
    with TemporaryDirectory() as folder:  # all of it is read when it is opened
        return open_tokenizer(save_tokenizer(Path(folder), text, source, **names))


def check_equal(rules: Rules, template: str, messages: list[Message]) -> None:
    chat = tokenizer(rules, template)
    if not any(chat._typed.find(message.content) for message in messages):
        assert chat.encode_chat(messages) == of_transformers(chat, messages, parts=template == "parts")


def check_typed(rules: Rules, template: str, messages: list[Message]) -> None:
    if rules.space == "prepend" and rules.normalized:
        return  # the tokenizer then looks for control tokens behind a space, and misses the template's own
    if rules.normalizer == "strip" and rules.normalized:
        return  # a text cut by hand is stripped at every cut, one that such a tokenizer cuts itself as a whole
    chat, twin = tokenizer(rules, template), tokenizer(rules, template, twin=True)
    parts, ids = template == "parts", chat.encode_chat(messages)
    neutral = of_transformers(chat, [replace(message, content="the") for message in messages], parts=parts)
    unknown = transformers_own(chat).unk_token_id
    assert controls(chat, ids, unknown) == controls(chat, neutral, unknown)
    if rules.model == "bpe" and not any(name in message.content for name in RENAMED.values() for message in messages):
        assert ids == of_transformers(twin, messages, parts=parts)


def controls(chat: ChatTokenizer, ids: list[int], unknown: int) -> list[int]:
    return [token_id for token_id in ids if token_id in chat.control_tokens and token_id != unknown]


@given(st.sampled_from(FEW), NAMES, conversations(TEXTS))
def test_a_chat_has_the_ids_that_transformers_gives_it(rules: Rules, template: str, messages: list[Message]) -> None:
    check_equal(rules, template, messages)


@pytest.mark.parametrize("legacy", [True, False])
def test_the_class_that_llama_models_name_keeps_its_rule_for_spaces(tmp_path: Path, legacy: bool) -> None:
    """It builds the rules anew from the vocabulary, and reads `legacy`."""
    folder = save_tokenizer(
        tmp_path, tokenizer_json(FEW[0]), TEMPLATES["ChatML"], tokenizer_class="LlamaTokenizer", legacy=legacy
    )
    chat = open_tokenizer(folder)
    assert type(transformers_own(chat)).__name__ == "LlamaTokenizer"
    for content in ("the end", " the end", "\nthe end ", "Ünit <think>"):
        messages = [Message("user", content), Message("assistant", "the end"), Message("user", content)]
        assert chat.encode_chat(messages) == of_transformers(chat, messages)
    typed = chat.encode_chat([Message("user", "the <|im_end|> end")])
    assert typed.count(transformers_own(chat).convert_tokens_to_ids("<|im_end|>")) == 1


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


# --- answers in their own tokens ----------------------------------------------------------------------


def own_tokens(chat: ChatTokenizer, pieces: list[str]) -> tuple[int, ...]:
    """A text in tokens that its tokenizer would not choose: piece by piece."""
    return tuple(token_id for piece in pieces for token_id in chat._encode_text(piece))


@given(st.sampled_from(FEW), NAMES, conversations(TEXTS), st.lists(PIECES.filter(bool), min_size=1, max_size=5))
def test_an_answers_own_tokens_change_nothing_but_how_it_is_cut(
    rules: Rules, template: str, before: list[Message], pieces: list[str]
) -> None:
    chat = tokenizer(rules, template)
    own = own_tokens(chat, pieces)
    answer = Message("assistant", chat.decode(own), own)
    messages = [*before, answer, Message("user", "Go on.")]
    without = chat.encode_chat([replace(message, token_ids=()) for message in messages])
    prompt = chat.read_chat(messages)
    assert chat.spell(prompt.ids) == chat.spell(without)
    if prompt.ids != without:
        assert any(fits(prompt.ids, without, own, at) for at in range(len(without)))
    assert prompt.retokenized.keys() <= {len(before)}


def as_string(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def fits(spliced: list[int], without: list[int], own: tuple[int, ...], at: int) -> bool:
    """Whether the answer's own tokens begin there, and all before and after them is the same."""
    after = spliced[at + len(own) :]
    same_after = not after or without[-len(after) :] == after
    return tuple(spliced[at : at + len(own)]) == own and spliced[:at] == without[:at] and same_after


def chatml(tmp_path: Path, template: Any = TEMPLATES["ChatML"], rules: Rules = FEW[5], **config: Any) -> ChatTokenizer:
    return open_tokenizer(save_tokenizer(tmp_path / "model", tokenizer_json(rules), template, **config))


def test_an_answer_that_the_template_repeats_is_given_back_in_its_own_tokens(tmp_path: Path) -> None:
    chat = chatml(tmp_path)
    own = own_tokens(chat, list("the end"))
    end = transformers_own(chat).convert_tokens_to_ids("<|im_end|>")
    messages = [Message("user", "Hi"), Message("assistant", "the end", (*own, end)), Message("user", "And?")]
    prompt = chat.read_chat(messages)
    assert as_string(own) in as_string(prompt.ids)
    assert prompt.ids.count(end) == 3
    assert not prompt.retokenized


def test_an_answer_that_the_template_cuts_is_read_from_its_text(tmp_path: Path) -> None:
    """With token ids and without it is the same prompt; an answer beside it that is not cut keeps its own."""
    chat = chatml(tmp_path, TEMPLATES["reasoning"])
    thought, plain = "<think>\nthe\n</think>\n\nthe end", "the end"
    own, other = own_tokens(chat, [*thought[:12], thought[12:]]), own_tokens(chat, list(plain))
    assert chat.decode(own) == thought
    messages = [
        Message("user", "Hi"),
        Message("assistant", thought, own),
        Message("user", "And?"),
        Message("assistant", plain, other),
        Message("user", "So?"),
    ]
    prompt = chat.read_chat(messages)
    assert chat.read_chat([*messages[:2], messages[4]]).ids == chat.encode_chat(
        [messages[0], replace(messages[1], token_ids=()), messages[4]]
    )
    assert as_string(other) in as_string(prompt.ids)
    assert "</think>" not in chat.spell(prompt.ids)
    assert prompt.retokenized == {1: "the chat template does not repeat it word for word"}


def test_an_answer_whose_seam_would_move_is_read_from_its_text(tmp_path: Path) -> None:
    """The template's space and the answer's first word are one token in its text, and two in the answer's own."""
    chat = chatml(tmp_path, TEMPLATES["Llama 2"], FEW[2])
    messages = [Message("user", "Hi"), Message("assistant", "the end"), Message("user", "And?")]
    without = chat.encode_chat(messages)
    own = tuple(transformers_own(chat).convert_tokens_to_ids(token) for token in "the▁end")
    assert chat.decode(own) == "the end"
    prompt = chat.read_chat([messages[0], replace(messages[1], token_ids=own), messages[2]])
    assert prompt.ids == without
    assert prompt.retokenized.keys() == {1}


def test_tokens_of_another_model_are_left_aside(tmp_path: Path) -> None:
    chat = chatml(tmp_path)
    messages = [Message("user", "Hi"), Message("assistant", "", (-1, 10**9)), Message("user", "And?")]
    assert chat.encode_chat(messages) == chat.encode_chat([replace(message, token_ids=()) for message in messages])


# --- control tokens -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["WordLevel", "WordPiece", "BPE"])
def test_a_vocabulary_that_holds_control_tokens_does_not_find_them_in_what_was_typed(
    tmp_path: Path, model: str
) -> None:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    words = {word: place for place, word in enumerate([*CONTROLS, *"abcdefghijklmnopqrstuvwxyz<>|/_"])}
    settings = {"ignore_merges": True, "merges": []} if model == "BPE" else {}
    of = Tokenizer(getattr(models, model)(vocab=words, unk_token="<unk>", **settings))
    of.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    of.add_special_tokens([AddedToken(token, normalized=False) for token in CONTROLS])
    chat = open_tokenizer(save_tokenizer(tmp_path, of.to_str(), TEMPLATES["ChatML"]))
    plain = chat.encode_chat([Message("user", "a b")])
    ids = chat.encode_chat([Message("user", "a </s> b")])
    unknown = transformers_own(chat).unk_token_id
    assert transformers_own(chat)("</s>", split_special_tokens=True)["input_ids"] == [words["</s>"]]  # the trap
    assert controls(chat, ids, unknown) == controls(chat, plain, unknown)
    assert {words["<"], words["/"], words["s"], words[">"]} <= set(ids)


def test_a_control_token_that_cannot_be_spelled_otherwise_is_refused(tmp_path: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    words = {word: place for place, word in enumerate([*CONTROLS, "|", "a"])}
    of = Tokenizer(models.WordLevel(vocab=words, unk_token="<unk>"))
    of.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    of.add_special_tokens([AddedToken(token, normalized=False) for token in (*CONTROLS, "|")])
    chat = open_tokenizer(save_tokenizer(tmp_path, of.to_str(), TEMPLATES["ChatML"]))
    with pytest.raises(InvalidRequestError, match="cannot spell as text"):
        chat.encode_chat([Message("user", "a | a")])
