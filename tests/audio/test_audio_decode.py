"""load_audio: every source and format to the same waveform, every bad input to its own error."""

import base64
import io
import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import RATE, encode, tone_and_noise
from eureka_audio.audio import decoders
from eureka_audio.audio.decode import AudioLimits, DecodedAudio, load_audio
from eureka_audio.audio.decoders import decode_blocks
from eureka_audio.audio.fetch import AudioAccess
from eureka_audio.errors import (
    AudioAccessError,
    AudioError,
    AudioFormatError,
    AudioLimitError,
    AudioNotFoundError,
    EmptyAudioError,
    InvalidSamplesError,
    MissingDependencyError,
)

LOSSLESS = ["wav", "wav_float", "rf64", "aiff", "caf", "flac", "alac"]
LOSSY = ["wav_u8", "ogg", "opus", "mp3", "m4a", "webm", "aac"]


def expected_waveform(signal: np.ndarray, rate: int = RATE) -> np.ndarray:
    return soxr.resample(signal.mean(axis=1), rate, 16_000)


# --- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_give_the_signal(kind: str, encoded: dict[str, bytes]) -> None:
    rate = 48_000 if kind == "alac" else RATE
    decoded = load_audio(encoded[kind])
    expected = expected_waveform(tone_and_noise(1.0, 2, rate), rate)
    assert decoded.waveform.dtype == np.float32
    assert decoded.sampling_rate == 16_000
    np.testing.assert_allclose(decoded.waveform, expected, atol=1e-4)


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_formats_give_nearly_the_signal(kind: str, encoded: dict[str, bytes]) -> None:
    decoded = load_audio(encoded[kind])
    assert decoded.duration_seconds == pytest.approx(1.0, abs=0.06)
    spectrum = np.abs(np.fft.rfft(decoded.waveform[:16_000]))
    assert abs(int(spectrum.argmax()) - 220) <= 220  # one of the two tones


@pytest.mark.parametrize(
    "kind", ["wav", "wav_float", "wav_u8", "rf64", "flac", "ogg", "opus", "mp3"]
)
def test_both_decoders_agree(
    kind: str, encoded: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    by_soundfile = load_audio(encoded[kind]).waveform

    def refuse(*_: object, **__: object) -> None:
        raise soundfile.LibsndfileError(1)

    monkeypatch.setattr(soundfile, "SoundFile", refuse)
    by_ffmpeg = load_audio(encoded[kind]).waveform
    assert len(by_ffmpeg) == len(by_soundfile)
    atol = 1e-5 if kind in ("ogg", "opus", "mp3") else 0
    np.testing.assert_allclose(by_ffmpeg, by_soundfile, atol=atol, rtol=0)


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 16_000, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 8])
def test_any_rate_and_channel_count(rate: int, channels: int) -> None:
    signal = tone_and_noise(0.4, channels, rate)
    decoded = load_audio(encode(signal, rate, format="WAV", subtype="FLOAT"))
    assert len(decoded.waveform) == 6_400
    np.testing.assert_allclose(decoded.waveform, expected_waveform(signal, rate), atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(num_frames=st.integers(1, 60_000), rate=st.sampled_from([8_000, 11_025, 16_000, 48_000]))
def test_length_is_the_recordings_to_the_nearest_sample(num_frames: int, rate: int) -> None:
    limits = AudioLimits(min_duration_seconds=0.0)
    decoded = load_audio((np.zeros(num_frames, np.float32), rate), limits=limits)
    assert abs(len(decoded.waveform) - num_frames * 16_000 / rate) <= 0.5


def test_blocks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    signal = tone_and_noise(2.0, 2)
    whole = load_audio(encode(signal, format="FLAC")).waveform
    monkeypatch.setattr(decoders, "BLOCK_SAMPLES", 1_000)
    np.testing.assert_allclose(load_audio(encode(signal, format="FLAC")).waveform, whole, atol=1e-6)


# --- sources -------------------------------------------------------------------------------------


def test_every_source_gives_the_same_waveform(tmp_path: Path, encoded: dict[str, bytes]) -> None:
    content = encoded["flac"]
    path = tmp_path / "clip.wav"  # the extension is wrong on purpose
    path.write_bytes(content)
    uri = "data:audio/flac;base64," + base64.b64encode(content).decode()
    signal, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    reference = load_audio(path)
    assert reference.name == str(path)
    with path.open("rb") as file:
        sources = [
            str(path),
            content,
            bytearray(content),
            memoryview(content),
            io.BytesIO(content),
            file,
            uri,
            uri.replace("+", "%2B").replace("/", "%2F").replace("data:audio%2F", "DATA:audio/"),
            uri[:100] + "\n" + uri[100:],
            (signal, rate),
            (signal.T, rate),
            {"array": signal, "sampling_rate": rate},
            (torch.from_numpy(signal), rate),
            reference,
        ]
        for source in sources:
            np.testing.assert_allclose(load_audio(source).waveform, reference.waveform, atol=1e-6)
    by_keyword = load_audio(signal, sampling_rate=rate)
    np.testing.assert_allclose(by_keyword.waveform, reference.waveform, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint8, np.float16, np.float64])
