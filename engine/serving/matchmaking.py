"""Which drafters suit a model, and what is to be expected of each."""

from __future__ import annotations

from collections.abc import Sequence

from engine.backends.base import OpenCheckpoint, StepwiseModel
from engine.errors import EngineClosedError, GearboxError
from engine.models.decoders.weights import estimate_bytes
from engine.models.sources.progress import Progress
from engine.passes import Steps
from engine.serving.drafting import why_not
from engine.serving.memory.pool import ModelPool
from engine.speculation import StepTimes, predicted_speedup
from engine.types import COPY_PRECISIONS, DRAFT_PRECISION, TEXT_DRAFTERS, DrafterChoice, Precision, SpeculationConfig


def drafter_choices(
    pool: ModelPool, model: str, precision: Precision, installed: Sequence[str], progress: Progress
) -> Steps[tuple[DrafterChoice, ...]]:
    """Every drafter there could be for a model at a precision; no weights are loaded.

    Args:
        pool: the models.
        model: the one that verifies.
        precision: its own.
        installed: models that could draft.
        progress: called while models are opened; what it raises comes out here.

    Raises:
        UnknownModelError, ModelNotInstalledError, UnsupportedModelError: of ``model``.
    """
    target = yield from pool.open(model, progress)
    others: dict[str, OpenCheckpoint | GearboxError] = {}
    for name in (name for name in installed if name != model):
        try:
            others[name] = yield from pool.open(name, progress)
        except EngineClosedError:
            raise
        except GearboxError as error:  # a broken model must not hide the others
            others[name] = error
    in_memory = {(key.model, key.precision): loaded for key, loaded in pool.residents.stepwise().items()}
    if (model, precision) in in_memory:
        for (name, _), loaded in in_memory.items():
            yield from pool.time(name, loaded, progress)
    own_bytes = estimate_bytes(target.config, precision, pool.device)
    times = _times(in_memory.get((model, precision)))

    def choice(name: str, drafting: OpenCheckpoint, held: Precision, speculation: SpeculationConfig) -> DrafterChoice:
        drafts = _times(in_memory.get((name, held))) if times else None
        if times and drafts:
            cost = drafts.seconds(1) / times.seconds(1)
        else:
            cost = estimate_bytes(drafting.config, held, pool.device) / own_bytes
        prior = speculation.drafter.info.prior
        assert prior is not None  # all drafters that need weights have one
        speedup, gamma = _best(prior, cost, times)
        return DrafterChoice(
            name=f"{name} {held}",
            speculation=speculation,
            relative_cost=cost,
            cost_is_measured=drafts is not None,
            expected_acceptance=prior,
            expected_speedup=speedup,
            expected_gamma=gamma,
        )

    choices = [
        DrafterChoice(name=drafter, speculation=SpeculationConfig(drafter=drafter), relative_cost=0)
        for drafter in TEXT_DRAFTERS
    ]
    for held in COPY_PRECISIONS:
        if precision in COPY_PRECISIONS:
            reason = f"{model} is in {precision}: a 4-bit copy would draft no faster than it writes."
            choices.append(DrafterChoice(name=f"{model} {held}", speculation=None, why_not=reason))
        else:
            choices.append(choice(model, target, held, SpeculationConfig.with_self(held)))
    for name, drafting in others.items():
        if isinstance(drafting, GearboxError):
            choices.append(DrafterChoice(name=name, speculation=None, why_not=str(drafting)))
            continue
        unfit = why_not(target, drafting)
        if unfit is None and estimate_bytes(drafting.config, DRAFT_PRECISION, pool.device) >= own_bytes:
            unfit = f"{name} is not smaller than {model}: it would draft no faster than that writes."
        if unfit:
            choices.append(DrafterChoice(name=name, speculation=None, why_not=unfit))
        else:
            choices.append(choice(name, drafting, DRAFT_PRECISION, SpeculationConfig.with_model(name)))
    return tuple(choices)


def _times(model: StepwiseModel | None) -> StepTimes | None:
    """How long a model's passes take; ``None`` if it is not in memory."""
    return model.step_times() if model else None


def _best(acceptance: float, cost: float, times: StepTimes | None) -> tuple[float, int]:
    """The speed-up at the best γ up to 8; without measured times a pass is taken to cost the same for all rows."""

    def speedup(gamma: int) -> float:
        verify = times.seconds(gamma + 1) / times.seconds(1) if times else 1.0
        return predicted_speedup(acceptance, gamma, cost, verify)

    gamma = max(range(1, 9), key=speedup)
    return speedup(gamma), gamma
