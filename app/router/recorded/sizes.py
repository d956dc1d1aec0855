"""How large tiers are, which is their order wherever one is small and the other large."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from engine import list_models
from engine.models.sources.catalog import CATALOG
from engine.types import Precision, Tier

_BITS = {
    Precision.BF16: 16,
    Precision.INT8: 8,
    Precision.LLM_INT8: 8,
    Precision.INT4: 4,
    Precision.NF4: 4,
}
"""Of a weight."""
_BYTES_OF_16_BITS = 2


def model_sizes(models_dir: Path) -> dict[str, int]:
    """Parameters by model: of the catalogue, installed or not, and of the folders beside it. Where a folder does not
    tell, what its files would hold in 16 bits. No weights are read."""
    sizes = {}
    for model in list_models(models_dir):
        if size := model.parameters or model.disk_bytes // _BYTES_OF_16_BITS:
            sizes[model.name] = size
    return sizes


def catalogue_sizes() -> dict[str, int]:
    """Parameters by model, of the catalogue alone."""
    return {name: model.parameters for name, model in CATALOG.items()}


def by_size(
    tiers: Collection[str], parameters: Mapping[str, int], seconds: Mapping[str, float] | None = None
) -> tuple[str, ...]:
    """Tiers from the smallest up: by the parameters of their model, then by the bits of a weight.

    A tier of a model whose size nobody knows stands, as a last resort, before the first one that took longer.

    Args:
        tiers: as :attr:`engine.types.Tier.key` names them.
        parameters: of models, by name, as far as they are known.
        seconds: what an answer took, by tier; needed only where a size is not known.
    """
    took = seconds or {}
    ordered = sorted(
        (tier for tier in tiers if _model(tier) in parameters),
        key=lambda tier: (parameters[_model(tier)], _BITS[Tier.from_key(tier).precision], tier),
    )
    unknown = sorted(unknown_sizes(tiers, parameters), key=lambda tier: (took.get(tier, 0.0), tier))
    for tier in unknown:
        longer = (place for place, other in enumerate(ordered) if took.get(other, 0.0) > took.get(tier, 0.0))
        ordered.insert(next(longer, len(ordered)), tier)
    return tuple(ordered)


def unknown_sizes(tiers: Collection[str], parameters: Mapping[str, int]) -> tuple[str, ...]:
    """The tiers of models whose size nobody knows."""
    return tuple(sorted(tier for tier in tiers if _model(tier) not in parameters))


def efforts(tiers: Collection[Tier], parameters: Mapping[str, int]) -> dict[Tier, int]:
    """What an answer takes each tier, in a unit of their own: the bits of its weights, in hundreds of millions. All the
    same where a size is not known."""
    if any(tier.model not in parameters for tier in tiers):
        return dict.fromkeys(tiers, 1)
    return {tier: max(1, round(parameters[tier.model] * _BITS[tier.precision] / 1e8)) for tier in tiers}


def _model(tier: str) -> str:
    return Tier.from_key(tier).model
