"""What clients send: the bodies of calls, read strictly. A field that asks for what cannot be done is refused.

Fields of OpenAI's that ask for nothing, as many clients send them, pass: ``"tools": []``, ``"store": false``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

NOT_SUPPORTED = "not_supported"
"""The kind of a validation error whose message is written for the client."""
MOST_ANSWERS = 64
"""Of one call."""
_LARGEST = 10**9
_INT64 = 2**63

Nothing = Mapping[str, Sequence[object]]
"""Fields that are not supported, with the values that ask for nothing; null always does."""


class Body(BaseModel):
    """A part of a call's body."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())
    nothing: ClassVar[Nothing] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_supported(cls, tree: object) -> object:
        if not isinstance(tree, dict):
            return tree
        for name, values in cls.nothing.items():
            value = tree.get(name)
            if value is not None and not any(type(value) is type(none) and value == none for none in values):
                raise PydanticCustomError(
                    NOT_SUPPORTED, "Gearbox does not support '{field}': leave it out.", {"field": name}
                )
        return {name: value for name, value in tree.items() if name not in cls.nothing}


# --- messages ---------------------------------------------------------------------------------------


def _known_part(part: object) -> object:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(kind, str) and kind != "text":
        raise PydanticCustomError(
            NOT_SUPPORTED, "The models read text alone: parts of content must be of the type 'text'.", {"field": "type"}
        )
    return part


class TextPart(Body):
    """A piece of a message's text."""

    type: Literal["text"]
    text: str


Content = str | list[Annotated[TextPart, BeforeValidator(_known_part)]]


class SystemMessage(Body):
    """What the model is to keep to."""

    nothing: ClassVar[Nothing] = {"name": ()}
    role: Literal["system", "developer"]
    content: Content


class UserMessage(Body):
    """What is asked."""

    nothing: ClassVar[Nothing] = {"name": ()}
    role: Literal["user"]
    content: Content


class AssistantMessage(Body):
    """What was answered."""

    nothing: ClassVar[Nothing] = {
        "name": (),
        "refusal": (),
        "audio": (),
        "annotations": ([],),
        "tool_calls": ([],),
        "function_call": (),
        "reasoning": (),
        "reasoning_content": (),
    }
    role: Literal["assistant"]
    content: Content


ChatMessage = Annotated[SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")]


# --- how the answer is to look ----------------------------------------------------------------------


class TextFormat(Body):
    """Any text."""

    type: Literal["text"]


class JsonObjectFormat(Body):
    """Some JSON object."""

    type: Literal["json_object"]


class JsonSchema(Body):
    """A schema, and what it is called."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None
    """The answer follows the schema either way."""


class JsonSchemaFormat(Body):
    """JSON that follows a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StreamOptions(Body):
    """What a stream carries besides the answer."""

    nothing: ClassVar[Nothing] = {"include_obfuscation": (False,), "continuous_usage_stats": (False,)}
    include_usage: bool | None = None


# --- calls ------------------------------------------------------------------------------------------

StopString = Annotated[str, Field(min_length=1, max_length=500)]
Bias = Annotated[float, Field(ge=-100, le=100)]


class Call(Body):
    """What both kinds of calls can say. What is left out is as the model's configuration has it."""

    model: Annotated[str, Field(min_length=1, max_length=300)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MOST_ANSWERS)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=_LARGEST)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=_LARGEST)] | None = None
    """As vLLM takes it: 0 or -1 keeps all tokens."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.1, le=5)] | None = None
    """As vLLM takes it."""
    logit_bias: dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Bias] | None = None
    """By token id."""
    seed: Annotated[int, Field(ge=-_INT64, lt=_INT64)] | None = None
    stop: StopString | Annotated[list[StopString], Field(max_length=4)] | None = None
    user: Annotated[str, Field(max_length=256)] | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> Call:
        if self.stream_options and not self.stream:
            raise PydanticCustomError(
                NOT_SUPPORTED, "'stream_options' needs 'stream': true.", {"field": "stream_options"}
            )
        return self


class ChatCall(Call):
    """The body of a chat completion."""

    nothing: ClassVar[Nothing] = {
        "audio": (),
        "function_call": ("none", "auto"),
        "functions": ([],),
        "modalities": (["text"],),
        "parallel_tool_calls": (True,),
        "prediction": (),
        "reasoning_effort": ("none",),
        "service_tier": ("auto", "default"),
        "store": (False,),
        "tool_choice": ("none", "auto"),
        "tools": ([],),
        "verbosity": ("medium",),
        "web_search_options": (),
    }
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=_LARGEST)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None

    @model_validator(mode="after")
    def _fields_agree(self) -> ChatCall:
        if self.top_logprobs and not self.logprobs:
            raise PydanticCustomError(
                NOT_SUPPORTED, "'top_logprobs' needs 'logprobs': true.", {"field": "top_logprobs"}
            )
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise PydanticCustomError(
                NOT_SUPPORTED,
                "'max_tokens' and 'max_completion_tokens' differ: send one of them.",
                {"field": "max_tokens"},
            )
        return self


def _is_text(prompt: object) -> object:
    first = prompt[0] if isinstance(prompt, list) and prompt else None
    if isinstance(first, int | list):
        raise PydanticCustomError(NOT_SUPPORTED, "Send the prompt as text: token ids are not supported.")
    return prompt


class CompletionCall(Call):
    """The body of a completion: a text to be continued as it is."""

    nothing: ClassVar[Nothing] = {"best_of": (1,), "echo": (False,), "suffix": ("",)}
    prompt: Annotated[
        str | Annotated[list[str], Field(min_length=1, max_length=MOST_ANSWERS)], BeforeValidator(_is_text)
    ]
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
