"""Texts of every kind that tokenizers take differently, each a pure function of a seed, by kind."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from random import Random

_LETTERS = "aeiounCLSZàéîõüßœøłđıİſKÅAΩωσςДйעבשלاللغةहिन्दीไทย"
_MARKS = [chr(code) for code in range(0x300, 0x370)] + list("़्ְִֵָּֿं゙゚ًٌٍَُِّْ่้๊๋⃝⃣")
_SPACES = [" ", "  ", "    ", "\t", "\n", "\r", "\r\n", "\n\n", "\xa0", "\u2003", "\u3000", "\u200b", "\x85", "\u2028"]
_EMOJI = ["👩", "👨", "👧", "👍", "🏳️", "🌈", "🇫🇷", "🇯🇵", "1️⃣", "❤", "🤦", "🧑", "🚀", "☕", "©"]
_JOINTS = ["\u200d", "\ufe0f", "\ufe0e", "🏽", "🏿", "\U000e0067", ""]
_CJK = "漢字仮名交じり文你好世界한국어조합ㅎㅏㄴ\u1112\u1161\u11ab々〆ヶ〇、。「」！？ｱｲｳＡＢＣ"
_NUMBERS = [
    "0",
    "7",
    "42",
    "123",
    "1234",
    "12345678901234567890",
    "3.14",
    "1,234,567.89",
    "1e-9",
    "0x7fF",
    "٣٤٥",
    "१२३",
]
_NUMBERS += ["½", "Ⅷ", "²", "10⁶", "①", "𝟙𝟚", "1st", "v2.0", "2026-11-29", "+49 30 12345", "1/3", "-5", "№ 5"]
_SHORTENED = ["don't", "DON'T", "I'll", "it’s", "we'VE", "you're", "'tis", "he'd'", "'ſ", "K'ſ", "O'Re", "l'été", "''s"]
_CONTROLS = [
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<s>",
    "</s>",
    "<unk>",
    "<|eot_id|>",
    "<|im_",
    "[INST]",
    "▁",
]
_CONTROLS += ["<0x0A>", "<|im_end|> ", "Ġ", "Ċ", "<|im_start|>system\n", "<|fim_prefix|>", "<tool_call>", "<repo_name>"]
_CODE = [
    "def f(x):\n",
    "    return x**2  # ok\n",
    "\tif (a&&b) {\n",
    "}\n",
    "/* */",
    "a_b = c->d[0];",
    "<br/>",
    "\\n",
    "$x_1$",
]
_WORDS = [
    "the",
    "Quick",
    "BROWN",
    "foxes",
    "camelCase",
    "snake_case",
    "e.g.",
    "co-operate",
    "naïve",
    "…",
    "—",
    "(see",
    "it).",
]


def varied_texts(count: int, seed: int = 0) -> dict[str, list[str]]:
    """So many texts of each kind, by the kind's name."""
    makers: dict[str, Callable[[Random], str]] = {
        "words": lambda random: " ".join(random.choices(_WORDS, k=random.randint(1, 12))),
        "combining marks": _combining,
        "decomposed": lambda random: unicodedata.normalize("NFD", _combining(random) + _of(random, _CJK, 5)),
        "emoji": lambda random: _joined(random, _EMOJI, _JOINTS),
        "CJK": lambda random: _of(random, _CJK, 30),
        "numbers": lambda random: _joined(random, _NUMBERS, [" ", "", ",", "  "]),
        "white space": lambda random: _joined(random, _SPACES, ["", "a", "b.", "9", "漢", "!"]),
        "shortened words": lambda random: _joined(random, _SHORTENED, [" ", "", "\n", "."]),
        "control tokens": lambda random: _joined(random, _CONTROLS, ["", " ", "hi", "\n"]),
        "code": lambda random: _joined(random, _CODE, ["", " ", "\n"]),
        "any characters": lambda random: "".join(_any_character(random) for _ in range(random.randint(1, 20))),
    }
    return {kind: [make(Random(f"{seed} {kind} {number}")) for number in range(count)] for kind, make in makers.items()}


def _of(random: Random, characters: Sequence[str], most: int) -> str:
    return "".join(random.choices(characters, k=random.randint(1, most)))


def _joined(random: Random, parts: Sequence[str], between: Sequence[str]) -> str:
    return "".join(random.choice(parts) + random.choice(between) for _ in range(random.randint(1, 10)))


def _combining(random: Random) -> str:
    return "".join(
        random.choice(_LETTERS) + _of(random, _MARKS, 3) * (random.random() < 0.6) for _ in range(random.randint(1, 12))
    )


def _any_character(random: Random) -> str:
    """Assigned or not, of any plane; no surrogate, which is no character."""
    while True:
        code = random.choice((random.randrange(0x80), random.randrange(0x3000), random.randrange(0x110000)))
        if not 0xD800 <= code < 0xE000 and code:
            return chr(code)
