"""Encoded bytes -> blocks of float32 samples, whatever the format.

Two decoders are used: libsndfile (through soundfile) and, with the extra ``media``, FFmpeg (through
PyAV). The first bytes of a file decide which one may try, and FFmpeg is told the container instead
of being asked to guess, so that a text file cannot pose as a playlist that opens other files.

A file that ends early is an error wherever the format declares its length (wav, aiff, flac, mp3,
mp4, webm); an ogg or a raw aac stream that was cut looks like a shorter recording, and is one.
"""

import contextlib
import re
import struct
from collections.abc import Generator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from eureka_audio.errors import AudioFormatError, MissingDependencyError

Samples = NDArray[np.float32]

BLOCK_SAMPLES = 512 * 1024  # over all channels: 2 MiB of float32, whatever the header claims
SNIFF_BYTES = 16
SCAN_BYTES = 1024 * 1024
UNKNOWN_FRAMES = 2**62  # libsndfile's answer where a flac leaves its length open
# Lossy containers round their declared length to packets and count the encoder's delay.
LENGTH_TOLERANCE_SECONDS = 0.25

# Everything that soundfile, cffi, PyAV and numpy were seen to raise on damaged files, by the base
# class of each. PyAV's own base is added where PyAV is imported.
DECODER_ERRORS: tuple[type[Exception], ...] = (
    soundfile.SoundFileError,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,  # UnicodeDecodeError is one
    TypeError,
    AttributeError,
    LookupError,  # IndexError, KeyError
    ArithmeticError,
    AssertionError,
    BufferError,
    MemoryError,
)


class Block(NamedTuple):
    """A stretch of decoded audio: ``samples`` is ``(frames, channels)``.

    The first one of a file says how long its header declares it to be, where it does.
    """

    samples: Samples
    sampling_rate: int
    declared_seconds: float | None = None


class Container(NamedTuple):
    """A kind of file: what it is called, and who may decode it."""

    label: str
    soundfile: bool
    demuxer: str | None  # FFmpeg's name; None where libsndfile alone is trusted with it
    exact_length: bool = False  # FFmpeg reads its duration from the header, it does not estimate
    # libsndfile decodes what the first such header announces and drops the rest: it would return
    # the first link of a chained ogg, or (with no header) a guess at the length of an mp3. So
    # unless a file holds exactly one, FFmpeg decodes it.
    lone_header: re.Pattern[bytes] | None = None


_OGG_FIRST_PAGE = re.compile(rb"OggS\x00\x02")
# An MPEG frame header, its side information (9, 17 or 32 bytes, 2 more with a checksum), a tag.
_MP3_LENGTH_TAG = re.compile(
    rb"\xff[\xe2-\xff].{2}(?:.{9}|.{11}|.{17}|.{19}|.{32}|.{34})(?:Xing|Info)", re.DOTALL
)
_LONGEST_HEADER_BYTES = 64

_MP3 = Container("mp3", soundfile=True, demuxer="mp3", lone_header=_MP3_LENGTH_TAG)
_SIGNATURES: tuple[tuple[int, bytes, Container], ...] = (
    (0, b"fLaC", Container("flac", soundfile=True, demuxer="flac", exact_length=True)),
    (0, b"OggS", Container("ogg", soundfile=True, demuxer="ogg", lone_header=_OGG_FIRST_PAGE)),
    (0, b"RF64", Container("rf64", soundfile=True, demuxer="wav", exact_length=True)),
    (8, b"WAVE", Container("wav", soundfile=True, demuxer="wav")),
    (8, b"AIFF", Container("aiff", soundfile=True, demuxer=None)),
    (8, b"AIFC", Container("aiff", soundfile=True, demuxer=None)),
    (0, b"caff", Container("caf", soundfile=True, demuxer=None)),
    (0, b"ID3", _MP3),
    (4, b"ftyp", Container("mp4", soundfile=False, demuxer="mov", exact_length=True)),
    (
        0,
        b"\x1aE\xdf\xa3",
        Container("webm", soundfile=False, demuxer="matroska", exact_length=True),
    ),
    (0, b"0&\xb2u\x8ef\xcf\x11", Container("wma", soundfile=False, demuxer="asf")),
    (0, b"#!AMR", Container("amr", soundfile=False, demuxer="amr")),
)


