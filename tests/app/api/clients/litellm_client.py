"""What users of LiteLLM do, against the server named on the command line. Run by another Python."""

from __future__ import annotations

import json
import sys

import litellm

WHERE = {"model": "openai/smollm2-135m", "api_base": f"{sys.argv[1]}/v1", "api_key": "none", "num_retries": 0}
ASKED = [{"role": "user", "content": "Say hello."}]

answer = litellm.completion(**WHERE, messages=ASKED, temperature=0, max_tokens=12)
text = answer.choices[0].message.content
assert answer.usage.completion_tokens == 12
chunks = list(
    litellm.completion(
        **WHERE, messages=ASKED, temperature=0, max_tokens=12, stream=True, stream_options={"include_usage": True}
    )
)
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
assert 12 in [chunk.usage.completion_tokens for chunk in chunks if getattr(chunk, "usage", None)]


def refused(kind: type[Exception], **fields: object) -> str:
    try:
        litellm.completion(**{**WHERE, "messages": ASKED, **fields})
    except kind as error:
        return str(error)
    raise AssertionError(fields)


assert "tools" in refused(litellm.BadRequestError, tools=[{"type": "function", "function": {"name": "f"}}])
assert refused(litellm.NotFoundError, model="openai/none")
sys.stdout.write(json.dumps({"text": text}))
