"""What the store can fail with, in the user's words."""

from __future__ import annotations

from engine.errors import GearboxError


class StoreError(GearboxError):
    """The run database could not do what was asked; what it already held is unharmed."""


class RunNotFoundError(StoreError):
    """No run has that id: it was deleted, or never was."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"There is no run {run_id[:32]}: it may have been deleted.")


class ConversationNotFoundError(StoreError):
    """No conversation has that id: it was deleted, or never was."""

    def __init__(self, conversation_id: str) -> None:
        self.conversation_id = conversation_id
        super().__init__("This conversation is no longer there: it may have been deleted in another window.")
