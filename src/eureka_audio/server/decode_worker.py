"""A process that decodes one recording after the other and can be killed at any moment.

Decoders are native code that reads what strangers send: here a crash, a loop or a bomb costs one
request. Frames on stdin and stdout, each a length (8 bytes, big-endian) and so many bytes:

in: JSON with limits and kind, then the bytes of a file ("bytes") or of a data URI ("uri");
out: JSON, empty or an error, then float32 samples at 16 kHz (none after an error).
"""

import json
import os
import sys
from typing import Any, BinaryIO

from eureka_audio.audio.decode import load_audio
from eureka_audio.audio.fetch import AudioAccess
from eureka_audio.audio.mono import AudioLimits
from eureka_audio.errors import AudioError, AudioLimitError, EurekaAudioError

NOTHING = AudioAccess(allowed_folders=())
SPARE_ADDRESS_BYTES = 1536 * 2**20  # for decoders' own use, beside what the limits admit


def main() -> None:
    """Serve frames until stdin ends."""
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints to stdout must not land between the frames
    while (job := read_frame(incoming)) is not None:
        content = read_frame(incoming)
        assert content is not None
        error, samples = decode(json.loads(job), content)
        del content
        write_frame(outgoing, json.dumps(error).encode())
        write_frame(outgoing, samples)
        outgoing.flush()


def limit_resources(limits: AudioLimits, cpu_seconds: int) -> None:
    """Bound what this process may take, so that a bomb hurts nobody else (POSIX only)."""
    try:
        import resource
    except ImportError:
        return
    used = _address_bytes()
    room = used + limits.max_encoded_bytes + SPARE_ADDRESS_BYTES
    for kind, most in (
        (resource.RLIMIT_AS, room),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CPU, cpu_seconds),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _address_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 2**30


def decode(job: dict[str, Any], content: bytes) -> tuple[dict[str, str], bytes]:
    """An error (empty if all is well) and the samples."""
    try:
        source = content.decode() if job["kind"] == "uri" else content
        audio = load_audio(source, access=NOTHING, limits=AudioLimits(**job["limits"]))
        return {}, audio.waveform.tobytes()
    except EurekaAudioError as error:
        return _told(type(error), str(error)), b""
    except MemoryError:
        return _told(AudioLimitError, "bytes: needs more memory than one recording may take"), b""
    except Exception as error:  # noqa: BLE001 (the edge of a process that exists for this)
        return _told(AudioError, f"bytes: the decoder failed ({type(error).__name__})"), b""


def _told(kind: type[EurekaAudioError], message: str) -> dict[str, str]:
    return {"type": kind.__name__, "message": message}


def read_frame(file: BinaryIO) -> bytes | None:
    """The next frame; None where there are no more."""
    head = file.read(8)
    if len(head) < 8:
        return None
    return file.read(int.from_bytes(head, "big"))


def write_frame(file: BinaryIO, content: bytes) -> None:
    """One frame."""
    file.write(len(content).to_bytes(8, "big"))
    file.write(content)


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    limit_resources(AudioLimits(**settings["limits"]), settings["cpu_seconds"])
    main()
