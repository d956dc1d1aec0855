"""Many clients at once: tokens a second over all of them, and how long each waits.

As many clients as a row says ask a prompt each, greedily, of: Gearbox one after the other and together (the same engine
in this process, int4), llama.cpp with as many sequences in one batch, and any OpenAI-compatible server by its address.
The lanes take turns in each round; ratios are medians of those within a round, percentiles are of all answers of all
rounds. The last row of a model has its clients write while long prompts arrive one after the other.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Protocol

import torch

from app.operations.traffic.arrivals import Arrival
from app.operations.traffic.client import open_client
from app.operations.traffic.prompts import Calibration, PromptWriter, some_words
from app.operations.traffic.replay import Progress, replay
from app.operations.traffic.report import percentiles
from app.runs.prompts import load_prompts
from engine import Engine, list_models
from engine.models import CATALOG
from engine.serving.memory.pool import ModelPool
from engine.types import Message, OptimizationConfig, Precision
from tests.benchmarks.asking import ask
from tests.benchmarks.decode import Options
from tests.benchmarks.lanes import LaneError
from tests.benchmarks.peers import installed_peers
from tests.benchmarks.peers.process import PeerError, PeerProcess
from tests.benchmarks.table import Row
from tests.benchmarks.timing import spread
from tests.support.loading import open_model

THREADS = 2
NEW_TOKENS = 64
LONG_WORDS = 1970
"""About 2,000 tokens."""
MOST_BESIDE_LONG_PROMPTS = 8
TIMEOUT_S = 600.0
SERIAL, TOGETHER, BESIDE = "one after the other", "together", "beside long prompts"
LLAMA_CPP = "llama.cpp"


@dataclass(frozen=True, slots=True)
class Served:
    """One answer."""

    tokens: int
    ttft_s: float
    tpot_s: float | None
    token_ids: tuple[int, ...] | None = None
    """Where a lane tells them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a lane did with the prompts of all clients, once."""

    seconds: float
    """From the first question to the end of the last answer."""
    answers: tuple[Served, ...]

    @property
    def tokens_per_s(self) -> float:
        """Over all answers."""
        return sum(answer.tokens for answer in self.answers) / self.seconds


class Lane(Protocol):
    """One who answers the first so many prompts. Raises LaneError, PeerError."""

    def __call__(self, clients: int, /) -> Sample: ...


@dataclass(slots=True)
class Figures:
    """A lane's samples, by clients, one a round."""

    samples: dict[int, list[Sample]] = field(default_factory=dict)
    error: str | None = None


def run(models_dir: Path, options: Options) -> list[Row]:
    """Measure every model that is asked for and installed."""
    torch.set_num_threads(THREADS)
    installed = {model.name for model in list_models(models_dir) if model.installed}
    rows: list[Row] = []
    for model in options.models:
        if model in installed:
            rows += _measure(models_dir, model, options)
        else:
            print(f"{model} is not installed.")
    return rows


def _measure(models_dir: Path, model: str, options: Options) -> list[Row]:
    prompts = tuple(sample.prompt for sample in load_prompts()[: max(options.clients)])
    if len(prompts) < max(options.clients):
        raise SystemExit(f"There are prompts for at most {len(prompts)} clients.")
    figures: dict[str, Figures] = {}
    with ExitStack() as stack:
        lanes: dict[str, Lane] = {}
        engine = stack.enter_context(closing(Engine(models_dir, threads=THREADS)))
        own = EngineLane(engine, model, prompts)
        lanes[SERIAL], lanes[TOGETHER] = own.one_after_the_other, own.together
        if options.peers and LLAMA_CPP in installed_peers():
            figures[LLAMA_CPP] = Figures()
            with _failing(figures[LLAMA_CPP]):
                peer = stack.enter_context(PeerProcess(LLAMA_CPP, models_dir / CATALOG[model].file_name, THREADS))
                tokenizer = open_model(ModelPool(models_dir), model).tokenizer
                lanes[LLAMA_CPP] = PeerLane(peer, [tokenizer.encode_chat([Message("user", text)]) for text in prompts])
        elif options.peers:
            print("llama.cpp is not installed; `make bench-peers` installs it.")
        if options.url:
            lanes[options.url] = ServerLane(options.url, options.served_model or model, prompts)
        figures = {name: figures.get(name) or Figures() for name in lanes} | figures
        _take_turns(lanes, figures, options)
        beside = Figures()
        with _failing(beside):
            many = min(max(options.clients), MOST_BESIDE_LONG_PROMPTS)
            beside.samples[many] = [own.beside_long_prompts(many) for _ in range(options.rounds)]
    return [
        *(_row(model, name, clients, figures) for clients in options.clients for name in figures),
        *(_row(model, BESIDE, clients, {BESIDE: beside}) for clients in beside.samples),
    ]


def _take_turns(lanes: dict[str, Lane], figures: dict[str, Figures], options: Options) -> None:
    """Fill in the lanes' samples; one that fails drops out. A round of one client first loads and warms up."""
    for round_ in range(options.rounds + 1):
        for clients in options.clients if round_ else (1,):
            for name, lane in lanes.items():
                known = figures[name]
                if known.error is None:
                    with _failing(known):
                        sample = lane(clients)
                        if round_:
                            known.samples.setdefault(clients, []).append(sample)


@contextmanager
def _failing(known: Figures) -> Iterator[None]:
    """A lane's failure is its rows' error and ends nothing else."""
    try:
        yield
    except (LaneError, PeerError) as error:
        known.error = str(error)


