"""A server's own counters, as Prometheus text: what a run moved, where the server tells it nowhere else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from engine.types import RemoteModel

if TYPE_CHECKING:
    import httpx2

TIMEOUT_S = 2.0
_MOST_BYTES = 4 * 2**20
_LINE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+([-+.\deE]+)(?:\s+\d+)?\s*")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_NAMES: Mapping[str, tuple[str, ...]] = {
    "requests": ("vllm:request_success_total", "sglang:num_requests_total"),
    "cached_tokens": (
        "vllm:prefix_cache_hits_total",
        "vllm:gpu_prefix_cache_hits_total",
        "sglang:cached_tokens_total",
    ),
    "drafted_tokens": ("vllm:spec_decode_num_draft_tokens_total",),
    "accepted_tokens": ("vllm:spec_decode_num_accepted_tokens_total",),
    "written_tokens": (
        "vllm:generation_tokens_total",
        "sglang:generation_tokens_total",
        "llamacpp:tokens_predicted_total",
    ),
}
"""What servers call them, the newer name first."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What a server has counted since it started; ``None`` for what it does not count."""

    requests: int | None = None
    """Answered to the end."""
    cached_tokens: int | None = None
    drafted_tokens: int | None = None
    accepted_tokens: int | None = None
    written_tokens: int | None = None
    """Of all answers."""

    def since(self, before: Counters) -> Counters:
        """What has been counted since then."""

        def moved(now: int | None, then: int | None) -> int | None:
            return None if now is None or then is None or now < then else now - then

        return Counters(
            moved(self.requests, before.requests),
            moved(self.cached_tokens, before.cached_tokens),
            moved(self.drafted_tokens, before.drafted_tokens),
            moved(self.accepted_tokens, before.accepted_tokens),
            moved(self.written_tokens, before.written_tokens),
        )


def parse_counters(text: str, served_name: str) -> Counters:
    """The counters of one model, of Prometheus text. Those that name no model are of all.

    Args:
        text: what a server says.
        served_name: the model as the server calls it.
    """
    found: dict[str, float] = {}
    for line in text.splitlines():
        match = None if line.startswith("#") else _LINE.fullmatch(line)
        if match is None:
            continue
        name, labels, value = match.groups()
        about = dict(_LABEL.findall(labels or ""))
        if about.get("model_name", served_name) != served_name:
            continue
        try:
            found[name] = found.get(name, 0.0) + float(value)
        except ValueError:
            continue

    def first(names: tuple[str, ...]) -> int | None:
        value = next((found[name] for name in names if name in found), None)
        return None if value is None or not 0 <= value < 2**63 else int(value)

    return Counters(**{field: first(names) for field, names in _NAMES.items()})


async def read_counters(http: httpx2.AsyncClient, model: RemoteModel) -> Counters | None:
    """What the server counts now; ``None`` where that cannot be read. The key goes only where requests go."""
    import httpx2

    url = model.metrics_url
    if url is None:
        return None
    is_same = urlsplit(url)[:2] == urlsplit(model.url)[:2]
    headers = {"authorization": f"Bearer {model.key}"} if model.key and is_same else {}
    read = b""
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            http.stream("GET", url, headers=headers, timeout=TIMEOUT_S) as response,
        ):
            if response.status_code != httpx2.codes.OK:
                return None
            async for part in response.aiter_bytes():
                read += part
                if len(read) > _MOST_BYTES:
                    return None
    except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL):
        return None
    return parse_counters(read.decode("utf-8", "replace"), model.served_name)
