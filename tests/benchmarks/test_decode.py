"""The decode benchmark's arithmetic, on lanes made up here, and its peers' processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf import GGMLQuantizationType

from engine.models.sources.gguf_file import GgufTensor
from engine.models.sources.gguf_header import TensorEntry
from tests.benchmarks.decode import _prompt_of
from tests.benchmarks.figures import LaneFigures, Sample, best_peer, decode_rows, gguf_bytes_per_token
from tests.benchmarks.peers.contract import Facts
from tests.benchmarks.peers.process import PeerError, PeerProcess
from tests.benchmarks.table import print_table


def lane(engine: str, decode: list[float], prefill: float = 100.0, **known: object) -> LaneFigures:
    """A lane whose rounds went at these speeds."""
    samples = [Sample(decode_tps=tps, prefill_tps=prefill, ttft_s=0.1) for tps in decode]
    return LaneFigures(engine=engine, precision="p", samples=samples, **known)  # type: ignore[arg-type]


def tensor(name: str, size: int) -> GgufTensor:
    return GgufTensor(Path("none.gguf"), TensorEntry(name, (1, size), GGMLQuantizationType.Q8_0, 0, size))


def test_ratios_are_of_medians_against_the_best_peer_and_the_reference() -> None:
    lanes = [lane("reference", [10, 10, 90]), lane("llama.cpp", [40, 41, 1]), lane("local", [60, 59, 70])]
    reference, llama, ours = decode_rows("m", lanes, 1.0)
    assert ours["decode_tps"] == 60
    assert ours["ratio_to_best_peer"] == 60 / 40
    assert ours["decode_ratio"] == 6
    assert (reference["decode_ratio"], llama["ratio_to_best_peer"]) == (1, 1)


def test_decode_and_prefill_each_have_their_own_best_peer() -> None:
    lanes = [lane("a", [50], prefill=100), lane("b", [40], prefill=400), lane("local", [100], prefill=200)]
    ours = decode_rows("m", lanes, 1.0)[-1]
    assert ours["ratio_to_best_peer"] == 2
    assert ours["prefill_ratio_to_best_peer"] == 0.5
    assert ours["decode_ratio"] is None  # there is no reference


def test_our_own_lanes_and_failed_ones_are_no_peers() -> None:
    failed = lane("b", [90], error="it crashed")
    slow = lane("a", [5])
    assert best_peer([lane("local", [50]), failed, slow], lambda s: s.decode_tps) is slow
    assert best_peer([lane("local", [50]), failed], lambda s: s.decode_tps) is None


def test_a_failed_lane_has_a_row_with_its_error_and_no_speed() -> None:
    row = decode_rows("m", [lane("b", [90, 80], error="it crashed")], 1.0)[0]
    assert row["error"] == "it crashed"
    assert row["decode_tps"] is row["spread"] is row["ratio_to_best_peer"] is row["bandwidth_share"] is None


def test_spread_is_the_distance_of_the_quartiles_over_the_median() -> None:
    many, one = decode_rows("m", [lane("local", [8, 9, 10, 11, 12]), lane("local", [10])], 1.0)
    assert many["spread"] == pytest.approx(0.2)
    assert one["spread"] is None


def test_the_limit_is_bandwidth_over_bytes_per_token() -> None:
    facts = Facts(weights_bytes=300, bytes_per_token=200, threads=2, kernel="k")
    row = decode_rows("m", [lane("local", [30.0], facts=facts)], 10_000.0)[0]
    assert row["limit_tps"] == 50
    assert row["bandwidth_share"] == pytest.approx(0.6)


def test_an_embedding_table_is_read_only_where_it_is_the_head() -> None:
    body, table, head = tensor("blk.0.ffn_up.weight", 5), tensor("token_embd.weight", 100), tensor("output.weight", 80)
    assert gguf_bytes_per_token([table, body]) == 105
    assert gguf_bytes_per_token([table, body, head]) == 85


def test_the_long_prompt_has_exactly_as_many_tokens_as_asked_for() -> None:
    def encode(text: str) -> list[int]:
        return [0] * (7 + len(text.split()))

    assert len(encode(_prompt_of(64, encode))) == 64
    with pytest.raises(ValueError, match="64 tokens"):
        _prompt_of(64, lambda text: [0] * 2 * len(text.split()) + [0])


def test_a_peer_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r"no-such-peer ended with exit code 1: .*no-such-peer"):
        PeerProcess("no-such-peer", tmp_path / "model.gguf", 1)


def test_a_wide_table_goes_on_below_with_its_labels(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"model": "m", "engine": "e", "precision": "p", "speed": 1.5, "kernel": "k" * 150, "error": None}])
    headers = [line.split() for line in capsys.readouterr().out.split("\n") if line.startswith("model")]
    labels = ["model", "engine", "precision"]
    assert headers == [[*labels, "speed"], [*labels, "kernel"], [*labels, "error"]]
