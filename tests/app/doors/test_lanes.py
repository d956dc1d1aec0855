"""The requests of one key: what runs, what waits, in whatever order they come, end, leave and are cancelled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from app.doors.keys import KeyLimits
from app.doors.limits import Lane, LeftError, LimitError


@dataclass
class Visit:
    """One request: where it has got to, and what makes it go on."""

    number: int
    state: str = "waits"
    end: asyncio.Event = field(default_factory=asyncio.Event)
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def run(self, lane: Lane, order: list[int]) -> None:
        async def left() -> None:
            await self.leave.wait()

        try:
            async with lane.turn(left):
                self.state = "runs"
                order.append(self.number)
                await self.end.wait()
            self.state = "over"
        except LimitError:
            self.state = "refused"
        except LeftError:
            self.state = "left"
        except asyncio.CancelledError:
            self.state = "cancelled"


STEPS = ("come", "come", "come", "end", "leave", "cancel", "end and leave", "end and cancel")


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


@given(
    concurrent=st.integers(1, 3),
    queue=st.integers(0, 3),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), max_size=40),
)
def test_no_place_is_lost_or_given_twice_and_who_came_first_runs_first(
    concurrent: int, queue: int, steps: list[tuple[str, int]]
) -> None:
    async def scenario() -> None:
        lane = Lane(KeyLimits(concurrent=concurrent, queue=queue))
        visits: list[Visit] = []
        order: list[int] = []

        def now(state: str) -> list[Visit]:
            return [visit for visit in visits if visit.state == state]

        for step, which in steps:
            running, waiting = now("runs"), now("waits")
            if step == "come":
                visit = Visit(len(visits))
                visits.append(visit)
                visit.task = asyncio.create_task(visit.run(lane, order))
                await settle()
                full = len(running) == concurrent
                expected = "runs" if not full else "waits" if len(waiting) < queue else "refused"
                assert visit.state == expected
            if "end" in step and running:
                running[which % len(running)].end.set()
            if "leave" in step and waiting:  # with "end" at the very moment at which its turn comes
                waiting[which % len(waiting)].leave.set()
            if step == "end and cancel" and waiting:
                for _ in range(which):  # until its turn may just have come, and it has not gone on yet
                    await asyncio.sleep(0)
                assert waiting[0].task
                waiting[0].task.cancel()
            if step == "cancel" and running + waiting:
                task = (running + waiting)[which % len(running + waiting)].task
                assert task
                task.cancel()
            await settle()
            assert len(now("runs")) <= concurrent
            assert len(now("waits")) <= queue
            assert not now("waits") or len(now("runs")) == concurrent
        assert order == sorted(order)
        for visit in visits:
            visit.end.set()
        await settle()
        while now("waits"):
            await settle()
        assert not now("runs")
        last = [Visit(len(visits) + number) for number in range(concurrent)]
        tasks = [asyncio.create_task(visit.run(lane, order)) for visit in last]
        await settle()
        assert {visit.state for visit in last} == {"runs"}
        for visit in last:
            visit.end.set()
        await asyncio.gather(*tasks, *(visit.task for visit in visits if visit.task))

    asyncio.run(scenario())