def test_number_types_are_scaled(dtype: type) -> None:
    signal = tone_and_noise(0.2, 1, 16_000)[:, 0]
    if np.issubdtype(dtype, np.integer):
        bits = 8 * np.dtype(dtype).itemsize
        offset = 128 if dtype is np.uint8 else 0
        array = (np.round(signal * 2.0 ** (bits - 1)) + offset).astype(dtype)
    else:
        array = signal.astype(dtype)
    decoded = load_audio((array, 16_000))
    np.testing.assert_allclose(decoded.waveform, signal, atol=5e-3)


def test_bfloat16_tensors_that_need_gradients_are_taken() -> None:
    tensor = torch.zeros(2, 1_600, dtype=torch.bfloat16, requires_grad=True)
    assert load_audio((tensor, 16_000)).waveform.shape == (1_600,)


def test_hot_samples_are_kept_as_they_are() -> None:
    waveform = np.full(1_600, 1.5, dtype=np.float32)
    np.testing.assert_array_equal(load_audio((waveform, 16_000)).waveform, waveform)


# --- bad input, each its own error naming the input ----------------------------------------------


def refusal(source: object, kind: type[AudioError], **options: object) -> str:
    """The message with which a source is refused."""
    with pytest.raises(kind) as caught:
        load_audio(source, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message
    return message


def test_missing_folder_empty_and_text(tmp_path: Path) -> None:
    missing, empty, text = (tmp_path / name for name in ("missing.wav", "empty.wav", "text.wav"))
    empty.touch()
    text.write_text("These are words about sound, but no sound.\n" * 9)
    cases = [
        (missing, AudioNotFoundError),
        (tmp_path, AudioNotFoundError),
        (empty, EmptyAudioError),
    ]
    for path, kind in [*cases, (text, AudioFormatError)]:
        assert str(path) in refusal(path, kind)
        assert str(path) in refusal(str(path), kind)


@pytest.mark.parametrize("path", ["", "\0", "a\0b.wav", "x" * 5_000, "/dev/zero", "/dev/null"])
def test_odd_paths(path: str) -> None:
    assert len(refusal(path, AudioNotFoundError)) < 400


@pytest.mark.skipif(os.name == "nt", reason="no pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert "pipe" in refusal(tmp_path / "pipe.wav", AudioNotFoundError)


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    refusal(tmp_path / "two\nlines.wav", AudioNotFoundError)


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(b"RIFF")

    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    assert "permissions" in refusal(path, AudioAccessError)


@pytest.mark.parametrize(
    "error",
    [
        *(MemoryError(), IndexError(), PermissionError(), AssertionError(), TypeError()),
        *(ZeroDivisionError(), EOFError(), BufferError(), AttributeError(), RuntimeError()),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    ],
)
def test_whatever_a_decoder_raises_becomes_one_error(
    error: Exception, encoded: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    av = pytest.importorskip("av")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    monkeypatch.setattr(av, "open", fail)
    assert "damaged" in refusal(encoded["flac"], AudioFormatError)
    assert "damaged" in refusal(encoded["webm"], AudioFormatError)


@pytest.mark.parametrize(
    "kind", ["wav", "rf64", "aiff", "caf", "flac", "mp3", "m4a", "alac", "webm"]
)
@pytest.mark.parametrize("fraction", [0.3, 0.6])
def test_a_file_cut_short_is_refused(
    kind: str, fraction: float, encoded: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(encoded[kind][: int(fraction * len(encoded[kind]))])
    assert str(path) in refusal(path, AudioFormatError)


def test_a_wav_of_unknown_length_is_read_to_its_end(encoded: dict[str, bytes]) -> None:
    content = bytearray(encoded["wav"])
    position = content.find(b"data") + 4
    content[position : position + 4] = b"\xff" * 4  # as written into a pipe
    content[4:8] = b"\xff" * 4
    assert load_audio(bytes(content)).duration_seconds == pytest.approx(1.0, abs=1e-3)


def test_a_flac_of_unknown_length_is_read_to_its_end(encoded: dict[str, bytes]) -> None:
    pytest.importorskip("av")
    content = bytearray(encoded["flac"])
    content[21] &= 0xF0  # the 36 bits of total samples in the first metadata block
    content[22:26] = bytes(4)
    assert load_audio(bytes(content)).duration_seconds == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("kind", ["ogg", "opus", "mp3"])
def test_two_files_in_one_are_heard_to_the_end(kind: str, encoded: dict[str, bytes]) -> None:
    pytest.importorskip("av")
    twice = load_audio(encoded[kind] + encoded[kind])
    assert twice.duration_seconds == pytest.approx(2.0, abs=0.15)


def test_an_mp3_without_a_length_tag_is_heard_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """libsndfile would guess the length from the first, quiet frame and drop the rest."""
    pytest.importorskip("av")
    signal = tone_and_noise(4.0, 1)
    signal[: 2 * RATE] *= 1e-3
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", RATE, 1, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5
    ) as file:
        file.write(signal)
    content = buffer.getvalue()
    untagged = content[content.find(content[:2], 4) :]
    assert b"Xing" not in untagged[:200]
    assert load_audio(untagged).duration_seconds == pytest.approx(4.0, abs=0.15)


def test_a_header_across_two_scanned_chunks_is_counted_once(
    encoded: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "SCAN_BYTES", 37)
    for kind in ("ogg", "mp3"):
        container = decoders.sniff(io.BytesIO(encoded[kind]), kind)
        assert decoders._has_lone_header(io.BytesIO(encoded[kind]), container)
        assert not decoders._has_lone_header(io.BytesIO(encoded[kind] * 2), container)


def test_without_the_extra_the_message_says_what_to_install(
    encoded: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"pip install eureka-audio\[media\]"):
        load_audio(encoded["m4a"])
    assert load_audio(encoded["wav"]).duration_seconds == pytest.approx(1.0)


def test_a_video_without_sound() -> None:
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    assert "no sound" in refusal(buffer.getvalue(), AudioFormatError)


@pytest.mark.parametrize(
    "lines",
    ["#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n", "ffconcat version 1.0\nfile {}\n"],
)
def test_a_playlist_never_opens_what_it_names(
    lines: str, tmp_path: Path, encoded: dict[str, bytes]
) -> None:
    (tmp_path / "clip.wav").write_bytes(encoded["wav"])
    refusal(lines.format(tmp_path / "clip.wav").encode(), AudioFormatError)


@pytest.mark.parametrize("seconds", [0.0, 0.00001, 0.05, 0.0999])
def test_too_short_to_hear(seconds: float, tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    path.write_bytes(encode(np.zeros(int(seconds * 16_000)), 16_000, format="WAV"))
    assert str(path) in refusal(path, EmptyAudioError)
    refusal((np.zeros(int(seconds * 16_000), np.float32), 16_000), EmptyAudioError)


def test_a_tenth_of_a_second_is_enough() -> None:
    assert len(load_audio((np.zeros(1_600, np.float32), 16_000)).waveform) == 1_600


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e29, 20_000.0])
def test_one_bad_sample_is_enough(value: float, tmp_path: Path) -> None:
    signal = tone_and_noise(1.0, 2, 16_000)
    signal[7_777, 1] = value
    path = tmp_path / "bad.wav"
    path.write_bytes(encode(signal, 16_000, format="WAV", subtype="FLOAT"))
    assert str(path) in refusal(path, InvalidSamplesError)
    refusal((signal, 16_000), InvalidSamplesError)
    refusal((torch.from_numpy(signal), 16_000), InvalidSamplesError)


def test_doubles_beyond_float32_are_refused() -> None:
    refusal((np.full(1_600, 1e300), 16_000), InvalidSamplesError)


@pytest.mark.parametrize(
    "source",
    [
        np.zeros(1_600, np.float32),  # no rate
        (np.zeros(1_600, np.float32), None),
        (np.zeros(1_600, np.float32), 16_000.5),
        (np.zeros(1_600, np.float32), True),
        (np.zeros(1_600, np.int64), 16_000),
        (np.zeros(1_600, np.uint16), 16_000),
        (np.zeros(1_600, bool), 16_000),
        (np.zeros(1_600, np.complex64), 16_000),
        (np.array(["a"] * 1_600), 16_000),
        (np.zeros((2, 2, 1_600), np.float32), 16_000),
        (np.zeros((0, 1_600), np.float32), 16_000),
        (np.float32(1.0).reshape(()), 16_000),
        None,
        17,
        object(),
        ["a.wav"],
    ],
)
def test_unusable_values(source: object) -> None:
    refusal(source, InvalidSamplesError)


def test_a_rate_for_a_file_is_a_setting_without_effect(encoded: dict[str, bytes]) -> None:
    refusal(encoded["wav"], InvalidSamplesError, sampling_rate=8_000)


def test_decoded_audio_checks_what_it_is_given() -> None:
    for bad in (np.zeros((2, 16), np.float32), np.zeros(16), np.full(16, np.nan, np.float32)):
        with pytest.raises(InvalidSamplesError):
            DecodedAudio(bad)


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("data:audio/wav;base64", AudioFormatError),
        ("data:", AudioFormatError),
        ("data:,", EmptyAudioError),
        ("data:audio/wav;base64,", EmptyAudioError),
        ("data:audio/wav;base64,====", AudioFormatError),
        ("data:audio/wav;base64,UklGR", AudioFormatError),
        ("data:audio/wav;base64,UklG*Zm9v", AudioFormatError),
        ("data:audio/wav;base64,\u4f60\u597d", AudioFormatError),
        ("data:text/plain,hello", AudioFormatError),
    ],
)
def test_bad_data_uris(uri: str, kind: type[AudioError]) -> None:
    assert "data URI" in refusal(uri, kind)


