"""Who judges: a local model through the engine, or a model of an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from app.experiments.judging.prompts import MOST_TOKENS, VERSION, Asked
from app.experiments.running.weights import KnowsWeights
from app.remote.address import endpoint_of, host_of
from app.runs.answers import RequestRefusedError, RunNotFinishedError, answer_unkept
from app.runs.live_run import LiveRun
from app.runs.service import InferenceEngine
from app.runs.together import AT_ONCE, Watch
from app.settings import JUDGE_KEY, JUDGE_URL
from app.store import JudgeId, NoVerdict
from engine.backends.remote import MOST_SHOWN, error_message, one_line
from engine.errors import GearboxError, InvalidRequestError
from engine.types import (
    GenerationRequest,
    OptimizationConfig,
    RemoteModel,
    RunConfig,
    SamplingParams,
    Tier,
    backend_of,
)
from engine.untrusted import parse_json

TIMEOUT_S = 60.0
"""Of a server's answer, from sending to its end."""
LONGEST_MODEL = 120
"""Characters of a model's name on a server."""
_AT_ONCE_ON_A_SERVER = 4
_MOST_BYTES = 256 * 2**10
"""Of a server's answer."""
_LOOKS_EVERY_S = 0.2
_TOO_LONG = (400, 413, 422)
"""What servers answer to a request that they will never take."""
_NOT_FOR_US = (401, 403, 404)
"""What they answer if all others will be refused as well."""


class JudgeError(GearboxError):
    """A judge cannot be asked."""


class JudgingEngine(InferenceEngine, KnowsWeights, Protocol):
    """What a local judge needs of an engine; see `engine.Engine`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of a question to a judge: its text, not read yet, or why there is none."""

    text: str = ""
    no_verdict: NoVerdict | None = None
    detail: str = ""
    """What went wrong, one line."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Judge(Protocol):
    """Whoever is asked. May be asked on several threads at once."""

    @property
    def id(self) -> JudgeId: ...
    @property
    def at_once(self) -> int:
        """So many questions may be under way."""
        ...

    def ask(self, asked: Asked, watch: Watch) -> Reply:
        """Have a question answered.

        Args:
            asked: the question.
            watch: called every now and then; what it raises ends it.

        Raises:
            JudgeError: neither this one nor any other question will be answered.
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalJudge:
    """A model of this machine. Its replies are held to the JSON that is asked for."""

    engine: JudgingEngine
    tier: Tier
    id: JudgeId
    session: str
    """Whose requests these are, to the engine."""

    @classmethod
    def installed(cls, engine: JudgingEngine, tier: Tier, session: str) -> Self:
        """With the weights that are installed.

        Raises:
            GearboxError: the model is not there, or cannot be run.
        """
        return cls(engine, tier, JudgeId(tier.key, engine.weights_sha256(tier.model), VERSION), session)

    @property
    def at_once(self) -> int:
        return AT_ONCE

    def ask(self, asked: Asked, watch: Watch) -> Reply:
        sampling = SamplingParams(max_tokens=MOST_TOKENS, json_schema=asked.schema())
        config = RunConfig(
            model=self.tier.model,
            backend=backend_of(self.tier.model),
            optimization=OptimizationConfig.at(self.tier.precision),
            sampling=sampling,
        )
        request = GenerationRequest(messages=asked.messages(), config=config, cache_salt=self.session)
        try:
            run = answer_unkept(self.engine, request, watch)
        except RequestRefusedError as error:
            return Reply(no_verdict=NoVerdict.REFUSED, detail=str(error)[:MOST_SHOWN])
        except RunNotFinishedError as error:
            return Reply(no_verdict=NoVerdict.NO_ANSWER, detail=str(error)[:MOST_SHOWN])
        metrics = run.metrics
        return Reply(
            text=run.text,
            prompt_tokens=metrics.prompt_tokens if metrics else None,
            completion_tokens=metrics.completion_tokens if metrics else None,
        )


