"""The commands ``models``, ``kernels``, ``generate`` and ``evaluate``, of ``gearbox`` and of ``python -m engine``."""

from __future__ import annotations

import argparse
import codecs
import json
import os
import shlex
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from engine.engine import Engine
from engine.errors import GearboxError, InvalidRequestError
from engine.evaluation import DivergenceStats, WindowDivergence, default_corpus, read_corpus
from engine.model_commands import Told, add_model_commands, nothing_told
from engine.models import CATALOG, install, list_models, terminal_bar
from engine.models.sources.progress import part
from engine.native import build as build_kernels
from engine.native import why_not
from engine.types import (
    DRAFT_PRECISION,
    MAX_GAMMA,
    PRECISIONS,
    Backend,
    DeviceChoice,
    Drafter,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFailed,
    RunFinished,
    SamplingParams,
    SpeculationConfig,
    TokenEvent,
)
from engine.untrusted import valid_text

FAILED = 1
BAD_INPUT = 2
BAD_INPUT_KINDS = (
    "InvalidRequestError",
    "ContextLengthError",
    "CorpusError",
    "UnknownModelError",
    "UnsupportedModelError",
    "ModelNotInstalledError",
    "WeightsIntegrityError",
)
_BACKENDS = (Backend.REFERENCE, Backend.LOCAL)
"""Those that run models of this machine: nobody has told the command line of servers."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]  # exits, as the original does
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def models_dir() -> Path:
    """Where models are kept: ``models`` in ``GEARBOX_DATA_DIR``, or in the repository's ``data``.

    Raises:
        InvalidRequestError: the libraries that read models cannot be told that folder's name.
    """
    data_dir = os.environ.get("GEARBOX_DATA_DIR")
    folder = (Path(data_dir) if data_dir else Path(__file__).parent.parent / "data") / "models"
    if valid_text(str(folder)) != str(folder):
        raise InvalidRequestError(
            f"Models cannot be kept in {valid_text(str(folder))}: the folder's name is no UTF-8. Rename it, choose "
            "another one with GEARBOX_DATA_DIR, or use a locale with UTF-8."
        )
    return folder


def run(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for a failure, 2 for bad input.

    Raises:
        BrokenPipeError: nobody reads the output any more.
    """
    return run_options(parser("python -m engine", "Gearbox's inference engine.")[0].parse_args(arguments))


