"""The other side of :mod:`engine.untrusted.confined`: does what strangers' texts say, one job after the other.

Run as a script of its own. Jobs come on stdin and what comes of them goes to stdout, one line of JSON each; nothing
else is open.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import random
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

GRACE_S = 5.0
"""The parent kills a job that takes too long; should it have died, the process ends so long after that."""
LONGEST_TEXT = 8 * 2**20
"""Characters that a template may write."""
LONGEST_MESSAGE = 300
"""Characters of an exception's text that are told."""
STACK_BYTES = 2 * 2**20
"""For following a grammar: less than a thread of the parent has, so that what fits here fits there."""
WALKS, STEPS = 4, 64
"""Texts of a grammar that are tried, and bytes of each."""


def main() -> None:
    """Greet, then work until stdin ends."""
    lines, replies = sys.stdin.buffer, sys.stdout.buffer
    hello = json.loads(lines.readline())
    sys.path.extend(folder for folder in hello["path"] if folder not in sys.path)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy would reserve memory for each processor
    functions = {"templates": templates, "patterns": patterns, "grammars": grammars}[hello["kind"]]()
    limit_resources(hello["memory"])
    replies.write(b"ready\n")
    replies.flush()
    for line in lines:
        job = json.loads(line)
        # a watchdog that needs no interpreter, so that no job outlives a parent that was killed
        faulthandler.dump_traceback_later(hello["seconds"] + GRACE_S, exit=True)
        replies.write(outcome(functions[job["function"]], job["arguments"], hello["memory"]) + b"\n")
        replies.flush()
        faulthandler.cancel_dump_traceback_later()


def outcome(function: Callable[..., Any], arguments: Mapping[str, Any], memory: int) -> bytes:
    """What a job gave or raised, as a line."""
    try:
        return as_json({"value": function(**arguments)})
    except TooLongError:
        return as_json({"beyond": f"wrote more than {LONGEST_TEXT:,} characters and was stopped"})
    except RecursionError:
        return as_json({"beyond": "goes too deep into itself and was stopped"})
    except MemoryError:
        return as_json({"beyond": f"needed more than {memory // 2**20:,} MiB of memory and was stopped"})
    except Exception as error:  # noqa: BLE001 (whatever a stranger's text raises is told)
        return as_json({"error": told(error)})


def as_json(value: Any) -> bytes:
    """Lone surrogates go as they are; who reads them replaces them."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def told(error: Exception) -> tuple[str, str]:
    """An exception's class and the beginning of its text."""
    text = " ".join(str(getattr(error, "message", None) or error)[: 10 * LONGEST_MESSAGE].split())
    return type(error).__name__, text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + "…"


def limit_resources(memory: int) -> None:
    """No more memory than now and ``memory`` bytes, no files, where the system has such limits."""
    try:
        import resource
    except ImportError:
        return  # Windows: the parent's limit of time is left
    statm = Path("/proc/self/statm")
    if statm.exists():
        now = int(statm.read_text().split()[0]) * resource.getpagesize()
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        wanted = now + memory
        resource.setrlimit(resource.RLIMIT_AS, (wanted if most < 0 else min(wanted, most), most))
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))


class TooLongError(Exception):
    """A text is longer than it may be."""


def templates() -> Mapping[str, Callable[..., Any]]:
    """Chat templates, rendered by transformers' own function."""
    render_one = rendering_of_transformers()

    def render(
        template: str, conversations: Sequence[Sequence[Mapping[str, Any]]], variables: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """Each conversation's ``text``, or the ``error`` it met."""
        results: list[dict[str, Any]] = []
        for conversation in conversations:
            try:
                (text,), _ = render_one(
                    conversations=[conversation], chat_template=template, add_generation_prompt=True, **variables
                )
            except (RecursionError, MemoryError):
                raise
            except Exception as error:  # noqa: BLE001 (whatever a template raises is told)
                results.append({"error": told(error)})
            else:
                if len(text) > LONGEST_TEXT:
                    raise TooLongError
                results.append({"text": text})
        return results

    return {"render": render}


def rendering_of_transformers() -> Any:
    """The function, from its file alone: the package around it takes seconds to import. Of that the file is given what
    it asks for: loggers, and the answer that of the libraries it knows of only jinja2 is here."""
    spec = find_spec("transformers")
    assert spec is not None  # a dependency
    root = Path(str(spec.origin)).parent
    names = ("transformers", "transformers.utils", "transformers.utils.logging", "transformers.utils.import_utils")
    around: dict[str, Any] = {name: ModuleType(name) for name in names}
    package, utils, loggers, libraries = around.values()
    package.__path__, utils.__path__ = [str(root)], [str(root / "utils")]
    utils.logging, utils.import_utils = loggers, libraries
    loggers.get_logger = logging.getLogger
    libraries.is_jinja_available = lambda: True
    libraries.is_torch_available = libraries.is_vision_available = lambda: False
    sys.modules.update(around)
    return import_module("transformers.utils.chat_template_utils").render_jinja_template


def patterns() -> Mapping[str, Callable[..., Any]]:
    """Regular expressions and JSON schemas."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    def check_pattern(pattern: str) -> None:
        re.compile(pattern)

    def search(pattern: str, text: str) -> bool:
        return re.search(pattern, text) is not None

    def check_schema(schema: Any) -> None:
        # with the format "regex", so that a pattern in it that cannot be read is found here
        Draft202012Validator.check_schema(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)

    def validate(schema: Any, value: Any) -> bool:
        # an empty registry: no schema is ever fetched from elsewhere
        return bool(Draft202012Validator(schema, registry=Registry()).is_valid(value))

    return {f.__name__: f for f in (check_pattern, search, check_schema, validate)}


def grammars() -> Mapping[str, Callable[..., Any]]:
    """What llguidance makes of JSON schemas."""
    from llguidance import LLMatcher, LLParserLimits, LLTokenizer

    vocabulary = LLTokenizer("byte")
    threading.stack_size(STACK_BYTES)

    def walk(matcher: Any, chance: random.Random) -> None:
        """Follow a grammar byte by byte."""
        matcher.reset()
        for _ in range(STEPS):
            if matcher.is_error() or matcher.is_stopped():
                return
            mask = matcher.compute_bitmask()
            allowed = [byte for byte in range(256) if mask[byte // 8] >> byte % 8 & 1]
            # what goes on inside a string rather than what ends it: that is where patterns are
            inside = [byte for byte in allowed if byte > ord(" ") and byte != ord('"')] or allowed
            if not inside:
                return
            matcher.consume_token(chance.choice(inside))

    def follow(grammars: Sequence[str]) -> str:
        """Walk through each grammar some times; the first thing that keeps one from being followed, or nothing."""
        chance, errors = random.Random(0), list[str]()

        def walks() -> None:
            for grammar in grammars:
                matcher = LLMatcher(vocabulary, grammar, log_level=0, limits=LLParserLimits(verbose_errors=False))
                for _ in range(WALKS):
                    walk(matcher, chance)
                errors.append(matcher.get_error())

        thread = threading.Thread(target=walks)
        thread.start()
        thread.join()
        return next((error for error in errors if error), "")

    return {"follow": follow}


if __name__ == "__main__":
    main()