class Reader:
    """A file object whose read() does what the test says."""

    name = 3  # as of a file opened by its descriptor

    def __init__(self, result: object) -> None:
        self.result = result

    def read(self, size: int = -1) -> object:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize("result", ["text", None, 5, OSError("gone"), ValueError("closed")])
def test_bad_file_objects(result: object) -> None:
    assert "file object" in refusal(Reader(result), AudioFormatError)


def test_an_endless_file_object_meets_the_limit() -> None:
    limits = AudioLimits(max_encoded_bytes=3_000_000)
    refusal(Reader(bytes(1_000_000)), AudioLimitError, limits=limits)


# --- limits act while decoding -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (AudioLimits(max_duration_seconds=0.999), "longer than"),
        (AudioLimits(max_decoded_bytes=22_050 * 2 * 4 - 1), "decodes to more"),
        (AudioLimits(max_channels=1), "channels"),
        (AudioLimits(max_sampling_rate=22_049), "per second"),
        (AudioLimits(min_sampling_rate=22_051), "per second"),
        (AudioLimits(max_encoded_bytes=100), "encoded bytes"),
    ],
)
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_each_limit_fires(
    kind: str, limits: AudioLimits, words: str, encoded: dict[str, bytes]
) -> None:
    assert words in refusal(encoded[kind], AudioLimitError, limits=limits)


