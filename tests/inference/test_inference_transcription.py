"""Recordings of any length: cut at pauses, silence skipped, words and their times, warnings."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.window import Span
from eureka_audio.errors import AudioNotFoundError, CheckpointError, ConfigError
from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.inference.transcription.chunks import Plan
from eureka_audio.inference.transcription.settings import max_transcript_tokens
from eureka_audio.inference.transcription.subtitles import as_srt, as_vtt
from eureka_audio.inference.transcription.transcripts import Written, assemble, read_chunk
from eureka_audio.inference.workload import join_transcripts
from eureka_audio.protocols import Transcript
from eureka_audio.text.letters import CTC_VOCAB_SIZE
from tiny import noise_samples, say_forever, tiny_assistant


def spelling_assistant(seed: int = 0) -> EurekaAudio:
    """A tiny model that keeps a CTC head."""
    model = tiny_assistant(seed)
    torch.manual_seed(seed)
    model.model.add_ctc_head(nn.Linear(16, CTC_VOCAB_SIZE))
    return model


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * 16_000), np.float32)


def recording(*parts: np.ndarray) -> DecodedAudio:
    return DecodedAudio(np.concatenate(parts))


def test_silence_needs_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_assistant()
    monkeypatch.setattr(model._responder, "answers", None)
    reply = model.transcribe(recording(silence(1800)))
    assert (reply.text, reply.num_new_tokens, reply.num_audio_tokens) == ("", 0, 0)
    assert (reply.duration_seconds, reply.finish_reason) == (1800, "stop")


def test_a_long_recording_is_the_sum_of_its_chunks() -> None:
    model = tiny_assistant(2)
    first, second = noise_samples(3, 1), noise_samples(4, 2)
    reply = model.transcribe(recording(silence(5), first, silence(10), second))
    assert reply.duration_seconds == 22
    margin = 0.2  # of silence stays with the sound on either side
    chunks = [
        recording(silence(margin), first, silence(margin)),
        recording(silence(margin), second),
    ]
    alone = model.transcribe(chunks)
    texts = [" ".join(chunk.text.split()) for chunk in alone]
    assert reply.text == join_transcripts(texts)
    assert reply.num_new_tokens == sum(chunk.num_new_tokens for chunk in alone)
    assert reply.num_audio_tokens == sum(chunk.num_audio_tokens for chunk in alone) < 8 * 13


def test_the_checkpoint_says_how_long_a_chunk_may_be() -> None:
    model = tiny_assistant()
    calls = []
    answers = model._responder.answers
    model._responder.answers = lambda batch, *rest: calls.extend(batch) or answers(batch, *rest)
    clip = DecodedAudio(noise_samples(40))
    model.transcribe(clip)
    assert len(calls) == 2
    calls.clear()
    model.model.generation_config.max_chunk_seconds = 5
    model.transcribe(clip)
    assert len(calls) >= 8
    assert max(piece.encoded.num_audio_tokens for piece in calls) <= 63
    for wrong in (0, 31, "5"):
        model.model.generation_config.max_chunk_seconds = wrong
        with pytest.raises(CheckpointError, match="max_chunk_seconds"):
            model.transcribe(clip)


@pytest.mark.parametrize("seconds", [0.5, 2, 8])
def test_a_model_that_never_ends_is_ended_by_the_sound(seconds: float) -> None:
    model = tiny_assistant()
    model.engine.runner.end_ids = frozenset()
    clip = DecodedAudio(noise_samples(seconds))
    reply = model.transcribe(clip)
    cap = max_transcript_tokens(reply.num_audio_tokens)
    assert cap <= 16 + 25 * (seconds + 0.08)
    assert reply.num_new_tokens <= cap
    assert reply.finish_reason in ("length", "repetition")


def test_a_model_that_goes_in_circles_is_stopped_and_flagged() -> None:
    model = tiny_assistant()
    say_forever(model.model, 70)
    for reply in (
        model.transcribe(DecodedAudio(noise_samples(9))),
        model.caption(DecodedAudio(noise_samples(3))),
    ):
        assert reply.finish_reason == "repetition"
        assert reply.num_new_tokens == 8
    # One chunk in circles among several flags the whole.
    long = recording(noise_samples(3), silence(5), noise_samples(3))
    assert model.transcribe(long).finish_reason == "repetition"


def test_transcripts_are_joined_by_single_spaces() -> None:
    assert join_transcripts([" one", "", "two ", "  "]) == "one two"


def assert_consistent(transcript: Transcript) -> None:
    """Text, segments and words hold the same words, in order of time, within the recording."""
    words = transcript.text.split()
    assert transcript.text == " ".join(words)
    assert " ".join(segment.text for segment in transcript.segments) == transcript.text
    if transcript.words is not None:
        assert [word.word for word in transcript.words] == words
    for parts in (transcript.segments, transcript.words or ()):
        times = [time for part in parts for time in (part.start, part.end)]
        assert times == sorted(times)
        assert not times or (times[0] >= 0 and times[-1] <= transcript.duration_seconds + 1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_the_words_of_the_text_are_those_of_the_list_at_every_cut(seed: int) -> None:
    model = spelling_assistant(seed)
    parts = [noise_samples(2 + seed % 2, 1), silence(2.5), noise_samples(9, 2), silence(0.4)]
    clip = recording(*parts, noise_samples(3, 3))
    text = model.transcribe(clip).text
    for seconds in (30, 12, 3.1):
        model.model.generation_config.max_chunk_seconds = seconds
        detailed = model.transcribe_detailed(clip)
        assert_consistent(detailed)
        assert detailed.words
        assert detailed.text == model.transcribe(clip).text
        assert_consistent(model.transcribe_detailed(clip, word_times=False))
        if seconds == 30:
            assert detailed.text == text
    json.dumps(asdict(detailed))


def test_words_fall_into_their_own_chunks() -> None:
    model = spelling_assistant(1)
    clip = recording(noise_samples(2, 1), silence(6), noise_samples(2, 2))
    for word in model.transcribe_detailed(clip).words:
        assert word.end <= 2.2 or word.start >= 7.8


def test_times_of_words_are_refused_where_they_cannot_be_told() -> None:
    model = tiny_assistant()
    clip = DecodedAudio(noise_samples(2))
    assert model.transcribe_detailed(clip).words is None
    with pytest.raises(ConfigError, match="CTC head"):
        model.transcribe_detailed(clip, word_times=True)
    assert spelling_assistant().transcribe_detailed(clip, word_times=False).words is None


def test_a_list_gives_a_list_and_one_bad_recording_harms_no_other() -> None:
    model = spelling_assistant()
    clip = DecodedAudio(noise_samples(2))
    [good, bad] = model.transcribe_detailed([clip, "gone.wav"], errors="return")
    assert good == model.transcribe_detailed(clip)
    assert isinstance(bad, AudioNotFoundError)


def kinds(transcript: Transcript) -> dict[str, tuple[float, float]]:
    return {warning.kind: (warning.start, warning.end) for warning in transcript.warnings}


def test_what_was_left_out_is_said() -> None:
    model = tiny_assistant()
    say_forever(model.model, 70)
    clip = recording(silence(5), noise_samples(3), silence(4))
    found = model.transcribe_detailed(clip, "en")
    assert kinds(found).keys() == {"silence_skipped", "repetition_cut", "language_forced"}
    assert kinds(found)["repetition_cut"] == pytest.approx((4.8, 8.2))
    assert found.language == "en"
    assert len(found.text) < 8
    assert model.transcribe_detailed(recording(silence(5))).text == ""
    assert kinds(model.transcribe_detailed(recording(silence(5)))) == {"silence_skipped": (0, 5)}


def chunk_of(text: str, **settings: object) -> Transcript:
    span = Span(0, 16_000, ends_in_speech=bool(settings.pop("ends_in_speech", False)))
    written = Written(text, **settings)
    plan = Plan(1.0, (span,), (DecodedAudio(noise_samples(1)),))
    has_times = written.ctc_logits is not None
    return assemble(plan, [read_chunk(span, written, has_times)], has_times=has_times)


def test_every_warning_can_be_given() -> None:
    assert kinds(chunk_of("")).keys() == {"no_speech"}
    assert kinds(chunk_of("a", finish_reason="length")).keys() == {"length_limit"}
    assert kinds(chunk_of("a", ends_in_speech=True)).keys() == {"cut_in_speech"}
    few_frames = chunk_of("far too many letters", ctc_logits=torch.zeros(5, CTC_VOCAB_SIZE))
    assert kinds(few_frames).keys() == {"times_estimated"}
    assert_consistent(few_frames)
    looped = chunk_of("so " + "thank you " * 20)
    assert (looped.text, kinds(looped).keys()) == ("so thank you", {"repetition_cut"})
    assert kinds(chunk_of("all is well")) == {}


@given(st.lists(st.text(alphabet="ab'5 \n\u4f60.", max_size=9), max_size=5), st.booleans())
def test_any_text_makes_a_consistent_transcript(texts: list[str], has_times: bool) -> None:
    spans = tuple(Span(i * 16_000, (i + 1) * 16_000) for i in range(len(texts)))
    sound = DecodedAudio(noise_samples(1))
    logits = torch.randn(50, CTC_VOCAB_SIZE, generator=torch.Generator().manual_seed(0))
    chunks = [
        read_chunk(span, Written(text, ctc_logits=logits), has_times)
        for span, text in zip(spans, texts, strict=True)
    ]
    plan = Plan(float(len(texts)), spans, (sound,) * len(spans))
    assert_consistent(assemble(plan, chunks, has_times=has_times))


def test_subtitles_show_every_word_once() -> None:
    model = spelling_assistant(2)
    found = model.transcribe_detailed(recording(noise_samples(3), silence(3), noise_samples(4, 1)))
    for file, mark in ((as_srt(found), ","), (as_vtt(found), ".")):
        shown = [line for line in file.splitlines() if "-->" in line]
        assert len(shown) == len(found.segments) > 1
        assert all(line[8] == mark for line in shown)
    assert as_srt(found).startswith("1\n00:00:0")


def test_a_language_is_one_and_one_the_model_writes() -> None:
    model = tiny_assistant()
    clip = DecodedAudio(noise_samples(1))
    with pytest.raises(ConfigError, match=r"'Klingon'"):
        model.transcribe(clip, "Klingon")
    with pytest.raises(ConfigError, match="did you mean German"):
        model.transcribe(clip, "Germen")
    assert model.transcribe_detailed(clip, "German").language == "de"
    assert model.transcribe_detailed(clip).language is None
    model.model.generation_config.transcription_languages = ["en"]
    assert model.transcribe_detailed(clip).language == "en"
    assert model.transcribe(clip, "en") == model.transcribe(clip)
    with pytest.raises(ConfigError, match="this model writes English, got German"):
        model.transcribe(clip, "de")
    model.model.generation_config.transcription_languages = "english"
    with pytest.raises(CheckpointError, match="transcription_languages"):
        model.transcribe(clip)
