"""What users of OpenAI's own package do, against the server named on the command line. Run by another Python."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable

import openai
from pydantic import BaseModel

URL = f"{sys.argv[1]}/v1"
MODEL = "smollm2-135m"
ASKED = [{"role": "user", "content": "Say hello."}]


class Fox(BaseModel):
    """What a structured answer is held to."""

    name: str
    stars: int


client = openai.OpenAI(base_url=URL, api_key="none", max_retries=0)

assert MODEL in [model.id for model in client.models.list()]
assert client.models.retrieve(MODEL).owned_by == "gearbox"

whole = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=12, temperature=0)
text = whole.choices[0].message.content
assert text
assert whole.usage
assert whole.usage.completion_tokens == 12
assert whole.usage.prompt_tokens_details
assert whole.usage.completion_tokens_details

stream = client.chat.completions.create(
    model=MODEL,
    messages=ASKED,
    max_completion_tokens=12,
    temperature=0,
    stream=True,
    stream_options={"include_usage": True},
)
chunks = list(stream)
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
assert chunks[-1].usage
assert chunks[-1].usage.completion_tokens == 12

raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=ASKED, max_tokens=2)
assert len(raw.headers["x-gearbox-run-id"]) == 32

several = client.chat.completions.create(
    model=MODEL,
    messages=ASKED,
    max_tokens=5,
    n=2,
    seed=3,
    logprobs=True,
    top_logprobs=2,
    user="anna",
    metadata={"a": "b"},
)
assert len(several.choices) == 2
logprobs = several.choices[0].logprobs
assert logprobs
assert logprobs.content
assert len(logprobs.content[0].top_logprobs) == 2

# an answer goes back as it came, with all the fields that it has
followed = [*ASKED, whole.choices[0].message.model_dump(), {"role": "user", "content": "And again?"}]
assert client.chat.completions.create(model=MODEL, messages=followed, max_tokens=4).choices

parsed = client.chat.completions.parse(
    model=MODEL,
    messages=[{"role": "user", "content": "A fox called Rex counts three stars. Answer in JSON."}],
    response_format=Fox,
    max_tokens=80,
    temperature=0,
)
assert isinstance(parsed.choices[0].message.parsed, Fox)

continued = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=6, temperature=0, logprobs=1)
assert continued.choices[0].text
pieces = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=6, temperature=0, stream=True)
assert "".join(piece.choices[0].text for piece in pieces) == continued.choices[0].text


def refused(kind: type[openai.APIStatusError], call: Callable[..., object], **fields: object) -> openai.APIStatusError:
    try:
        call(**{"model": MODEL, **fields})
    except kind as error:
        return error
    raise AssertionError(fields)


answer = client.chat.completions.create


tools = [{"type": "function", "function": {"name": "f"}}]
assert refused(openai.BadRequestError, answer, messages=ASKED, tools=tools).param == "tools"
assert refused(openai.NotFoundError, answer, messages=ASKED, model="gpt-4o").code == "model_not_found"
long = [{"role": "user", "content": "fox " * 9000}]
assert refused(openai.BadRequestError, answer, messages=long).code == "context_length_exceeded"
assert refused(openai.BadRequestError, answer, messages=long, stream=True).code == "context_length_exceeded"
assert "embeddings" in refused(openai.BadRequestError, client.embeddings.create, input="x").message


async def at_once() -> set[str | None]:
    async with openai.AsyncOpenAI(base_url=URL, api_key="none", max_retries=0) as clients:
        asked = (
            clients.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=12, temperature=0) for _ in range(8)
        )
        return {answer.choices[0].message.content for answer in await asyncio.gather(*asked)}


assert asyncio.run(at_once()) == {text}
sys.stdout.write(json.dumps({"text": text}))
