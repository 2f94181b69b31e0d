"""The errors a caller may want to catch.

Every message says four things: what was expected, what came, where, and what to do.
"""


class EurekaAudioError(Exception):
    """Base of every error this package raises on purpose."""


class AudioError(EurekaAudioError):
    """An audio input cannot be used; the message names the input."""


class AudioNotFoundError(AudioError):
    """The path does not exist, or is not a regular file."""


class AudioAccessError(AudioError):
    """The input names a place that may not be opened: a URL while URLs are off, a forbidden one."""


class AudioFormatError(AudioError):
    """The bytes are not audio, are damaged, or need a decoder that is not installed."""


class EmptyAudioError(AudioError):
    """The input holds no samples, or too few of them to hear anything."""


class InvalidSamplesError(AudioError):
    """The waveform holds NaN or infinity, or has an unusable shape or type."""


class InvalidFeaturesError(AudioError):
    """Log-mel windows and their lengths do not fit one another or the encoder."""


class AudioLimitError(AudioError):
    """A limit (duration, decoded bytes, channels, sampling rate) was passed while decoding."""


class ConfigError(EurekaAudioError):
    """A recipe or an override is wrong; the message names the key and the nearest known one."""


class ManifestError(EurekaAudioError):
    """A manifest line is not a valid record; the message names ``path:line``."""


class MessageError(EurekaAudioError):
    """A conversation is malformed."""


class ContextLengthError(EurekaAudioError):
    """The conversation does not fit the model's context; the message holds both numbers."""


class PlaceholderMismatchError(EurekaAudioError):
    """Audio placeholders and audio embeddings differ in number in at least one row."""


class CheckpointError(EurekaAudioError):
    """A checkpoint is missing, incomplete, damaged or of the wrong shape."""


class PartError(CheckpointError):
    """A pretrained part of the catalogue cannot be had, or is not what the catalogue says."""


class TrainingError(EurekaAudioError):
    """Training cannot go on (for example a loss that is not finite)."""


class EvaluationError(EurekaAudioError):
    """An evaluation cannot be made as asked.

    An unknown benchmark or rule, or a row that lacks what its rule needs.
    """


class RunError(EurekaAudioError):
    """A run over many questions cannot be begun or go on.

    Its folder holds another run or is held by another process, its books are damaged, or a model
    does not answer at all. What was answered stays.
    """


class ForeignRunError(RunError):
    """The folder that was named holds another run."""


class EndpointError(EurekaAudioError):
    """A model server could not be asked, or what it sent back cannot be used.

    Attributes:
        retryable: whether asking again may help: yes after an overload, no after a refusal.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class ModelDownError(EndpointError):
    """A model gives no answers at all, or refuses our key: going on would only fail more."""


class MissingDependencyError(EurekaAudioError):
    """An optional package or system program is needed; the message says how to install it."""


class EngineError(EurekaAudioError):
    """The engine cannot answer this request."""


class EngineBusyError(EngineError):
    """As many requests are waiting as may wait; the same request may succeed later."""


class EngineClosedError(EngineError):
    """The engine takes no more requests, because it was closed or because it broke."""


class RequestCancelledError(EngineError):
    """The request was cancelled before its answer ended."""
