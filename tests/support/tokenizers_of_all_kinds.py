"""Small tokenizers with every rule for spaces, cases and marks, and chat templates of every habit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

from engine.models.tokenization.fast_tokenizer import FastTokenizer
from engine.models.tokenization.tokenizer import ChatTokenizer
from engine.models.tokenization.transformers_tokenizer import read_tokenizer
from engine.types import Message

CONTROLS = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
WORDS = ("<think>", "</think>", "Ünit")
"""Added tokens that are no control tokens."""
RENAMED = {"<s>": "<q>", "</s>": "</q>", "<|im_start|>": "<|zq_start|>", "<|im_end|>": "<|zq_end|>"}
"""For a twin whose control tokens nobody types."""

_CORPUS = (
    "The quick brown fox jumps over the lazy dog. the end of it <| im _ end |> start of the s",
    "What is the capital of France? Paris is the capital of France. user assistant system",
    "ﬁne ＜｜ é e\u0301 Ünïcödé 你好 мир 🌍 a b c d e f g h i j k l m n o p q r s t u v w x y z",
    "\n\n  spaces   and\ttabs \n lines\n think about this </ > < | _",
)

Space = Literal["first", "always", "never", "prepend", "bytes", "bytes with prefix"]
SPACES: tuple[Space, ...] = ("first", "always", "never", "prepend", "bytes", "bytes with prefix")
Normalizer = Literal["none", "nfc", "nfkc", "lowercase", "strip"]
NORMALIZERS: tuple[Normalizer, ...] = ("none", "nfc", "nfkc", "lowercase", "strip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a tokenizer does beside its vocabulary."""

    model: Literal["bpe", "unigram"] = "bpe"
    space: Space = "bytes"
    normalizer: Normalizer = "none"
    lstrip: bool = False
    """Of the end mark."""
    rstrip: bool = False
    """Of the start mark."""
    single_word: bool = False
    """Of the word that is an added token."""
    normalized: bool = False
    """Control tokens are looked for in the normalized text."""
    bos: bool = False
    """A post-processor writes one."""


@lru_cache(maxsize=256)
def tokenizer_json(rules: Rules) -> str:
    """A tokenizer as a file."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>") if rules.model == "bpe" else models.Unigram())
    steps: list[Any] = {
        "none": [],
        "nfc": [normalizers.NFC()],
        "nfkc": [normalizers.NFKC()],
        "lowercase": [normalizers.Lowercase()],
        "strip": [normalizers.Strip()],
    }[rules.normalizer]
    if rules.space == "prepend":
        steps = [*steps, normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    elif rules.space.startswith("bytes"):
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=rules.space != "bytes")
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=rules.space, split=rules.model == "unigram")
        tokenizer.decoder = decoders.Metaspace(prepend_scheme=rules.space)
    if steps:
        tokenizer.normalizer = normalizers.Sequence(steps)
    alphabet = pre_tokenizers.ByteLevel.alphabet() if rules.space.startswith("bytes") else list("▁<>|/_\n")
    settings: dict[str, Any] = {
        "vocab_size": 420,
        "special_tokens": list(CONTROLS),
        "initial_alphabet": alphabet,
        "show_progress": False,
    }
    trainer: Any = (
        trainers.BpeTrainer(**settings)
        if rules.model == "bpe"
        else trainers.UnigramTrainer(**settings, unk_token="<unk>")
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    own = {"<|im_end|>": {"lstrip": rules.lstrip}, "<|im_start|>": {"rstrip": rules.rstrip}}
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=rules.normalized, **own.get(token, {})) for token in CONTROLS]
    )
    tokenizer.add_tokens(
        [
            AddedToken(word, normalized=word == "Ünit", single_word=rules.single_word and word == "Ünit")
            for word in WORDS
        ]
    )
    if rules.bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    text: str = tokenizer.to_str()
    return text


def save_tokenizer(folder: Path, text: str, template: Any, **config: Any) -> Path:
    """A folder with all that a chat's tokens need: a tokenizer, a template, and a configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(text, "utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
        **config,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 1024}), "utf-8")
    return folder


def renamed(text: str) -> str:
    """A tokenizer or a template with other names for its control tokens."""
    for old, new in RENAMED.items():
        text = text.replace(old, new)
    return text


_OF_TRANSFORMERS: WeakKeyDictionary[ChatTokenizer, Any] = WeakKeyDictionary()


def open_tokenizer(folder: Path) -> ChatTokenizer:
    """A folder's tokenizer as every start but the first has it: from what was kept of transformers' reading of it."""
    from transformers import AutoTokenizer

    chat = ChatTokenizer(FastTokenizer.from_bytes(read_tokenizer(folder).to_bytes()))
    _OF_TRANSFORMERS[chat] = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return chat


def transformers_own(chat: ChatTokenizer) -> Any:
    """The tokenizer that transformers itself makes of the same folder."""
    return _OF_TRANSFORMERS[chat]


def of_transformers(of: ChatTokenizer, messages: Sequence[Message], *, parts: bool = False) -> list[int]:
    """The ids that transformers itself gives a chat, its contents as lists of parts if so wished."""
    turns = [
        {"role": m.role, "content": [{"type": "text", "text": m.content}] if parts else m.content} for m in messages
    ]
    found: Any = transformers_own(of).apply_chat_template(turns, tokenize=True, add_generation_prompt=True)
    return list(found["input_ids"])


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0].role == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
    "{% else %}{% set loop_messages = messages %}{% set system = '' %}{% endif %}"
    "{% for message in loop_messages %}{% if message.role == 'user' %}"
    "{{ bos_token + '[INST] ' + (system if loop.first else '') + message.content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + message.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{% for message in messages %}{% set content = '<|im_start|>' + message.role + '<|im_end|>\n\n' "
    "+ message.content | trim + '</s>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{{ '<|im_start|>assistant<|im_end|>\n\n' }}"
)
REASONING = (
    "{{ bos_token }}{% for message in messages %}{% set content = message.content %}"
    "{% if message.role == 'assistant' and '</think>' in content %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>{{ message.role }}\n{{ content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}{{ '<|im_start|>' + ('model' if message.role == 'assistant' else message.role) + '\n' "
    "+ (first if loop.first else '') + message.content | trim + '<|im_end|>\n' }}{% endfor %}"
    "{{ '<|im_start|>model\n' }}"
)
PLAIN = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
PARTS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}{% for part in message.content %}"
    "{% if part.type == 'text' %} {{ part.text }}{% endif %}{% endfor %}<|im_end|>{% endfor %}<|im_start|>assistant"
)
DATED = (
    "<|im_start|>system\n{{ strftime_now('%d %b %Y') }}<|im_end|>\n{% for message in messages %}"
    "{% if message.role == 'system' %}{% continue %}{% endif %}<|im_start|>{{ message | tojson }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)
TEMPLATES = {
    "ChatML": CHATML,
    "Llama 2": LLAMA2,
    "Llama 3": LLAMA3,
    "reasoning": REASONING,
    "Gemma": GEMMA,
    "plain": PLAIN,
    "parts": PARTS,
    "dated": DATED,
}
