"""What users of LangChain do, against the server named on the command line. Run by another Python."""

from __future__ import annotations

import json
import sys

import openai
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel

URL = f"{sys.argv[1]}/v1"
MODEL = "smollm2-135m"
ASKED = [HumanMessage("Say hello.")]


class Fox(BaseModel):
    """What a structured answer is held to."""

    name: str
    stars: int


model = ChatOpenAI(
    base_url=URL, api_key="none", model=MODEL, temperature=0, max_tokens=12, max_retries=0, stream_usage=True
)
answer = model.invoke(ASKED)
assert isinstance(answer, AIMessage)
assert answer.usage_metadata
assert answer.usage_metadata["output_tokens"] == 12
chunks = list(model.stream(ASKED))
assert "".join(str(chunk.content) for chunk in chunks) == answer.content
assert 12 in [chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata]
history = [SystemMessage("Be brief."), *ASKED, answer, HumanMessage("And again?")]
assert model.invoke(history).content
assert [found.content for found in model.batch([ASKED, ASKED])] == [answer.content] * 2

structured = ChatOpenAI(base_url=URL, api_key="none", model=MODEL, temperature=0, max_tokens=80, max_retries=0)
fox = structured.with_structured_output(Fox, method="json_schema").invoke("A fox called Rex counts three stars.")
assert isinstance(fox, Fox)

text = OpenAI(base_url=URL, api_key="none", model=MODEL, temperature=0, max_tokens=6, max_retries=0)
assert text.invoke("Once upon a time")


def refused(kind: type[openai.APIStatusError], asked: list[HumanMessage], **fields: object) -> openai.APIStatusError:
    try:
        ChatOpenAI(**{"base_url": URL, "api_key": "none", "model": MODEL, "max_retries": 0, **fields}).invoke(asked)
    except kind as error:
        return error
    raise AssertionError(fields)


assert refused(openai.NotFoundError, ASKED, model="gpt-4o").code == "model_not_found"
assert refused(openai.BadRequestError, [HumanMessage("fox " * 9000)]).code == "context_length_exceeded"
sys.stdout.write(json.dumps({"text": answer.content}))
