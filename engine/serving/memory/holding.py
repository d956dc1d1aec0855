"""Which models must stay in memory, and for whom."""

from __future__ import annotations

from engine.backends.base import LoadedModel


class Hold:
    """Models that somebody needs in memory."""

    def __init__(self, in_use: list[LoadedModel]) -> None:
        """
        Args:
            in_use: everybody's.
        """
        self._in_use = in_use
        self._models: list[LoadedModel] = []

    def __len__(self) -> int:
        return len(self._models)

    @property
    def weights_bytes(self) -> int:
        """What their weights take together, each model once."""
        return sum(model.weights_bytes for model in {id(model): model for model in self._models}.values())

    def add(self, model: LoadedModel) -> None:
        """It is not to leave memory."""
        self._models.append(model)
        self._in_use.append(model)

    def release(self, but_first: int = 0) -> None:
        """They may leave, apart from so many that came first."""
        for model in self._models[but_first:]:
            self._in_use.remove(model)
        del self._models[but_first:]