def decode_blocks(file: BinaryIO, name: str) -> Generator[Block, None, None]:
    """Decode a seekable binary file piece by piece; nothing is read ahead of the consumer.

    Raises:
        AudioFormatError: not audio, damaged, or shorter than it declares.
        MissingDependencyError: the format needs the extra ``media``.
    """
    container = sniff(file, name)
    if container.label in ("wav", "rf64", "aiff"):
        _check_chunks(file, name, container)
    if container.soundfile and _has_lone_header(file, container):
        with contextlib.closing(_soundfile_blocks(_Seekable(file), name, container)) as blocks:
            try:
                first = next(blocks, None)
            except _RefusedError as refused:
                if container.demuxer is None:
                    raise _damaged(name, container, str(refused)) from refused
            else:
                if first is not None:
                    yield first
                    yield from blocks
                return
    file.seek(0)
    yield from _ffmpeg_blocks(_Seekable(file), name, container)


def sniff(file: BinaryIO, name: str) -> Container:
    """The kind of a file by its first bytes; its extension is never asked."""
    file.seek(0)
    head = file.read(SNIFF_BYTES)
    file.seek(0)
    for offset, signature, container in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return container
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return Container("aac", soundfile=False, demuxer="aac")
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return _MP3
    raise AudioFormatError(
        f"{name}: expected audio (wav, flac, mp3, ogg, opus, aiff, m4a, mp4, webm, ...), found "
        "something else; check that it is the right file"
    )


def _has_lone_header(file: BinaryIO, container: Container) -> bool:
    """Whether libsndfile would decode all of this file."""
    if container.lone_header is None:
        return True
    file.seek(0)
    count, kept = 0, b""
    while chunk := file.read(SCAN_BYTES):
        # The overlap finds a header that lies across two chunks; one inside it was counted before.
        window = kept + chunk
        count += sum(match.end() > len(kept) for match in container.lone_header.finditer(window))
        kept = window[-_LONGEST_HEADER_BYTES:]
    file.seek(0)
    return count == 1


class _RefusedError(Exception):
    """libsndfile cannot begin with a file; another decoder may."""


def _damaged(name: str, container: Container, reason: str) -> AudioFormatError:
    return AudioFormatError(
        f"{name}: damaged or unsupported {container.label} file ({reason}); export or download it "
        "again"
    )


def _soundfile_blocks(
    file: "_Seekable", name: str, container: Container
) -> Generator[Block, None, None]:
    try:
        source = soundfile.SoundFile(file)
    except DECODER_ERRORS as error:
        raise _RefusedError("its header cannot be read") from error
    with source:
        declared, channels, rate = source.frames, source.channels, source.samplerate
        if not 0 <= declared < UNKNOWN_FRAMES or channels < 1:
            raise _RefusedError("its length is not declared")
        decoded = 0
        # Without samples, so that too long a file is refused before any is decoded.
        yield Block(np.empty((0, channels), np.float32), rate, declared / rate)
        while True:
            try:
                samples = source.read(
                    max(1, BLOCK_SAMPLES // channels), dtype="float32", always_2d=True
                )
            except DECODER_ERRORS as error:
                raise _damaged(name, container, f"at {decoded / rate:.1f} s") from error
            if not len(samples):
                break
            decoded += len(samples)
            yield Block(samples, rate)
    tolerance = LENGTH_TOLERANCE_SECONDS if container.label == "mp3" else 0.0
    _check_length(name, container, decoded / rate, declared / rate, tolerance)


def _ffmpeg_blocks(
    file: "_Seekable", name: str, container: Container
) -> Generator[Block, None, None]:
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            f"{name}: this {container.label} file needs another decoder; "
            "pip install eureka-audio[media]"
        ) from error

    seconds = 0.0
    try:
        with av.open(
            file,
            mode="r",
            format=container.demuxer,
            metadata_errors="ignore",
            # The file is the only thing that may be opened.
            options={"protocol_whitelist": "none", "enable_drefs": "0"},
        ) as source:
            if not source.streams.audio:
                raise AudioFormatError(f"{name}: this {container.label} file holds no sound")
            stream = source.streams.audio[0]
            declared = _declared_end(source, stream) if container.exact_length else None
            begin = None
            for frame in source.decode(stream):
                samples = to_float32(_frame_array(frame))
                start = frame.time if frame.time is not None else seconds
                begin = start if begin is None else begin
                seconds = start - begin + len(samples) / frame.sample_rate
                yield Block(samples, frame.sample_rate, declared)
    except (av.FFmpegError, *DECODER_ERRORS) as error:
        raise _damaged(name, container, f"at {seconds:.1f} s") from error
    if declared is not None:
        _check_length(name, container, seconds, declared, LENGTH_TOLERANCE_SECONDS)


