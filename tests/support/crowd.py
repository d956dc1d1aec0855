"""A crowd at the API: clients that ask one thing after the other, some of which leave before they are answered."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from app.store import RunFilter, RunRecord, RunSource, RunStatus, RunStore
from tests.support.api import chat, events_of, said

PROMPTS = (
    "Say hello.",
    "Name three animals of the forest.",
    "Why is the sky blue?",
    "Write a line about the sea.",
    "How do bees make honey? Answer as you would answer a child of six who has never seen a beehive before.",
    "Count to twenty.",
)
_LEAVES_AFTER_S = 0.3
_PATIENCE_S = 120.0
"""Until an answer's end is stored."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call, and what its client saw of the answers."""

    client: str
    number: int
    """The client's calls are counted from 0."""
    body: dict[str, Any]
    texts: tuple[str, ...]
    """The answers, or as much of them as the client stayed for."""
    run_ids: tuple[str, ...]
    """As the answer's header tells them; none where the client left before."""
    has_left: bool
    """Whether the client left before the end."""

    @property
    def answers(self) -> int:
        """How many were asked for."""
        count: int = self.body["n"]
        return count

    @property
    def question(self) -> tuple[object, ...]:
        """What decides the answers."""
        return tuple(str(self.body[name]) for name in ("messages", "max_tokens", "temperature", "seed", "n"))


class Crowd:
    """So many clients, each with one call at a time. They stop once the ``with`` block ends."""

    def __init__(self, url: str, clients: int, name: str = "client") -> None:
        """
        Args:
            url: of the server.
            clients: how many.
            name: what theirs begin with; what each asks follows from its name.
        """
        self._url = f"{url}/v1/chat/completions"
        self.calls: list[Asked] = []
        self.errors: list[str] = []
        """What went otherwise than it may, and ended a client."""
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(each, random.Random(each)))
            for each in (f"{name}-{place}" for place in range(clients))
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_PATIENCE_S)

    def _client(self, name: str, rng: random.Random) -> None:
        number = 0
        try:
            with httpx2.Client(timeout=_PATIENCE_S) as http:
                while not self._over.is_set():
                    self.calls.append(self._ask(http, name, number, rng))
                    number += 1
        except Exception as error:  # noqa: BLE001 (whatever it is fails the test)
            self.errors.append(f"{name}, call {number}: {error!r}")

    def _ask(self, http: httpx2.Client, name: str, number: int, rng: random.Random) -> Asked:
        sampled = rng.random() < 0.3
        body = chat(
            rng.choice(PROMPTS),
            max_tokens=rng.choice((4, 16, 48)),
            temperature=1 if sampled else 0,
            seed=rng.randrange(4),
            n=2 if rng.random() < 0.1 else 1,
            user=name,
            metadata={"number": str(number)},
        )
        match rng.choices(("whole", "stream", "leaves a stream", "leaves"), (4, 4, 1, 1))[0]:
            case "whole":
                answer = http.post(self._url, json=body)
                assert answer.status_code == 200, answer.text
                texts = [choice["message"]["content"] for choice in answer.json()["choices"]]
                return Asked(name, number, body, tuple(texts), _run_ids(answer), has_left=False)
            case "stream":
                return self._read(http, name, number, body, events=None)
            case "leaves a stream":
                return self._read(http, name, number, body, events=rng.randrange(1, 6))
        with suppress(httpx2.ReadTimeout):
            http.post(self._url, json=body, timeout=httpx2.Timeout(_PATIENCE_S, read=_LEAVES_AFTER_S))
        return Asked(name, number, body, ("",) * body["n"], (), has_left=True)

    def _read(self, http: httpx2.Client, name: str, number: int, body: dict[str, Any], events: int | None) -> Asked:
        with http.stream("POST", self._url, json={**body, "stream": True}) as answer:
            assert answer.status_code == 200, answer.read()
            lines: list[str] = []
            for line in answer.iter_lines():
                lines.append(line)
                if events is not None and len(events_of(lines)) >= events:
                    break
        found = events_of(lines)
        has_left = found[-1] != "[DONE]"
        assert not any("error" in event for event in found if event != "[DONE]"), found
        texts = tuple(said(found if not has_left else [*found, ""], place) for place in range(body["n"]))
        return Asked(name, number, body, texts, _run_ids(answer), has_left)


def _run_ids(answer: httpx2.Response) -> tuple[str, ...]:
    return tuple(answer.headers["x-gearbox-run-id"].split(", "))


def check_the_store(calls: list[Asked], store: RunStore) -> dict[str, int]:
    """Hold what the clients saw against what was stored: each answer is one run, in its client's order, with its text.

    Returns:
        What was counted.
    """
    _wait_for_the_last(store)
    runs = {row.id: store.get(row.id) for row in _rows(store)}
    by_call: dict[tuple[str, int], list[RunRecord]] = defaultdict(list)
    for run in runs.values():
        by_call[str(run.user), int(run.metadata["number"])].append(run)
    told = Counter(run_id for call in calls for run_id in call.run_ids)
    assert set(told.values()) <= {1}, "a run was told to two"
    assert not told.keys() - runs.keys(), "a run was lost"
    assert not by_call.keys() - {(call.client, call.number) for call in calls}, "there is a run that nobody asked for"
    answers: dict[tuple[object, ...], set[tuple[str, ...]]] = defaultdict(set)
    for call in calls:
        kept = by_call[call.client, call.number]
        if call.run_ids:
            assert sorted(run.id for run in kept) == sorted(call.run_ids), "a run was doubled or lost"
        assert len(kept) <= call.answers
        for run_id, text in zip(call.run_ids, call.texts, strict=False):
            stored = runs[run_id]
            if call.has_left:
                assert stored.status in (RunStatus.FINISHED, RunStatus.STOPPED)
                assert stored.text.startswith(text)
            else:
                assert (stored.status, stored.text) == (RunStatus.FINISHED, text)
        if not call.has_left:
            answers[call.question].add(call.texts)
    assert all(len(texts) == 1 for texts in answers.values()), "the same question had two answers"
    for client in {call.client for call in calls}:
        # ids sort by time; whoever left unanswered did not wait for a run to begin
        ids = [run_id for call in calls if call.client == client for run_id in sorted(call.run_ids)]
        assert ids == sorted(ids), "a client's later call began before an earlier one"
    statuses = Counter(run.status for run in runs.values())
    assert not statuses.keys() - {RunStatus.FINISHED, RunStatus.STOPPED}
    each = Counter(call.client for call in calls)
    return {
        "calls": len(calls),
        "runs": len(runs),
        "finished": statuses[RunStatus.FINISHED],
        "stopped": statuses[RunStatus.STOPPED],
        "different questions": len(answers),
        "least calls of a client": min(each.values()),
        "most calls of a client": max(each.values()),
    }


def _rows(store: RunStore) -> list[Any]:
    api = RunFilter(sources=(RunSource.API,))
    total = store.page(api, limit=1).total
    return list(store.page(api, limit=total + 1).rows)


def _wait_for_the_last(store: RunStore) -> None:
    running = RunFilter(sources=(RunSource.API,), statuses=(RunStatus.RUNNING,))
    deadline = time.monotonic() + _PATIENCE_S
    while store.page(running, limit=1).rows:
        assert time.monotonic() < deadline, "a run goes on for ever"
        time.sleep(0.2)
