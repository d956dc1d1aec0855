"""The table of drafters: each one can be built from what its description asks for, and proposes tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.generation.token_buffer import TokenBuffer
from engine.passes import perform_alone
from engine.speculation import DraftedRun, DraftingWeights, draft_source
from engine.types import COPY_PRECISIONS, TEXT_DRAFTERS, Drafter, SamplingParams
from tests.engine.models.test_decoder import load_tiny
from tests.support.tiny import make_tiny_checkpoint

TEXT = [3, 4, 5, 3, 4, 5, 3, 4]


@pytest.mark.parametrize("drafter", [each for each in Drafter if each is not Drafter.AUTO])
@torch.inference_mode()
def test_every_drafter_proposes_with_what_it_says_it_needs(tmp_path: Path, drafter: Drafter) -> None:
    weights = cache = None
    if drafter.info.has_precision:
        decoder = load_tiny(make_tiny_checkpoint(tmp_path, "llama"), COPY_PRECISIONS[0])
        weights, cache = DraftingWeights(decoder, 256), decoder.new_cache(64)
        decoder.prefill(torch.tensor(TEXT[:-1]), cache, lambda: False)
    run = DraftedRun(prompt_ids=TEXT, sampling=SamplingParams(), capacity=64, cache=cache)
    source = draft_source(drafter, run, weights)
    drafted = perform_alone(source.propose(TokenBuffer(TEXT, 64), 2, torch.Generator()))
    assert 1 <= len(drafted.token_ids) <= 2
    assert drafter.info.prior is not None or drafted.match_length is not None, "no first guess of its acceptance"


def test_auto_stands_for_the_others() -> None:
    with pytest.raises(ValueError, match="none itself"):
        draft_source(Drafter.AUTO, DraftedRun(prompt_ids=TEXT, sampling=SamplingParams(), capacity=64))
    assert Drafter.AUTO.text_drafters == TEXT_DRAFTERS
    assert [drafter.text_drafters for drafter in TEXT_DRAFTERS] == [(drafter,) for drafter in TEXT_DRAFTERS]
    assert not any(drafter.text_drafters for drafter in Drafter if drafter.info.has_precision)
