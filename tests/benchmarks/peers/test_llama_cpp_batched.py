"""The batches that llama.cpp is given, by a stand-in with its calls: each sequence reads its own text, in order."""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections import defaultdict
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

VOCABULARY = 97


def next_token(text: list[int]) -> int:
    """What the stand-in writes after a text: it depends on every token and on their order."""
    return sum((place + 1) * token for place, token in enumerate(text)) % VOCABULARY


class StandIn(ModuleType):
    """Keeps what each sequence has read, and refuses what llama.cpp would."""

    def __init__(self) -> None:
        super().__init__("llama_cpp")
        self.read: dict[int, list[int]] = defaultdict(list)
        self.written: dict[int, list[int]] = defaultdict(list)
        self.sizes: list[int] = []
        self.settings = SimpleNamespace()
        self.freed = 0
        self._rows: dict[int, Any] = {}

    def llama_context_default_params(self) -> SimpleNamespace:
        return self.settings

    def llama_init_from_model(self, _model: object, settings: SimpleNamespace) -> object:
        return settings

    def llama_model_get_vocab(self, _model: object) -> object:
        return None

    def llama_vocab_n_tokens(self, _vocab: object) -> int:
        return VOCABULARY

    def llama_batch_init(self, size: int, _embeddings: int, sequences: int) -> SimpleNamespace:
        return SimpleNamespace(
            n_tokens=0,
            token=(ctypes.c_int32 * size)(),
            pos=(ctypes.c_int32 * size)(),
            n_seq_id=(ctypes.c_int32 * size)(),
            seq_id=[(ctypes.c_int32 * sequences)() for _ in range(size)],
            logits=(ctypes.c_int8 * size)(),
        )

    def llama_batch_free(self, _batch: object) -> None:
        self.freed += 1

    def llama_free(self, _context: object) -> None:
        self.freed += 1

    def llama_get_memory(self, context: object) -> object:
        return context

    def llama_memory_clear(self, _memory: object, _data: bool) -> None:
        self.read.clear()

    def llama_decode(self, context: SimpleNamespace, batch: Any) -> int:
        self.sizes.append(batch.n_tokens)
        self._rows = {}
        for place in range(batch.n_tokens):
            assert batch.n_seq_id[place] == 1
            sequence = batch.seq_id[place][0]
            text = self.read[sequence]
            assert sequence < context.n_seq_max
            assert batch.pos[place] == len(text)
            text.append(batch.token[place])
            assert len(text) <= context.n_ctx // context.n_seq_max
            if batch.logits[place]:
                token = next_token(text)
                self.written[sequence].append(token)
                row = (ctypes.c_float * VOCABULARY)()
                row[token] = 1
                self._rows[place] = ctypes.cast(row, ctypes.POINTER(ctypes.c_float)), row
        return 0

    def llama_get_logits_ith(self, _context: object, place: int) -> Any:
        return self._rows[place][0]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    module = "tests.benchmarks.peers.llama_cpp_batched"
    library = StandIn()
    monkeypatch.setitem(sys.modules, "llama_cpp", library)
    monkeypatch.delitem(sys.modules, module, raising=False)
    yield library
    sys.modules.pop(module, None)


@pytest.mark.parametrize("lengths", [[5], [3, 9], [700, 1, 511, 2], [512, 512]])
def test_each_sequence_reads_its_prompt_and_then_what_it_wrote(library: StandIn, lengths: list[int]) -> None:
    batched = importlib.import_module("tests.benchmarks.peers.llama_cpp_batched")
    prompts = [[(7 * s + p) % VOCABULARY for p in range(length)] for s, length in enumerate(lengths)]
    context = batched.SequencesContext(None, 2, len(prompts), max(lengths) + 6)
    for _ in range(2):
        library.written.clear()
        timings = context.answers(prompts, 6)
        for sequence, prompt in enumerate(prompts):
            written = library.written[sequence]
            assert len(written) == 6
            assert library.read[sequence] == [*prompt, *written[:-1]]
            assert written == [next_token([*prompt, *written[:count]]) for count in range(6)]
        assert [timing.ttft_s > 0 and timing.tpot_s is not None for timing in timings] == [True] * len(prompts)
    assert max(library.sizes) <= library.settings.n_batch
    assert library.sizes[-5:] == [len(prompts)] * 5
    assert context.fits(len(prompts), max(lengths) + 6)
    assert not context.fits(len(prompts) + 1, 1)
    context.close()
    assert library.freed == 2
