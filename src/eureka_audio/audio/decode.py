"""Any audio source -> mono float32 at 16 kHz, through one function.

Decoding is a stream: block by block the samples are checked against the limits, mixed down and
resampled, so memory holds the 16 kHz result and one block, whatever a header claims and however
small a compressed bomb is on disk.
"""

import base64
import binascii
import contextlib
import io
import os
import re
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias
from urllib.parse import unquote_to_bytes

import numpy as np

from eureka_audio.audio import clock
from eureka_audio.audio.decoders import Block, Samples, decode_blocks, to_float32
from eureka_audio.audio.fetch import LOCAL_USER, AudioAccess, display_name, fetch_url, open_file
from eureka_audio.audio.mono import LOCAL_LIMITS, AudioLimits, MonoResampler, check_amplitude
from eureka_audio.errors import (
    AudioFormatError,
    AudioLimitError,
    EmptyAudioError,
    InvalidSamplesError,
)

# A path, URL or data URI; encoded bytes; a binary file object; (array, sampling rate); a mapping
# with "array" and "sampling_rate"; an array or tensor beside ``sampling_rate``; DecodedAudio.
AudioSource: TypeAlias = Any

READ_BYTES = 1024 * 1024

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DATA_URI = re.compile(r"data:", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class DecodedAudio:
    """A recording ready to be heard.

    Attributes:
        waveform: ``(S,)`` float32, mono, 16 kHz, nominally in [-1, 1], finite.
        name: what error messages call the input.
    """

    waveform: Samples
    name: str = "array"

    def __post_init__(self) -> None:
        if self.waveform.ndim != 1 or self.waveform.dtype != np.float32:
            raise InvalidSamplesError(
                f"{self.name}: expected a float32 waveform (S,), got {self.waveform.dtype} "
                f"{self.waveform.shape}; use load_audio"
            )
        check_amplitude(self.waveform, self.name)

    @property
    def sampling_rate(self) -> int:
        """Always 16,000 Hz."""
        return clock.SAMPLING_RATE

    @property
    def duration_seconds(self) -> float:
        """Length of the waveform."""
        return len(self.waveform) / clock.SAMPLING_RATE


def load_audio(
    source: AudioSource,
    *,
    sampling_rate: int | None = None,
    limits: AudioLimits = LOCAL_LIMITS,
    access: AudioAccess = LOCAL_USER,
) -> DecodedAudio:
    """Turn any audio source into mono float32 at 16 kHz.

    Args:
        source: a path; an ``http(s)://`` URL (when ``access`` allows); a ``data:`` URI; the bytes
            of an audio file; a binary file object (read from where it stands); a numpy array or
            torch tensor, ``(S,)``, ``(S, C)`` or ``(C, S)``, with ``sampling_rate``, or as a pair
            ``(array, sampling_rate)``, or as ``{"array": ..., "sampling_rate": ...}``; or what
            this function returned, which comes back as it is.
        sampling_rate: in Hz; for a bare array or tensor, and for nothing else.
        limits: how long, large and wide the input may be.
        access: which paths and URLs may be opened.

    Integer arrays are scaled by the range of their type. Float values slightly beyond full scale
    are kept; values beyond 16 are refused, as nothing tells which scale was meant.

    Raises:
        AudioNotFoundError: no such file, or not a regular one.
        AudioAccessError: a path or URL that ``access`` does not allow.
        AudioFormatError: not audio, damaged, or cut short.
        MissingDependencyError: the format needs the extra ``media``.
        EmptyAudioError: nothing to hear, or less than ``limits.min_duration_seconds``.
        InvalidSamplesError: NaN, infinity, or an array of unusable shape, type or scale.
        AudioLimitError: a limit was passed.

    Example:
        >>> load_audio(np.zeros(8_000, dtype=np.int16), sampling_rate=8_000).waveform.shape
        (16000,)
    """
    if isinstance(source, tuple) and len(source) == 2:
        if isinstance(source[1], str | bytes | os.PathLike):
            raise InvalidSamplesError(
                f"expected (array, sampling rate), got a pair of {type(source[0]).__name__} and "
                f"{type(source[1]).__name__}; pass several recordings as a list"
            )
        source, sampling_rate = source
    elif isinstance(source, Mapping) and {"array", "sampling_rate"} <= source.keys():
        source, sampling_rate = source["array"], source["sampling_rate"]
    array = _as_array(source)
    if array is not None:
        return _collect(_array_blocks(array, sampling_rate, limits), "array", limits)
    if sampling_rate is not None:
        raise InvalidSamplesError(
            "sampling_rate belongs to arrays; a file states its own, so leave it out"
        )
    if isinstance(source, DecodedAudio):
        return source
    file, name = _open(source, limits, access)
    with file:
        _check_encoded_size(file.seek(0, 2), name, limits)
        return _collect(decode_blocks(file, name), name, limits)


def _open(source: AudioSource, limits: AudioLimits, access: AudioAccess) -> tuple[BinaryIO, str]:
    """A seekable binary file for any encoded source, and what to call it."""
    if isinstance(source, str) and _DATA_URI.match(source):
        return io.BytesIO(_read_data_uri(source, limits)), "data URI"
    if isinstance(source, str) and _URL.match(source):
        return io.BytesIO(fetch_url(source, access)), display_name(source)
    if isinstance(source, str) or (
        isinstance(source, os.PathLike) and isinstance(os.fspath(source), str)
    ):
        return open_file(source, access), display_name(os.fspath(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source), "bytes"
    if callable(getattr(source, "read", None)):
        name = getattr(source, "name", None)
        label = display_name(name) if isinstance(name, str) else "file object"
        return io.BytesIO(_read_file_object(source, label, limits)), label
    raise InvalidSamplesError(
        f"expected a path, bytes, a binary file object, an array or a data URI, got "
        f"{type(source).__name__}"
    )


def _check_encoded_size(num_bytes: int, name: str, limits: AudioLimits) -> None:
    if num_bytes == 0:
        raise EmptyAudioError(f"{name}: expected audio, found nothing (0 bytes); check the file")
    if num_bytes > limits.max_encoded_bytes:
        raise AudioLimitError(
            f"{name}: larger than the {limits.max_encoded_bytes} encoded bytes allowed; split it "
            "or raise max_encoded_bytes"
        )


def _read_data_uri(uri: str, limits: AudioLimits) -> bytes:
    """The bytes of ``data:[type][;base64],payload`` (white space and %-escapes are tolerated)."""
    name = "data URI"
    header, comma, payload = uri.partition(",")
    if not comma:
        raise AudioFormatError(f"{name}: expected data:audio/...;base64,<data>, found no comma")
    encoded = header.lower().endswith(";base64")
    _check_encoded_size(len(payload) * 3 // 4 if encoded else len(payload), name, limits)
    try:
        if not encoded:
            return unquote_to_bytes(payload)
        compact = b"".join(unquote_to_bytes(payload).split())
        return base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError) as error:
        raise AudioFormatError(
            f"{name}: not valid base64; encode the whole file with base64.b64encode"
        ) from error


def _read_file_object(source: Any, name: str, limits: AudioLimits) -> bytes:
    """What a binary file object still holds, up to the limit."""
    content = bytearray()
    while len(content) <= limits.max_encoded_bytes:
        try:
            chunk = source.read(READ_BYTES)
        except (OSError, ValueError, EOFError) as error:
            raise AudioFormatError(f"{name}: cannot be read ({error}); open it again") from error
        if not isinstance(chunk, bytes | bytearray):
            raise AudioFormatError(
                f"{name}: expected a binary file object, its read() gave {type(chunk).__name__}; "
                'open it with mode "rb"'
            )
        if not chunk:
            break
        content += chunk
    return bytes(content)


def _as_array(source: AudioSource) -> np.ndarray[Any, Any] | None:
    """The array of a numpy array or torch tensor; torch is not imported for it."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        tensor = source.detach().cpu()
        half = tensor.dtype in (torch.bfloat16, torch.float16)
        return np.asarray((tensor.float() if half else tensor).numpy())
    return source if isinstance(source, np.ndarray) else None


def _array_blocks(
    array: np.ndarray[Any, Any], sampling_rate: Any, limits: AudioLimits
) -> Generator[Block, None, None]:
    """The blocks of an array; the short axis of two is the channels."""
    if isinstance(sampling_rate, bool) or not isinstance(sampling_rate, int | np.integer):
        raise InvalidSamplesError(
            f"an array needs its sampling_rate in Hz as an integer, got {sampling_rate!r}; pass "
            "(array, sampling_rate)"
        )
    if array.ndim == 2 and array.shape[0] < array.shape[1]:
        array = array.T
    frames = array[:, None] if array.ndim == 1 else array
    if frames.ndim != 2 or frames.shape[1] == 0:
        raise InvalidSamplesError(
            f"expected an array (S,), (S, C) or (C, S), got shape {array.shape}"
        )
    step = max(1, READ_BYTES // frames.shape[1])
    for start in range(0, len(frames), step):
        try:
            samples = to_float32(frames[start : start + step])
        except TypeError as error:
            raise InvalidSamplesError(
                f"array: {error}; convert it to float32 in [-1, 1] or to int16"
            ) from error
        yield Block(samples, int(sampling_rate))


def _collect(blocks: Generator[Block, None, None], name: str, limits: AudioLimits) -> DecodedAudio:
    """Drive a decoder to its end, block by block, and keep the 16 kHz result."""
    mono = MonoResampler(name, limits)
    with contextlib.closing(blocks):
        for block in blocks:
            mono.add(block)
    return DecodedAudio(mono.finish(), name)


__all__ = ["AudioAccess", "AudioLimits", "AudioSource", "DecodedAudio", "load_audio"]