def run_options(options: argparse.Namespace) -> int:
    """Run the command of parsed arguments; as :func:`run`."""
    try:
        return int(options.command(options))
    except InvalidRequestError as error:
        return _complain(str(error), BAD_INPUT)
    except GearboxError as error:
        return _complain(str(error), _exit_code(type(error).__name__))
    except BrokenPipeError:
        raise
    except OSError as error:
        return _complain(str(error), FAILED)
    except MemoryError:
        return _complain("there is not enough memory for this command", FAILED)


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Where a command is added to a parser."""


def parser(program: str, description: str, told: Told = nothing_told) -> tuple[argparse.ArgumentParser, Commands]:
    """The parser of the engine's commands under a program's name, and where that may add its own. What is ``told`` of a
    model before it is removed, the program knows."""
    parser = _Parser(prog=program, description=description)
    commands: Commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    models = commands.add_parser("models", help="list the models, add or remove one")
    models.set_defaults(command=_list)
    actions = models.add_subparsers(metavar="ACTION")
    install_model = actions.add_parser("install", help="fetch and convert a catalogue model")
    install_model.add_argument("name", nargs="+", type=_text, help="name in the catalogue")
    install_model.add_argument("--reinstall", action="store_true", help="fetch it again even if it is there")
    install_model.set_defaults(command=_install)
    add_model = actions.add_parser("add", help="convert a GGUF file of a supported family")
    add_model.add_argument("file", type=Path, help="the file, which is left as it is")
    add_model.add_argument("--name", type=_text, help="what to call the model; by default as the file")
    add_model.set_defaults(command=_add)
    found = actions.add_parser("found", help="list the models of Ollama and LM Studio on this machine")
    found.set_defaults(command=_found)
    add_model_commands(actions, models_dir, _text, told)

    kernels = commands.add_parser("kernels", help="build the kernels for this processor, unless they are there")
    kernels.set_defaults(command=_build_kernels)

    generate = commands.add_parser("generate", help="answer one prompt")
    generate.set_defaults(command=_generate)
    generate.add_argument("--model", required=True, type=_text, help="catalogue name, local folder or hub id")
    generate.add_argument("--prompt", required=True, type=_text)
    generate.add_argument("--system", type=_text, help="system prompt")
    generate.add_argument("--backend", choices=[b.value for b in _BACKENDS], default=Backend.LOCAL.value)
    _add_quantization(generate, default=Precision.BF16.value)
    generate.add_argument(
        "--speculation", choices=[d.value for d in Drafter], help="who drafts tokens for the model to verify"
    )
    generate.add_argument("--draft-model", type=_text, metavar="MODEL", help="the smaller model of --speculation draft")
    generate.add_argument(
        "--gamma", type=int, help=f"tokens drafted before each verification, 0 to {MAX_GAMMA}; else as many as pay"
    )
    generate.add_argument("--max-tokens", type=int, default=SamplingParams().max_tokens)
    generate.add_argument("--temperature", type=float, default=SamplingParams().temperature)
    generate.add_argument("--seed", type=int, default=SamplingParams().seed)
    generate.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    evaluate = commands.add_parser("evaluate", help="measure what a precision changes against the 16-bit model")
    evaluate.set_defaults(command=_evaluate)
    evaluate.add_argument("--model", required=True, type=_text, help="catalogue name, local folder or hub id")
    _add_quantization(evaluate, required=True)
    evaluate.add_argument(
        "--corpus",
        type=Path,
        help="text to read, or .jsonl of prompts that the 16-bit model answers; by default the sample prompts",
    )
    evaluate.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser, commands


def _add_quantization(command: argparse.ArgumentParser, **how: Any) -> None:
    on_cuda = " and ".join(precision for precision in PRECISIONS if precision.info.needs_cuda)
    command.add_argument("--quantization", choices=[p.value for p in PRECISIONS], help=f"{on_cuda} needs CUDA", **how)
    command.add_argument(
        "--device",
        type=_device,
        default=os.environ.get("GEARBOX_DEVICE") or DeviceChoice.AUTO.value,
        metavar=f"{{{','.join(DeviceChoice)}}}",
        help="where models run; GEARBOX_DEVICE says the same",
    )


def _text(argument: str) -> str:
    """An argument as valid text: UTF-8 whatever the locale says, U+FFFD for bytes that are none."""
    try:
        return valid_text(os.fsencode(argument).decode("utf-8", "replace"))
    except UnicodeEncodeError:  # it did not come from the system
        return valid_text(argument)


def _device(value: str) -> DeviceChoice:
    if value not in list(DeviceChoice):
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(DeviceChoice)}, and is {value!r}")
    return DeviceChoice(value)


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


def _add(options: argparse.Namespace) -> int:
    from engine.models.own.add import add, name_for

    name = name_for(options.file) if options.name is None else options.name
    with terminal_bar(name) as progress:
        checkpoint = add(options.file, models_dir(), progress, name=name)
    print(f"{name}: {checkpoint.family}, {checkpoint.parameters / 1e6:,.0f} million weights, {checkpoint.provenance}")
    return 0


def _found(options: argparse.Namespace) -> int:
    from engine.models.own.add import free_name
    from engine.models.own.found import found_files, look_at_found

    files = found_files()
    if not files:
        print("No models of Ollama or LM Studio are on this machine.")
    for file in files:
        model = look_at_found(file)
        kind = f"{model.summary.family}, {', '.join(model.summary.encodings)}" if model.summary else model.problem
        print(f"{file.program:10} {file.title:40} {file.bytes / 2**20:7,.0f} MiB  {kind}")
        if model.summary:
            print(
                f"{'':10} gearbox models add {shlex.quote(str(file.path))} --name {free_name(file.name, models_dir())}"
            )
    return 0


def _build_kernels(options: argparse.Namespace) -> int:
    built = build_kernels()
    print(f"kernels: {built.name}" if built else f"kernels: torch's own, because {why_not() or 'the compiler failed'}")
    return 0


def _generate(options: argparse.Namespace) -> int:
    config = RunConfig(
        model=options.model,
        backend=Backend(options.backend),
        optimization=OptimizationConfig.at(Precision(options.quantization), speculation=_speculation(options)),
        sampling=SamplingParams(max_tokens=options.max_tokens, temperature=options.temperature, seed=options.seed),
    )
    system = (Message("system", options.system),) if options.system else ()
    request = GenerationRequest(messages=(*system, Message("user", options.prompt)), config=config)
    if options.json:
        _keep_stdout_clean()
    with closing(Engine(models_dir(), device=options.device)) as engine, closing(engine.generate(request)) as events:
        for event in events:
            match event:
                case TokenEvent(text=text) if not options.json:
                    print(text, end="", flush=True)
                case RunFailed(error=error, kind=kind):
                    return _complain(error, _exit_code(kind))
                case RunFinished() if options.json:
                    _print_json(_answer_tree(event, config))
                case RunFinished(disturbance=disturbance):
                    print()
                    if disturbance and disturbance.is_disturbed:
                        print(f"disturbed: {disturbance.why} Its speed is not to be relied on.", file=sys.stderr)
    return 0


def _speculation(options: argparse.Namespace) -> SpeculationConfig | None:
    if options.speculation is None:
        if options.draft_model or options.gamma is not None:
            raise InvalidRequestError("--draft-model and --gamma need --speculation.")
        return None
    drafter = Drafter(options.speculation)
    held = DRAFT_PRECISION if drafter.info.has_precision else None
    return SpeculationConfig(
        drafter=drafter, draft_model=options.draft_model, draft_precision=held, gamma=options.gamma
    )


def _evaluate(options: argparse.Namespace) -> int:
    precision = Precision(options.quantization)
    corpus = read_corpus(options.corpus) if options.corpus else default_corpus()
    with closing(Engine(models_dir(), device=options.device)) as engine:
        weights_sha256 = engine.weights_sha256(options.model)
        if corpus.prompts:
            with terminal_bar(f"{options.model} in {Precision.BF16}") as progress:
                windows = engine.windows(options.model, corpus, progress)
        else:
            windows = engine.windows(options.model, corpus)
        parts: list[WindowDivergence] = []
        with terminal_bar(f"{options.model} in {precision}") as progress:
            for window in windows:
                done = len(parts) / len(windows)
                progress(f"Reading text {len(parts) + 1:,} of {len(windows):,}", done)
                loading = part(progress, done, done)
                parts.append(engine.compare_window(options.model, precision, window, loading))
            progress("All texts read", 1.0)
        weights_bytes = {model.precision: model.weights_bytes for model in engine.status().resident}
    stats = DivergenceStats.from_tokens(WindowDivergence.concatenate(parts))
    if options.json:
        result = {
            "model": options.model,
            "precision": precision,
            "weights_sha256": weights_sha256,
            "corpus": {"name": corpus.name, "sha256": corpus.sha256},
            "windows": len(windows),
            "weights_bytes": weights_bytes[precision],
            "reference_weights_bytes": weights_bytes[Precision.BF16],
            **stats.to_dict(),
        }
        _print_json(result)
    else:
        print(f"{options.model} in {precision} against 16 bits, on {corpus.name}: {stats.tokens:,} tokens scored")
        for name, figure in _figures(stats, weights_bytes[precision], weights_bytes[Precision.BF16]):
            print(f"{name:20} {figure}")
    return 0


def _figures(stats: DivergenceStats, weights_bytes: int, reference_bytes: int) -> list[tuple[str, str]]:
    """Each figure's name, and its value with its unit; ± is one standard error."""
    return [
        ("Perplexity ratio", f"{stats.ppl_ratio:.4f} ± {stats.ppl_ratio_se:.4f} ({stats.ppl_ref:.3f} in 16 bits)"),
        ("KLD, mean", f"{stats.kld_mean:.5f} ± {stats.kld_mean_se:.5f} nats"),
        ("KLD, median", f"{stats.kld_median:.5f} nats"),
        ("KLD, p99", f"{stats.kld_p99:.5f} nats"),
        ("KLD, max", f"{stats.kld_max:.5f} nats"),
        ("Top-1 agreement", f"{stats.same_top:.2%} ± {stats.same_top_se:.2%}"),
        ("RMS Δp", f"{stats.delta_p_rms:.2%} ± {stats.delta_p_rms_se:.2%}"),
        ("Weights", f"{weights_bytes / 2**20:,.0f} MiB ({reference_bytes / 2**20:,.0f} MiB in 16 bits)"),
    ]


def _keep_stdout_clean() -> None:
    """Libraries' chatter belongs to stderr at most; transformers' bars and notes are of no use here."""
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["TQDM_DISABLE"] = "1"


def _print_json(tree: dict[str, Any]) -> None:
    """One line. Where the output's encoding has not every character, JSON has a spelling for it."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    print(json.dumps(tree, ensure_ascii=not codecs.lookup(encoding).name.startswith("utf")))


def _answer_tree(run: RunFinished, config: RunConfig) -> dict[str, Any]:
    return {
        "text": run.text,
        "token_ids": run.token_ids,
        "finish_reason": run.finish_reason,
        "config": config.to_dict(),
        "metrics": asdict(run.metrics) if run.metrics else None,
        "disturbed": run.disturbance.is_disturbed if run.disturbance else None,
        "disturbance": asdict(run.disturbance) if run.disturbance else None,
    }


def _exit_code(kind: str) -> int:
    return BAD_INPUT if kind in BAD_INPUT_KINDS else FAILED


def _complain(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
