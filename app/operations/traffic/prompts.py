"""Texts for prompts of which only the length is known: words from a list, the same ones for the same request.

How many tokens a word has is the server's tokenizer's business: `Calibration` holds what two probes told of it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from app.operations.traffic.arrivals import BLOCK_TOKENS, Lengths

_WORD_LIST = """
able about above act age air all also animal answer apple area arm art ask away back bad bag ball bank base bed bell
best big bird black blue board boat body book both box boy bread bridge bring brother brown build burn bus busy buy
call can car care carry cat cause cell chair chance change child church city class clean clear clock close cloud coal
coat cold color come cook cool copy corn cost could count country course cover cow cross cry cup cut dark day deal
dear deep desk dinner doctor dog door down draw dream dress drink drive drop dry duck dust each ear early earth east
easy eat edge egg eight end even every eye face fact fall family far farm fast father feel field fill find fine fire
first fish five floor flower fly follow food foot force forest form four free fresh friend front fruit full game
garden gate girl give glass gold good grass gray great green ground group grow hair half hall hand happy hard hat have
head hear heart heat help here high hill hold hole home hope horse hot hour house ice idea inside iron island job join
jump keep key kind king kitchen lake lamp land large last late laugh law leaf learn leave left leg letter life light
line lion list little long look lost love low lunch machine main make man many map mark market meal measure meet
middle milk mind minute mirror money month moon more morning mother mountain mouth move music name near neck need new
next night nine noise north nose note number ocean off office oil old one open orange order out page paint pair paper
park part party pass past path pen people piece place plan plane plant play point poor power press price problem pull
push queen question quick quiet rain reach read ready red rest rice rich right ring river road rock roof room rope
round rule run sail salt same sand save say school sea seat second seed sell send seven shape share ship shirt shoe
shop short show side sign silver simple sing sister six skin sky sleep slow small smile snow soap soft soil some song
sound soup south space speak spoon spring square stand star start step stone stop store storm story street strong
sugar summer sun sure sweet table tail take talk tall teach tell ten test thank thing think three time tool top touch
town trade train tree true turn two under uncle use valley village voice wait walk wall want warm wash watch water way
wear weather week west wheel white wide wind window winter wire wish woman wood word work world write year yellow yes
young
"""
WORDS = tuple(_WORD_LIST.split())
PROBE_WORDS = (64, 576)
"""How many words the two probes have."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How words become tokens on a server."""

    tokens_per_word: float = 1.0
    template_tokens: float = 0.0
    """What the chat template adds to a message."""
    measured: bool = False
    """Whether the server told it; else lengths are approximate."""

    @classmethod
    def of_probes(cls, prompt_tokens: tuple[int | None, int | None]) -> Calibration:
        """From the prompt tokens that the server counted in the two probes; a word a token where it does not count, or
        not in a way that can be."""
        few, many = prompt_tokens
        if few is None or many is None:
            return cls()
        slope = (many - few) / (PROBE_WORDS[1] - PROBE_WORDS[0])
        if not 0.5 <= slope <= 10:
            return cls()
        return cls(slope, max(0.0, few - slope * PROBE_WORDS[0]), measured=True)


class PromptWriter:
    """Writes the texts of a trace's prompts."""

    def __init__(self, calibration: Calibration, *, scale: float = 1.0, seed: int = 0) -> None:
        """
        Args:
            calibration: of the server.
            scale: length of a prompt, and of each of its blocks, against what the trace says.
            seed: another one gives other texts: what an earlier replay left in a prefix cache is then not met.
        """
        self._calibration = calibration
        self._scale = scale
        self._seed = seed
        self._block_words = max(1, round(BLOCK_TOKENS * scale / calibration.tokens_per_word))
        self._block = lru_cache(maxsize=4096)(self._written_block)

    def text(self, lengths: Lengths, number: int) -> str:
        """A text of about so many tokens, chat template included. Equal blocks have equal texts; what is in no block is
        of this request alone.

        Args:
            lengths: of the prompt.
            number: of the request in its trace.
        """
        known = self._calibration
        words = max(1, round((lengths.tokens * self._scale - known.template_tokens) / known.tokens_per_word))
        parts: list[str] = []
        for block_id in lengths.block_ids:
            if words <= 0:
                break
            block = self._block(block_id)
            parts.append(block if words >= self._block_words else " ".join(block.split(" ", words)[:words]))
            words -= self._block_words
        if words > 0:
            parts.append(some_words(words, f"{self._seed} request {number}"))
        return " ".join(parts)

    def _written_block(self, block_id: int) -> str:
        return some_words(self._block_words, f"{self._seed} block {block_id}")


def some_words(count: int, seed: str) -> str:
    """So many words of the list with spaces between them; equal seeds begin alike."""
    return " ".join(random.Random(seed).choices(WORDS, k=count))
