"""Which drafters suit a model, and what is to be expected of each."""

from __future__ import annotations

from collections.abc import Sequence

from engine.backends.local import LocalModel
from engine.errors import GearboxError
from engine.models.decoders.weights import estimate_bytes
from engine.serving.drafting import COPIES, DRAFT_PRIOR, SELF_PRIOR, why_not
from engine.serving.pool import ModelPool, OpenCheckpoint
from engine.speculation import StepTimes, predicted_speedup
from engine.types import Drafter, DrafterChoice, Precision, SpeculationConfig


def drafter_choices(
    pool: ModelPool, model: str, precision: Precision, installed: Sequence[str]
) -> tuple[DrafterChoice, ...]:
    """Every drafter there could be for a model at a precision; no weights are loaded.

    Args:
        pool: the models.
        model: the one that verifies.
        precision: its own.
        installed: models that could draft.

    Raises:
        UnknownModelError, ModelNotInstalledError, UnsupportedModelError: of ``model``.
    """
    target = pool.open(model)
    own = pool.loaded(model, precision)
    own_bytes = estimate_bytes(target.config, precision, pool.device)
    times = own.step_times() if isinstance(own, LocalModel) else None

    def choice(name: str, drafting: OpenCheckpoint, held: Precision, speculation: SpeculationConfig) -> DrafterChoice:
        loaded = pool.loaded(name, held)
        timed = times if isinstance(loaded, LocalModel) else None
        cost = estimate_bytes(drafting.config, held, pool.device) / own_bytes
        if timed and isinstance(loaded, LocalModel):
            cost = loaded.step_times().seconds(1) / timed.seconds(1)
        prior = SELF_PRIOR if speculation.drafter is Drafter.SELF else DRAFT_PRIOR
        speedup, gamma = _best(prior, cost, times)
        return DrafterChoice(
            name=f"{name} {held}",
            speculation=speculation,
            relative_cost=cost,
            cost_is_measured=timed is not None,
            expected_acceptance=prior,
            expected_speedup=speedup,
            expected_gamma=gamma,
        )

    choices = [DrafterChoice(name=Drafter.NGRAM, speculation=SpeculationConfig(drafter=Drafter.NGRAM), relative_cost=0)]
    for held in COPIES:
        if precision in COPIES:
            reason = f"{model} is in {precision}: a 4-bit copy would draft no faster than it writes."
            choices.append(DrafterChoice(name=f"{model} {held}", speculation=None, why_not=reason))
        else:
            choices.append(choice(model, target, held, SpeculationConfig.with_self(held)))
    for name in (name for name in installed if name != model):
        try:
            drafting = pool.open(name)
        except GearboxError as error:  # a broken model must not hide the others
            choices.append(DrafterChoice(name=name, speculation=None, why_not=str(error)))
            continue
        unfit = why_not(target, drafting)
        if unfit is None and estimate_bytes(drafting.config, Precision.INT4, pool.device) >= own_bytes:
            unfit = f"{name} is not smaller than {model}: it would draft no faster than that writes."
        if unfit:
            choices.append(DrafterChoice(name=name, speculation=None, why_not=unfit))
        else:
            choices.append(choice(name, drafting, Precision.INT4, SpeculationConfig.with_model(name)))
    return tuple(choices)


def _best(acceptance: float, cost: float, times: StepTimes | None) -> tuple[float, int]:
    """The speed-up at the best γ up to 8; without measured times a pass is taken to cost the same for all rows."""

    def speedup(gamma: int) -> float:
        verify = times.seconds(gamma + 1) / times.seconds(1) if times else 1.0
        return predicted_speedup(acceptance, gamma, cost, verify)

    gamma = max(range(1, 9), key=speedup)
    return speedup(gamma), gamma