@dataclass(frozen=True, slots=True)
class ServerJudge:
    """A model of a server. Whoever runs Gearbox says which server, and has the key for it: neither is a visitor's to
    choose, who could have the key sent anywhere."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    timeout_s: float = TIMEOUT_S
    where: str = f"Its address and key are {JUDGE_URL}, {JUDGE_KEY}."
    """Where its address and its key are set, for the user."""

    @classmethod
    def of(cls, remote: RemoteModel) -> Self:
        """A server's model that was added on the Models page."""
        return cls(remote.url, remote.served_name, remote.key, where=f"See {remote.name} on the Models page.")

    def __post_init__(self) -> None:
        if not 0 < len(self.model.strip()) <= LONGEST_MODEL:
            raise InvalidRequestError(f"Name the server's model, in at most {LONGEST_MODEL} characters.")

    @property
    def id(self) -> JudgeId:
        return JudgeId(f"{self.model.strip()} at {self.host}", "", VERSION)

    @property
    def host(self) -> str:
        """Where texts are sent."""
        return host_of(self.url)

    @property
    def at_once(self) -> int:
        return _AT_ONCE_ON_A_SERVER

    def ask(self, asked: Asked, watch: Watch) -> Reply:
        return asyncio.run(self._ask(asked, watch))

    async def _ask(self, asked: Asked, watch: Watch) -> Reply:
        """With a look at ``watch`` meanwhile, so that a server that is slow keeps nobody waiting who has stopped it."""
        answering, nothing_to_tell = asyncio.ensure_future(self._post(asked)), LiveRun()
        try:
            while not (await asyncio.wait({answering}, timeout=_LOOKS_EVERY_S))[0]:
                watch(nothing_to_tell)
            return answering.result()
        finally:
            answering.cancel()

    async def _post(self, asked: Asked) -> Reply:
        import httpx2

        body = {
            "model": self.model.strip(),
            "messages": [{"role": each.role, "content": each.content} for each in asked.messages()],
            "max_tokens": MOST_TOKENS,
            "temperature": 0,
        }
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        try:
            async with (
                asyncio.timeout(self.timeout_s),
                httpx2.AsyncClient(headers=headers, timeout=None) as http,
                http.stream("POST", endpoint_of(self.url, JUDGE_KEY), json=body) as response,
            ):
                read = await _read(response.aiter_bytes())
        except TimeoutError:
            return self._no_answer(f"it took longer than {self.timeout_s:g} s")
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            return self._no_answer(str(error) or type(error).__name__)
        if read is None:
            return self._no_answer(f"its answer has more than {_MOST_BYTES:,} bytes")
        return self._reply(response.status_code, read)

    def _reply(self, status: int, body: bytes) -> Reply:
        """What an answer says.

        Raises:
            JudgeError: it says that no question will be answered.
        """
        try:
            tree: Any = parse_json(body)
        except ValueError:
            tree = None
        if status != 200:
            said = error_message(tree) if tree is not None else body.decode("utf-8", "replace")
            detail = one_line(f"HTTP {status}: {said}", self.key)
            if status in _NOT_FOR_US:
                raise JudgeError(f"{self.host} refuses to judge: {detail}. {self.where}")
            return Reply(no_verdict=NoVerdict.REFUSED if status in _TOO_LONG else NoVerdict.NO_ANSWER, detail=detail)
        match tree:
            case {"choices": [{"message": {"content": str() | None as text}}, *_]}:
                usage = tree.get("usage")
                counts = usage if isinstance(usage, dict) else {}
                return Reply(
                    text=text or "",
                    prompt_tokens=_count(counts.get("prompt_tokens")),
                    completion_tokens=_count(counts.get("completion_tokens")),
                )
        return self._no_answer("its answer is no chat completion")

    def _no_answer(self, why: str) -> Reply:
        return Reply(no_verdict=NoVerdict.NO_ANSWER, detail=one_line(why, self.key))


async def _read(parts: AsyncIterator[bytes]) -> bytes | None:
    """A body; ``None`` if it is too long."""
    read = b""
    async for part in parts:
        read += part
        if len(read) > _MOST_BYTES:
            return None
    return read


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