def test_limits_hold_for_media_and_arrays_and_let_the_exact_value_pass(
    encoded: dict[str, bytes], signal: np.ndarray
) -> None:
    limits = AudioLimits(max_duration_seconds=0.9)
    refusal(encoded["m4a"], AudioLimitError, limits=limits)
    refusal((signal, RATE), AudioLimitError, limits=limits)
    exact = AudioLimits(max_duration_seconds=1.0, max_decoded_bytes=RATE * 2 * 4, max_channels=2)
    load_audio((signal, RATE), limits=exact)
    load_audio(encoded["flac"], limits=exact)


def test_a_data_uri_is_measured_before_it_is_decoded() -> None:
    uri = "data:audio/wav;base64," + "A" * 4_000
    refusal(uri, AudioLimitError, limits=AudioLimits(max_encoded_bytes=2_999))


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """600 s of silence in 8 channels: 237 kB on disk, 922 MB as float32."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 48_000, 8, format="FLAC", subtype="PCM_16") as file:
        block = np.zeros((48_000 * 20, 8), np.int16)
        for _ in range(30):
            file.write(block)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "limits", [AudioLimits(max_duration_seconds=30), AudioLimits(max_decoded_bytes=64 * 2**20)]
)
def test_a_bomb_is_refused_in_little_memory(bomb: bytes, limits: AudioLimits) -> None:
    assert len(bomb) < 300_000
    tracemalloc.start()
    refusal(bomb, AudioLimitError, limits=limits)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 * 2**20


def test_what_is_too_long_by_its_header_is_refused_before_it_is_decoded(
    bomb: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object, **__: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(decoders.soundfile.SoundFile, "read", decode)
    for limits in (AudioLimits(max_duration_seconds=30), AudioLimits(max_decoded_bytes=2**26)):
        refusal(bomb, AudioLimitError, limits=limits)
    with pytest.raises(AudioFormatError):
        load_audio(bomb, limits=AudioLimits(max_duration_seconds=601))


def test_a_forged_rate_or_channel_count_is_refused_by_its_first_block() -> None:
    limits = AudioLimits()
    fast = encode(np.zeros((6_000, 1)), 655_350, format="FLAC")
    wide = encode(np.zeros((6_000, 255)), 16_000, format="WAV")
    slow = encode(np.zeros((6_000, 1)), 1, format="WAV")
    for content in (fast, wide, slow):
        refusal(content, AudioLimitError, limits=limits)


def test_a_wide_header_never_means_a_wide_block() -> None:
    content = encode(np.zeros((6_000, 255)), 16_000, format="WAV")
    for block in decode_blocks(io.BytesIO(content), "wide"):
        assert block.samples.size <= decoders.BLOCK_SAMPLES


def test_local_files_follow_the_access_policy(tmp_path: Path, encoded: dict[str, bytes]) -> None:
    path = tmp_path / "clip.flac"
    path.write_bytes(encoded["flac"])
    refusal(path, AudioAccessError, access=AudioAccess(allowed_folders=()))
    load_audio(path, access=AudioAccess(allowed_folders=(tmp_path,)))