class EngineLane:
    """The engine in this process, asked from a thread for each client."""

    def __init__(self, engine: Engine, model: str, prompts: Sequence[str]) -> None:
        self._engine = engine
        self._model = model
        self._prompts = prompts

    def one_after_the_other(self, clients: int) -> Sample:
        """A prompt is asked when the one before it has been answered."""
        begun = perf_counter()
        answers = tuple(self._ask(text) for text in self._prompts[:clients])
        return Sample(perf_counter() - begun, answers)

    def together(self, clients: int) -> Sample:
        """All prompts are asked at once."""
        with ThreadPoolExecutor(clients) as threads:
            begun = perf_counter()
            answers = tuple(threads.map(self._ask, self._prompts[:clients]))
            return Sample(perf_counter() - begun, answers)

    def beside_long_prompts(self, clients: int) -> Sample:
        """All at once, while one long prompt after the other is read."""
        done = threading.Event()

        def keep_asking() -> None:
            number = 0
            while not done.is_set():
                self._ask(some_words(LONG_WORDS, f"long {number}"), max_tokens=1)
                number += 1

        with ThreadPoolExecutor(1) as beside:
            reading = beside.submit(keep_asking)
            try:
                sample = self.together(clients)
            finally:
                done.set()
            reading.result()
        return sample

    def _ask(self, text: str, max_tokens: int | None = None) -> Served:
        gears = OptimizationConfig.at(Precision.INT4)
        try:
            finished, metrics = ask(
                self._engine, self._model, (Message("user", text),), gears, max_tokens or NEW_TOKENS
            )
        except RuntimeError as error:
            raise LaneError(str(error)) from error
        if metrics.ttft_s is None:
            raise LaneError("an answer has no token")
        return Served(metrics.completion_tokens, metrics.ttft_s, metrics.tpot_s, finished.token_ids)


class PeerLane:
    """llama.cpp, given the very token ids that our own tokenizer makes of the prompts. It passes over end marks, so
    that its batch never grows smaller."""

    def __init__(self, peer: PeerProcess, prompts_ids: Sequence[Sequence[int]]) -> None:
        self._peer = peer
        self._prompts_ids = prompts_ids

    def __call__(self, clients: int) -> Sample:
        timings = self._peer.answers(self._prompts_ids[:clients], NEW_TOKENS)
        seconds = max(timing.ttft_s + (timing.tpot_s or 0) * (NEW_TOKENS - 1) for timing in timings)
        return Sample(seconds, tuple(Served(NEW_TOKENS, timing.ttft_s, timing.tpot_s) for timing in timings))


class ServerLane:
    """An OpenAI-compatible server, asked over HTTP from this process."""

    def __init__(self, url: str, model: str, prompts: Sequence[str]) -> None:
        self._url = url
        self._model = model
        self._arrivals = tuple(
            Arrival(at_s=0, prompt=({"role": "user", "content": text},), max_tokens=NEW_TOKENS) for text in prompts
        )

    def __call__(self, clients: int) -> Sample:
        progress = Progress()
        asyncio.run(self._ask(clients, progress))
        answers = [outcome.answer for outcome in progress.outcomes]
        failed = [answer for answer in answers if answer.error]
        if failed:
            raise LaneError(f"{failed[0].error} {failed[0].detail}".strip())
        served = tuple(Served(answer.completion_tokens, answer.ttft_s, answer.tpot_s) for answer in answers)
        return Sample(progress.elapsed_s, served)

    async def _ask(self, clients: int, progress: Progress) -> None:
        async with open_client(self._url, clients=clients, timeout_s=TIMEOUT_S) as client:
            await replay(
                lambda: iter(self._arrivals[:clients]),
                client,
                progress,
                model=self._model,
                writer=PromptWriter(Calibration()),
                clients=clients,
                speed=math.inf,
            )


def _row(model: str, name: str, clients: int, figures: dict[str, Figures]) -> Row:
    known = figures[name]
    samples = [] if known.error else known.samples.get(clients, [])
    answers = [answer for sample in samples for answer in sample.answers]
    ttft = percentiles(answer.ttft_s for answer in answers)
    tpot = percentiles(answer.tpot_s for answer in answers if answer.tpot_s is not None)
    serial = figures.get(SERIAL, Figures()).samples.get(clients, [])
    return {
        "model": model,
        "lane": name,
        "clients": clients,
        "tokens_per_s": statistics.median(sample.tokens_per_s for sample in samples) if samples else None,
        "spread": spread([sample.tokens_per_s for sample in samples]),
        "to_serial": _ratio(samples, serial),
        "to_llama_cpp": _ratio(samples, figures.get(LLAMA_CPP, Figures()).samples.get(clients, [])),
        "ttft_p50_s": ttft.get(50),
        "ttft_p99_s": ttft.get(99),
        "tpot_p50_s": tpot.get(50),
        "tpot_p99_s": tpot.get(99),
        "tpot_p99_to_p50": tpot[99] / tpot[50] if tpot else None,
        "as_alone": _as_alone(samples, serial),
        "error": known.error,
    }


def _ratio(samples: Sequence[Sample], others: Sequence[Sample]) -> float | None:
    """The median of the rounds' ratios of tokens/s."""
    if not samples or len(samples) != len(others):
        return None
    return statistics.median(a.tokens_per_s / b.tokens_per_s for a, b in zip(samples, others, strict=True))


def _as_alone(samples: Sequence[Sample], serial: Sequence[Sample]) -> str | None:
    """How many answers have the very tokens of the same prompt asked alone; ``None`` where a lane tells none."""
    if not samples or len(samples) != len(serial):
        return None
    pairs = [
        (one.token_ids, other.token_ids)
        for a, b in zip(samples, serial, strict=True)
        for one, other in zip(a.answers, b.answers, strict=True)
    ]
    if any(one is None for one, _ in pairs):
        return None
    return f"{sum(one == other for one, other in pairs)} of {len(pairs)}"
