"""Decode and prefill speed of every precision beside the reference and the peers, with what it costs.

A round asks each lane in turn, so that a slow minute of the machine falls on all of them, and measures
how fast memory is read. Figures are medians over the rounds; ``spread`` is the distance of the quartiles
over the median. Every lane runs the same published file (the reference and ``bf16`` run it dequantized),
with the same token ids, greedily. Its KLD and top-1 agreement are those of ``divergence`` on a few of the
prompts. ``limit_tps`` is memory bandwidth / ``bytes_per_token``, which no decoding can pass.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from app.runs.invariants import bandwidth_note
from app.runs.prompts import load_prompts
from engine import Engine, list_models, machine_environment
from engine.machine.bandwidth import MemoryReader
from engine.models import CATALOG
from engine.models.sources.gguf_file import GgufFile
from engine.quantization import state_bytes
from engine.serving.memory.pool import ModelPool
from engine.types import Backend, Message, Precision
from tests.benchmarks.divergence import Answer, Reader, answer_prompts, divergence, open_decoder, reader
from tests.benchmarks.figures import LaneFigures, best_peer, decode_rows
from tests.benchmarks.lanes import LANE_NAMES, LANES, MODELS, EngineLane, Lane, LaneError, PeerLane
from tests.benchmarks.peers import PEERS, installed_peers
from tests.benchmarks.peers.process import PeerError, PeerProcess
from tests.benchmarks.table import Row
from tests.support.loading import open_model

THREADS = 2
PROMPT = "Explain how a bicycle stays upright while it moves, and why it falls over when it stops."
PREFILL_TOKENS = 512
DIVERGENCE_PROMPTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure."""

    models: tuple[str, ...] = MODELS
    """Catalogue names; those that are not installed are left out."""
    rounds: int = 5
    peers: bool = True
    """Whether the peers that are installed take part."""
    lanes: tuple[str, ...] = LANE_NAMES
    """Which of our own take part; the reference takes minutes on a large model."""
    pairs: tuple[Path, ...] = ()
    """Of the cascade: files of recorded answers beside those that come with Gearbox."""
    clients: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Of serving: how many ask at once."""
    url: str | None = None
    """Of serving: a server that takes part."""
    served_model: str | None = None
    """Of serving: what that server calls the model; the catalogue's name without it."""
    rows: int = 1_000_000
    """Of dashboards: stored runs."""
    databases: tuple[str, ...] = ()
    """Of dashboards: URLs of run databases; one that is thrown away without any."""


@dataclass(frozen=True, slots=True)
class _Common:
    """What the lanes of a model share."""

    texts: tuple[str, str]
    """The two prompts of a round, a short and a long one."""
    ids: tuple[list[int], list[int]]
    """The same as token ids, chat template included."""
    answers: list[Answer]
    """The 16-bit model's, from which divergence is measured."""


def run(models_dir: Path, options: Options) -> list[Row]:
    """Measure every model that is asked for and installed."""
    torch.set_num_threads(THREADS)
    taking_part = installed_peers() if options.peers else []
    print(f"{THREADS} threads, {options.rounds} rounds. Peers: {', '.join(taking_part) or 'none'}.")
    if missing := [name for name in PEERS if options.peers and name not in taking_part]:
        print(f"Not installed: {', '.join(missing)}; `make bench-peers` installs them.")
    if policy := os.environ.get("OMP_WAIT_POLICY"):
        print(f"OMP_WAIT_POLICY is {policy}: it slows every engine that uses OpenMP, each by another factor.")
    rows: list[Row] = []
    installed = {model.name for model in list_models(models_dir) if model.installed}
    for model in options.models:
        if model in installed:
            rows += _measure(models_dir, model, taking_part, options)
        else:
            print(f"{model} is not installed.")
    return rows


def _measure(models_dir: Path, model: str, peers: Sequence[str], options: Options) -> list[Row]:
    pool = ModelPool(models_dir)
    common = _prepare(pool, model)
    with ExitStack() as stack:
        engine = stack.enter_context(closing(Engine(models_dir, threads=THREADS)))
        lanes = [_engine_lane(pool, engine, model, LANES[name], common) for name in options.lanes]
        del pool  # the engine has its own
        gguf = models_dir / CATALOG[model].file_name
        figures = [known for known, _ in lanes]
        for name in peers:
            known = LaneFigures(engine=name, precision=_encodings(gguf))
            figures.append(known)
            with _failing(known):
                peer = stack.enter_context(PeerProcess(name, gguf, THREADS))
                known.divergence = divergence(common.answers, _peer_reader(peer))
                lanes.append((known, PeerLane(peer, common.ids)))
        bandwidths = _take_turns(lanes, options.rounds, stack.enter_context(closing(MemoryReader(THREADS))))
        for known, lane in lanes:
            with _failing(known):
                known.facts = lane.facts()
    _print_notes(model, lanes, bandwidths)
    rows = decode_rows(model, figures, statistics.median(bandwidths))
    _print_shares(rows)
    return rows


