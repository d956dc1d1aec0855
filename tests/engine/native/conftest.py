"""A decoder to spoil."""

from __future__ import annotations

import pytest

from engine.models.decoders.native_decoder import NativeDecoder
from engine.types import Precision
from tests.engine.models.test_decoder import load_tiny
from tests.support.tiny import make_tiny_checkpoint


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> NativeDecoder:
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), "qwen3", hidden_size=128, intermediate_size=256)
    decoder = load_tiny(folder, Precision.INT4)
    assert isinstance(decoder, NativeDecoder)
    return decoder
