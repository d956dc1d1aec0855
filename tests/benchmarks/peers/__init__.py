"""Other engines that the benchmarks hold Gearbox against, each in a process of its own.

Thread pools and memory of one engine then never disturb another's, and a crash ends one lane alone.
"""

from __future__ import annotations

from importlib.util import find_spec

PEERS: dict[str, str] = {"llama.cpp": "llama_cpp", "openvino-genai": "openvino_genai"}
"""The package each peer is imported from, by the name it has in a row."""


def installed_peers() -> list[str]:
    """The peers that can be imported here; `make bench-peers` installs all of them."""
    return [name for name, package in PEERS.items() if find_spec(package)]