def _prepare(pool: ModelPool, model: str) -> _Common:
    tokenizer = open_model(pool, model).tokenizer

    def encode(text: str) -> list[int]:
        return tokenizer.encode_chat([Message("user", text)])

    long = _prompt_of(PREFILL_TOKENS, encode)
    samples = [sample.prompt for sample in load_prompts()[:DIVERGENCE_PROMPTS]]
    return _Common((PROMPT, long), (encode(PROMPT), encode(long)), answer_prompts(pool, model, samples))


def _engine_lane(
    pool: ModelPool, engine: Engine, model: str, key: tuple[Backend, Precision], common: _Common
) -> tuple[LaneFigures, Lane]:
    """A lane of our own or the reference, its divergence measured outside the engine, which gives no logits."""
    backend, precision = key
    decoder = open_decoder(pool, model, precision)
    read = (
        _reference_reader(open_model(pool, model).checkpoint.folder)
        if backend is Backend.REFERENCE
        else reader(decoder)
    )
    # the table is held as the head is, whose shape is the same
    lookup_bytes = 0 if decoder.config.tied_head else state_bytes(decoder.head.state())
    known = LaneFigures(engine=str(backend), precision=str(precision), divergence=divergence(common.answers, read))
    return known, EngineLane(engine, model, key, common.texts, lookup_bytes)


def _reference_reader(folder: Path) -> Reader:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True)

    @torch.inference_mode()
    def read(prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> Tensor:
        ids = torch.tensor([[*prompt_ids, *answer_ids[:-1]]])
        logits: Tensor = network(ids, logits_to_keep=len(answer_ids)).logits[0].float()
        return logits

    return read


def _peer_reader(peer: PeerProcess) -> Reader:
    return lambda prompt_ids, answer_ids: torch.from_numpy(peer.logits(prompt_ids, answer_ids))


def _take_turns(lanes: Sequence[tuple[LaneFigures, Lane]], rounds: int, memory: MemoryReader) -> list[float]:
    """Fill in the lanes' samples; a lane that fails drops out. Returns bytes/s, one a round.

    A round before the first loads and warms up.
    """
    bandwidths = []
    for round_ in range(rounds + 1):
        if round_:
            bandwidths.append(memory.measure())
        for known, lane in lanes:
            if known.error is None:
                with _failing(known):
                    sample = lane.measure()
                    if round_:
                        known.samples.append(sample)
    return bandwidths


@contextmanager
def _failing(known: LaneFigures) -> Iterator[None]:
    """A lane's failure is its row's error and ends nothing else."""
    try:
        yield
    except (LaneError, PeerError) as error:
        known.error = str(error)


def _prompt_of(tokens: int, encode: Callable[[str], list[int]]) -> str:
    """A prompt whose token ids, chat template included, are as many as asked for.

    Raises:
        ValueError: no number of words gives that.
    """
    words = ("the", "wheel", "turns", "and", "the", "road", "goes", "on")
    text = "Count these words:"
    for number in range(tokens):
        length = len(encode(text))
        if length >= tokens:
            break
        text += f" {words[number % len(words)]}"
    if len(encode(text)) != tokens:
        raise ValueError(f"no prompt of {tokens} tokens could be made for this tokenizer")
    return text


def _encodings(gguf: Path) -> str:
    """What most of a file's weights are held in, the two commonest."""
    return "+".join(list(GgufFile.open(gguf).encodings)[:2]).lower()


def _print_shares(rows: Sequence[Row]) -> None:
    """Why a lane seems to read more than memory gives."""
    cache_bytes = machine_environment().get("last_level_cache_bytes")
    for row in rows:
        share = row["bandwidth_share"]
        if share and (note := bandwidth_note(share, row["bytes_per_token"], cache_bytes)):
            print(f"  {row['engine']} {row['precision']}: {note}")


def _print_notes(model: str, lanes: Sequence[tuple[LaneFigures, Lane]], bandwidths: Sequence[float]) -> None:
    median, best = statistics.median(bandwidths) / 1e9, max(bandwidths) / 1e9
    print(f"{model}: memory reads {median:.1f} GB/s (median), {best:.1f} GB/s (best).")
    figures = [known for known, _ in lanes]
    for what, figure in (("decode", lambda s: s.decode_tps), ("prefill", lambda s: s.prefill_tps)):
        if best_lane := best_peer(figures, figure):
            print(f"  best peer in {what}: {best_lane.engine}, {best_lane.median(figure):.1f} tokens/s.")
    for known, lane in lanes:
        if isinstance(lane, PeerLane) and known.finished:
            print(f"  {known.engine} used up to {lane.idle_share:.1%} of a core while others had their turn.")
