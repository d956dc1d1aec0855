"""Errors that a user can act on. Each message is written for the person who sees it.

Anything else that escapes the engine is a defect, and is reported as one.
"""


class GearboxError(Exception):
    """Base of every error whose message is meant for the user."""


class InvalidRequestError(GearboxError, ValueError):
    """The request cannot be served as asked: an empty prompt, a value out of range."""


class ContextLengthError(InvalidRequestError):
    """The prompt does not fit the model's context."""

    def __init__(self, prompt_tokens: int, context_length: int, *, counted_all: bool = True) -> None:
        """
        Args:
            prompt_tokens: that were counted.
            context_length: of the model.
            counted_all: whether there are no more than these.
        """
        least = "" if counted_all else "at least "
        super().__init__(
            f"The prompt is {least}{prompt_tokens + 1 - context_length:,} tokens too long: it has {least}"
            f"{prompt_tokens:,}, and the model reads at most {context_length - 1:,} and needs room for one more."
        )


class CorpusError(InvalidRequestError):
    """A corpus that nothing can be measured on: missing, empty, no text, too short."""


class RecordedPairsError(InvalidRequestError):
    """Recorded answers of several tiers that cannot be read, or from which nothing can be learned."""


class RouterProfileError(InvalidRequestError):
    """A router profile that cannot be read, or that was made for other models."""


class NonFiniteLogitsError(GearboxError):
    """A model gave NaN or infinity where its logits should be."""


class UnknownModelError(InvalidRequestError):
    """No model of that name, folder or hub id can be found."""


class UnsupportedModelError(GearboxError):
    """The checkpoint was found, but this engine does not run its family or one of its features."""


class ModelNotInstalledError(GearboxError):
    """A catalogue model that has not been installed yet."""


class WeightsIntegrityError(GearboxError):
    """A checkpoint's files differ from what was published or written, or contradict each other."""


class InstallError(GearboxError):
    """Fetching or converting a model failed; what had been written aside is removed."""


class ModelInUseError(GearboxError):
    """A model is to leave memory while a request runs with it."""


class HubUnreachableError(GearboxError):
    """The model hub cannot be reached from this machine, or does not answer as a hub does."""


class InsufficientMemoryError(GearboxError):
    """Something would need more memory than this machine has free."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        """
        Args:
            message: for the user.
            is_final: whether it would not be enough either once all other requests have ended.
        """
        super().__init__(message)
        self.is_final = is_final


class NotJudgedError(GearboxError):
    """Whether an answer is right cannot be told: what it is compared with took too long. The message is a clause."""


class SandboxUnavailableError(GearboxError):
    """Code that a model wrote cannot be run safely on this machine, so it is not run."""


class DeviceUnavailableError(GearboxError):
    """Models are to run on a device that this machine, or this build of torch, does not have."""


class RemoteError(GearboxError):
    """A server with OpenAI's API could not be asked, or did not answer as it should."""


class EngineClosedError(GearboxError):
    """The engine has been closed and takes no more requests."""
