"""The command line: ``python -m engine models``, ``kernels`` and ``generate``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from engine.engine import Engine
from engine.errors import GearboxError, InvalidRequestError
from engine.models import CATALOG, install, list_models, terminal_bar
from engine.native import build as build_kernels
from engine.native import why_not
from engine.types import (
    Backend,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFailed,
    RunFinished,
    SamplingParams,
    TokenEvent,
)

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130
BAD_INPUT_KINDS = (
    "InvalidRequestError",
    "ContextLengthError",
    "UnknownModelError",
    "UnsupportedModelError",
    "ModelNotInstalledError",
)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]  # exits, as the original does
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def models_dir() -> Path:
    """Where models are kept: ``models`` in ``GEARBOX_DATA_DIR``, or in the repository's ``data``."""
    data_dir = os.environ.get("GEARBOX_DATA_DIR")
    return (Path(data_dir) if data_dir else Path(__file__).parent.parent / "data") / "models"


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for a failure, 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except InvalidRequestError as error:
        return _complain(str(error), BAD_INPUT)
    except GearboxError as error:
        return _complain(str(error), FAILED)
    except OSError as error:
        return _complain(str(error), FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m engine", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    models = commands.add_parser("models", help="list the models, or install one")
    models.set_defaults(command=_list)
    actions = models.add_subparsers(metavar="ACTION")
    install_model = actions.add_parser("install", help="fetch and convert a catalogue model")
    install_model.add_argument("name", nargs="+", help="name in the catalogue")
    install_model.add_argument("--reinstall", action="store_true", help="fetch it again even if it is there")
    install_model.set_defaults(command=_install)

    kernels = commands.add_parser("kernels", help="build the kernels for this processor, unless they are there")
    kernels.set_defaults(command=_build_kernels)

    generate = commands.add_parser("generate", help="answer one prompt")
    generate.set_defaults(command=_generate)
    generate.add_argument("--model", required=True, help="catalogue name, local folder or hub id")
    generate.add_argument("--prompt", required=True)
    generate.add_argument("--system", help="system prompt")
    generate.add_argument("--backend", choices=[b.value for b in Backend], default=Backend.LOCAL.value)
    generate.add_argument("--quantization", choices=[p.value for p in Precision], default=Precision.BF16.value)
    generate.add_argument("--max-tokens", type=int, default=SamplingParams().max_tokens)
    generate.add_argument("--temperature", type=float, default=SamplingParams().temperature)
    generate.add_argument("--seed", type=int, default=SamplingParams().seed)
    generate.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def _list(options: argparse.Namespace) -> int:
    for model in list_models(models_dir()):
        if model.installed:
            state = f"installed, {model.disk_bytes / 2**20:,.0f} MiB on disk"
        elif model.problem:
            state = model.problem
        else:
            state = f"not installed, {(model.download_bytes or 0) / 2**20:,.0f} MiB to fetch"
        print(f"{model.name:24} {state:34} {model.title}")
    return 0


def _install(options: argparse.Namespace) -> int:
    unknown = [name for name in options.name if name not in CATALOG]
    if unknown:
        raise InvalidRequestError(f"Unknown model {unknown[0]!r}. The catalogue has: {', '.join(CATALOG)}.")
    for name in options.name:
        with terminal_bar(name) as progress:
            install(name, models_dir(), progress, reinstall=options.reinstall)
    return 0


def _build_kernels(options: argparse.Namespace) -> int:
    built = build_kernels()
    print(f"kernels: {built.name}" if built else f"kernels: torch's own, because {why_not() or 'the compiler failed'}")
    return 0


def _generate(options: argparse.Namespace) -> int:
    config = RunConfig(
        model=options.model,
        backend=Backend(options.backend),
        optimization=OptimizationConfig.at(Precision(options.quantization)),
        sampling=SamplingParams(max_tokens=options.max_tokens, temperature=options.temperature, seed=options.seed),
    )
    system = (Message("system", options.system),) if options.system else ()
    request = GenerationRequest(messages=(*system, Message("user", options.prompt)), config=config)
    if options.json:
        _keep_stdout_clean()
    with closing(Engine(models_dir())) as engine, closing(engine.generate(request)) as events:
        for event in events:
            match event:
                case TokenEvent(text=text) if not options.json:
                    print(text, end="", flush=True)
                case RunFailed(error=error, kind=kind):
                    return _complain(error, BAD_INPUT if kind in BAD_INPUT_KINDS else FAILED)
                case RunFinished() if options.json:
                    _print_json(event, config)
                case RunFinished():
                    print()
    return 0


def _keep_stdout_clean() -> None:
    """Libraries' chatter belongs to stderr at most; transformers' bars and notes are of no use here."""
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["TQDM_DISABLE"] = "1"


def _print_json(run: RunFinished, config: RunConfig) -> None:
    answer = {
        "text": run.text,
        "token_ids": run.token_ids,
        "finish_reason": run.finish_reason,
        "config": config.to_dict(),
        "metrics": asdict(run.metrics) if run.metrics else None,
    }
    print(json.dumps(answer, ensure_ascii=False))


def _complain(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
