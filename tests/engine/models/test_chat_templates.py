"""Chat templates of every kind, and of none: which is used, how it wants contents, and how a bad one is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InvalidRequestError
from engine.models.tokenization import chat_template
from engine.models.tokenization.tokenizer import ChatTokenizer
from engine.types import Message
from tests.support.tokenizers_of_all_kinds import (
    TEMPLATES,
    Rules,
    of_transformers,
    open_tokenizer,
    save_tokenizer,
    tokenizer_json,
)

BYTES = Rules(normalizer="nfc")


def chatml(tmp_path: Path, template: Any = TEMPLATES["ChatML"]) -> ChatTokenizer:
    return open_tokenizer(save_tokenizer(tmp_path / "model", tokenizer_json(BYTES), template))


def test_of_several_templates_the_default_is_used(tmp_path: Path) -> None:
    named = [
        {"name": "tool_use", "template": "tools!"},
        {"name": "default", "template": TEMPLATES["ChatML"]},
        {"name": "rag", "template": "documents!"},
    ]
    messages = [Message("user", "Hi")]
    assert chatml(tmp_path, named).encode_chat(messages) == chatml(tmp_path / "plain").encode_chat(messages)
    with pytest.raises(InvalidRequestError, match=r"several chat templates \(tool_use, rag\), and none is its default"):
        chatml(tmp_path / "without", [named[0], named[2]])


def test_templates_in_files_of_their_own_are_used_as_transformers_does(tmp_path: Path) -> None:
    folder = save_tokenizer(tmp_path, tokenizer_json(BYTES), "an old one")
    (folder / "chat_template.jinja").write_text(TEMPLATES["ChatML"])
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("tools!")
    chat, messages = open_tokenizer(folder), [Message("user", "Hi")]
    assert chat.encode_chat(messages) == of_transformers(chat, messages)
    assert chat.spell(chat.encode_chat(messages)).startswith("<|im_start|>user")


@pytest.mark.parametrize("template", [7, [1], [{"name": "default"}], [{"template": "x"}], True])
def test_what_is_no_template_is_refused_in_words(tmp_path: Path, template: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"template in tokenizer_config\.json of this model is none"):
        chatml(tmp_path, template)


def test_a_prepared_template_renders_without_trying_its_forms_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = chatml(tmp_path)
    chat.prepare()
    asked = []
    run = chat_template.TEMPLATES.run
    monkeypatch.setattr(
        chat_template.TEMPLATES,
        "run",
        lambda job, arguments, *rest: asked.append(arguments) or run(job, arguments, *rest),
    )
    chat.encode_chat([Message("user", "Hi")])
    assert len(asked) == 1
    assert all(turn["content"] == "Hi" for turns in asked[0]["conversations"] for turn in turns)


SYSTEM_AS_TEXT = (
    "{% if messages[0].role == 'system' %}{{ '<|im_start|>system' + messages[0].content + '<|im_end|>' }}"
    "{% set messages = messages[1:] %}{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}: {% for part in message['content'] %}"
    "{{ part['text'] }}{% endfor %}<|im_end|>{% endfor %}"
)
EITHER = (
    "{% for message in messages %}<|im_start|>{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}[{{ part.text }}]{% endfor %}{% endif %}<|im_end|>{% endfor %}"
)
REFUSES_TEXT = (
    "{% for message in messages %}{% if message.content is string %}{{ raise_exception('parts!') }}{% endif %}"
    "<|im_start|>{{ message.content[0].text }}<|im_end|>{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        (SYSTEM_AS_TEXT, "<|im_start|>systemBe brief.<|im_end|><|im_start|>user: Hi<|im_end|>"),
        (EITHER, "<|im_start|>Be brief.<|im_end|><|im_start|>Hi<|im_end|>"),
        (REFUSES_TEXT, "<|im_start|>Be brief.<|im_end|><|im_start|>Hi<|im_end|>"),
    ],
)
def test_contents_are_given_as_texts_or_as_lists_of_parts(tmp_path: Path, template: str, wanted: str) -> None:
    chat = chatml(tmp_path, template)
    assert chat.spell(chat.encode_chat([Message("system", "Be brief."), Message("user", "Hi")])) == wanted


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('Only one turn.') }}", "refuses these messages: Only one turn."),
        ("{{ raise_exception('x' * 10**6) }}", "refuses these messages: xxx"),
        ("{% for %}", "cannot be read: "),
        ("{{ messages | nothing }}", "cannot be read: No filter named 'nothing'."),
        ("{{ messages[0].content.shout() }}", "fails on these messages: 'str object' has no attribute 'shout'."),
        ("{{ 1 / 0 }}", "fails on these messages: division by zero."),
        ("{{ messages + 1 }}", "fails on these messages: "),
        ("{{ ''.__class__.__mro__ }}", "fails on these messages: access to attribute"),
        ("{% if false %}x{% endif %}", "makes no text of these messages."),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "goes too deep into itself and was stopped."),
        ("{{ 'a' * 10**9 }}", "needed more than 512 MiB of memory and was stopped."),
        ("x" * 10 * 2**20, "is 10,485,760 characters long, and no more than 1,048,576 are read."),
    ],
)
def test_a_bad_template_is_refused_in_a_sentence(tmp_path: Path, template: str, words: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        chatml(tmp_path, template).encode_chat([Message("user", "Hi")])
    assert str(refused.value).startswith(f"This model's chat template {words}")
    assert len(str(refused.value)) < 400


def test_any_characters_in_a_template_are_written_or_replaced(tmp_path: Path) -> None:
    chat = chatml(tmp_path, "{{ '\ud83d \x00' }}" + TEMPLATES["ChatML"])
    assert chat.spell(chat.encode_chat([Message("user", "Hi")])).startswith("\ufffd")


# --- end marks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generation", "words"),
    [
        ("{", "generation_config.json of this model cannot be read"),
        ("[" * 5000, "generation_config.json of this model cannot be read"),
        ("[]", "it is no JSON object"),
        ('{"eos_token_id": "</s>"}', "it holds '</s>'"),
        ('{"eos_token_id": [2, 2.5]}', "it holds 2.5"),
        ('{"eos_token_id": [null]}', "it holds None"),
        ('{"eos_token_id": {"a": 1}}', "it holds {'a': 1}"),
        ('{"eos_token_id": true}', "it holds True"),
    ],
)
def test_settings_that_say_no_end_mark_are_refused_in_words(tmp_path: Path, generation: str, words: str) -> None:
    folder = save_tokenizer(tmp_path, tokenizer_json(BYTES), TEMPLATES["ChatML"])
    (folder / "generation_config.json").write_text(generation)
    with pytest.raises(InvalidRequestError, match=re.escape(words)):
        open_tokenizer(folder)


def test_end_marks_beyond_the_table_are_left_out(tmp_path: Path) -> None:
    folder = save_tokenizer(tmp_path, tokenizer_json(BYTES), TEMPLATES["ChatML"])
    usual = open_tokenizer(folder).stop_ids
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, -1, 1000000]}')
    assert open_tokenizer(folder).stop_ids == usual | {7}