def _declared_end(source: Any, stream: Any) -> float | None:
    """The length in seconds that the header promises for the sound, or ``None``."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if source.duration is not None and len(source.streams) == 1:
        return float((source.duration - max(source.start_time or 0, 0)) / 1_000_000)
    return None


def _frame_array(frame: Any) -> NDArray[Any]:
    """The samples of a PyAV frame as ``(frames, channels)``; packed formats come as one row."""
    array: NDArray[Any] = frame.to_ndarray()
    if frame.format.is_planar:
        return array.T
    return array.reshape(frame.samples, -1)


def to_float32(samples: NDArray[Any]) -> Samples:
    """Samples as float32, integers scaled by their type's range to [-1, 1).

    Raises:
        TypeError: a type that has no agreed scale (int64, unsigned 16 or 32 bit, bool, complex).
    """
    match samples.dtype.kind, samples.dtype.itemsize:
        case "f", _:
            with np.errstate(over="ignore"):  # an infinity is found by the check for one
                return samples.astype(np.float32, copy=False)
        case "i", 1 | 2 | 4:
            return samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * samples.itemsize))
        case "u", 1:  # silence is 128
            return (samples.astype(np.float32) - np.float32(128)) * np.float32(2.0**-7)
    raise TypeError(f"samples of type {samples.dtype} have no agreed scale")


def _check_length(
    name: str, container: Container, seconds: float, declared: float, tolerance: float
) -> None:
    """Refuse a file that gave less sound than its header promises."""
    if seconds + tolerance + 1e-9 < declared:
        raise _damaged(
            name, container, f"it declares {declared:.2f} s and ends after {seconds:.2f} s"
        )


def _check_chunks(file: BinaryIO, name: str, container: Container) -> None:
    """Refuse a wav or aiff whose sound chunk passes the end of the file.

    libsndfile silently shortens such a chunk. The sizes that programs write when they do not know
    the length yet are let through.
    """
    size = file.seek(0, 2)
    order = ">I" if container.label == "aiff" else "<I"
    position, long_length = 12, None
    while position + 8 <= size:
        file.seek(position)
        kind, length = file.read(4), struct.unpack(order, file.read(4))[0]
        if kind == b"ds64":  # the 64-bit lengths of RF64: of the file, then of the sound
            long_length = int.from_bytes(file.read(16)[8:], "little")
        elif kind in (b"data", b"SSND"):
            unknown = length == 0 or length >= 0x7FFF_F000
            declared = (long_length or 0) if unknown else length
            here = size - position - 8
            if declared > here:
                raise _damaged(
                    name, container, f"it declares {declared} bytes of sound and holds {here}"
                )
            break
        position += 8 + length + length % 2
    file.seek(0)


class _Seekable:
    """A binary file for decoders written in C: a wild seek of a damaged file stops at the start.

    Both libraries call back into Python, where an exception would be printed, not raised.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def seek(self, offset: int, whence: int = 0) -> int:
        base = {0: 0, 1: self._file.tell()}.get(whence)
        if base is None:
            base = self._file.seek(0, 2)
        return self._file.seek(min(max(base + offset, 0), 2**62))

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]
