"""What the store can fail with, in the user's words."""

from __future__ import annotations

from engine.errors import GearboxError


class StoreError(GearboxError):
    """The run database could not do what was asked; what it already held is unharmed."""


class FileLostError(StoreError):
    """The database's file was deleted or replaced while it was open: nothing is read from it or written to it."""


class ConflictError(StoreError):
    """What was to be written does not fit what the database holds; trying again will not help."""


class GoneError(StoreError):
    """What was asked for, or what it belongs to, was deleted, or never was."""


class RunNotFoundError(GoneError):
    """No run has that id: it was deleted, or never was."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"There is no run {run_id[:32]}: it may have been deleted.")


class RunOfAnotherError(RunNotFoundError):
    """A run that whoever asks may not see."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.args = ("This run belongs to somebody else.",)


class ConversationNotFoundError(GoneError):
    """No conversation has that id: it was deleted, or never was."""

    def __init__(self, conversation_id: str) -> None:
        self.conversation_id = conversation_id
        super().__init__("This conversation is no longer there: it may have been deleted in another window.")


class ConversationOfAnotherError(ConversationNotFoundError):
    """A conversation that whoever asks may not see."""

    def __init__(self, conversation_id: str) -> None:
        super().__init__(conversation_id)
        self.args = ("This conversation belongs to somebody else.",)
