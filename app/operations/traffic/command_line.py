"""The command: ``replay FILE``, ``poisson`` and ``bursty`` against a server by its address.

Exit codes: 0, 1 where more requests failed than allowed or the server does not answer, 2 for bad input, 130 interrupted
(what had ended by then is reported all the same).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from app.operations.traffic.arrivals import Extent, Trace, TraceError, extent_of, limited
from app.operations.traffic.client import KEY_VARIABLES, open_client
from app.operations.traffic.progress import progress_line
from app.operations.traffic.prompts import Calibration, PromptWriter
from app.operations.traffic.replay import Progress, calibrate, replay
from app.operations.traffic.report import Report, Slo, row_of
from app.operations.traffic.synthetic import Draw, arrivals, lengths
from app.operations.traffic.traces import trace_of
from engine.errors import GearboxError, InvalidRequestError
from engine.process import INTERRUPTED
from engine.untrusted import parse_json

T = TypeVar("T")

_BAD_INPUT = 2
_FAILED = 1


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    progress = Progress()
    interrupted = False
    try:
        if options.json:
            options.json.touch()  # or this is said before the load, not after it
        trace = limited(options.trace(options), options.limit)
        extent = _extent_of(trace, options.name(options))
        try:
            asyncio.run(_run(options, trace, extent, progress))
        except KeyboardInterrupt:
            interrupted = True
    except GearboxError as error:
        return _complain(str(error), _BAD_INPUT if isinstance(error, InvalidRequestError) else _FAILED)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _complain(str(error), _BAD_INPUT)
    report = Report.of(progress, options.slo)
    sys.stdout.write(report.text())
    if options.json:
        rows = [row_of(outcome) for outcome in progress.outcomes]
        text = json.dumps({"summary": report.to_dict(), "requests": rows}, indent=1)
        try:
            options.json.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            return _complain(str(error), _FAILED)
    if interrupted:
        return INTERRUPTED
    return _FAILED if report.error_share > options.max_error_share else 0


def _extent_of(trace: Trace, name: str) -> Extent:
    try:
        return extent_of(trace)
    except TraceError as error:
        raise TraceError(f"{name}: {error}") from None


async def _run(options: argparse.Namespace, trace: Trace, extent: Extent, progress: Progress) -> None:
    async with open_client(options.url, clients=options.clients, timeout_s=options.timeout) as client:
        calibration = await calibrate(client, model=options.model, seed=options.seed, more=options.body)
        _say(_announcement(options, extent, calibration))
        async with progress_line(sys.stderr, progress, extent, by_count=math.isinf(options.speed)):
            await replay(
                trace,
                client,
                progress,
                model=options.model,
                writer=PromptWriter(calibration, scale=options.length_scale, seed=options.seed),
                clients=options.clients,
                speed=options.speed,
                answer_scale=options.length_scale,
                more=options.body,
            )


def _announcement(options: argparse.Namespace, extent: Extent, calibration: Calibration) -> str:
    pace = (
        "as fast as they are answered"
        if math.isinf(options.speed)
        else f"in {extent.duration_s / options.speed:,.1f} s"
    )
    text = f"{extent.requests:,} requests {pace}, at most {options.clients:,} at once."
    if not extent.has_lengths:
        return text
    if calibration.measured:
        return f"{text} Prompts are made up; a word is {calibration.tokens_per_word:.2f} tokens."
    return f"{text} Prompts are made up; the server counts no tokens, so that their lengths are approximate."


def _recorded(options: argparse.Namespace) -> Trace:
    return trace_of(options.file)


def _synthetic(options: argparse.Namespace) -> Trace:
    return arrivals(
        rate=options.rate,
        duration_s=options.duration,
        cv=options.cv,
        prompt_tokens=options.prompt_tokens,
        answer_tokens=options.answer_tokens,
        seed=options.seed,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.operations.traffic",
        description="Sends a trace of requests to an OpenAI-compatible server, and reports how it did.",
        epilog=f"A key is taken from {' or '.join(KEY_VARIABLES)}.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    recorded = commands.add_parser("replay", help="a recorded trace")
    recorded.add_argument("file", type=Path, help="Azure's CSV, Mooncake's JSONL, or a JSONL of messages")
    recorded.add_argument("--speed", type=_speed, default=1.0, help="times as fast; inf has everything due at once")
    recorded.set_defaults(trace=_recorded, name=lambda options: str(options.file))
    _add_common(recorded)

    for name, text in (("poisson", "arrivals at random"), ("bursty", "arrivals in bursts")):
        synthetic = commands.add_parser(name, help=text)
        synthetic.add_argument("--rate", type=_above_0, required=True, help="requests a second on average")
        synthetic.add_argument("--duration", type=_above_0, required=True, help="seconds in which they arrive")
        if name == "bursty":
            synthetic.add_argument(
                "--cv", type=_up_to_100, default=3.0, help="standard deviation of the gaps over their mean: 3"
            )
        described = "tokens: 256, 100-500 or lognormal:MEDIAN:SIGMA"
        synthetic.add_argument("--prompt-tokens", type=_lengths, default=lengths("lognormal:300:0.8"), help=described)
        synthetic.add_argument("--answer-tokens", type=_lengths, default=lengths("lognormal:80:0.6"), help=described)
        synthetic.set_defaults(
            trace=_synthetic, name=lambda _: "The trace", speed=1.0, **({} if name == "bursty" else {"cv": 1.0})
        )
        _add_common(synthetic)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="of the server, such as http://127.0.0.1:8501")
    parser.add_argument("--model", required=True, help="as the server calls it")
    parser.add_argument("--clients", type=_count, default=64, help="requests in flight at most: 64")
    parser.add_argument("--limit", type=_count, help="only so many requests, the first ones")
    parser.add_argument("--timeout", type=_above_0, default=600.0, help="seconds that a request may take: 600")
    parser.add_argument(
        "--length-scale", type=_up_to_100, default=1.0, help="lengths of prompts and answers times this"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn and of made-up texts")
    parser.add_argument("--body", type=_object, default={}, help="JSON fields added to each request")
    parser.add_argument("--slo", type=_slo, help="seconds that a good answer keeps: ttft=1.0,tpot=0.1,e2e=30")
    parser.add_argument(
        "--max-error-share",
        type=_share,
        default=0.0,
        help="of the requests, 0 to 1, may fail before the exit code is 1",
    )
    parser.add_argument("--json", type=Path, help="write a summary and a row for each request to this file")


def _number(text: str, is_fit: Callable[[float], bool], what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not is_fit(number):
        raise argparse.ArgumentTypeError(f"must be {what}")
    return number


def _above_0(text: str) -> float:
    return _number(text, lambda number: 0 < number < math.inf, "a number above 0")


def _up_to_100(text: str) -> float:
    return _number(text, lambda number: 0.001 <= number <= 100, "between 0.001 and 100")


def _speed(text: str) -> float:
    return _number(text, lambda number: number > 0, "a number above 0, or inf")


def _share(text: str) -> float:
    return _number(text, lambda number: 0 <= number <= 1, "between 0 and 1")


def _count(text: str) -> int:
    return int(_number(text, lambda number: number >= 1 and number.is_integer(), "a whole number of at least 1"))


def _lengths(text: str) -> Draw:
    return _told(lengths, text)


def _slo(text: str) -> Slo:
    return _told(Slo.parse, text)


def _object(text: str) -> dict[str, Any]:
    try:
        value = parse_json(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be JSON ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return value


def _told(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except InvalidRequestError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _complain(text: str, code: int) -> int:
    _say(f"error: {text}")
    return code
