"""Long recordings: cut at pauses, silence skipped, and no more text than the sound allows."""

import numpy as np
import pytest
from tiny_assistant import noise_samples, say_forever, tiny_assistant

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.errors import CheckpointError
from eureka_audio.inference.long_audio import join_transcripts, max_transcript_tokens


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * 16_000), np.float32)


def recording(*parts: np.ndarray) -> DecodedAudio:
    return DecodedAudio(np.concatenate(parts))


def test_silence_needs_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_assistant()
    monkeypatch.setattr(model._engine, "generate", None)
    reply = model.transcribe(recording(silence(7200)))
    assert (reply.text, reply.num_new_tokens, reply.num_audio_tokens) == ("", 0, 0)
    assert (reply.duration_seconds, reply.finish_reason) == (7200, "stop")


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
    assert reply.text == join_transcripts([chunk.text for chunk in alone])
    assert reply.num_new_tokens == sum(chunk.num_new_tokens for chunk in alone)
    assert reply.num_audio_tokens == sum(chunk.num_audio_tokens for chunk in alone) < 8 * 13


def test_the_checkpoint_says_how_long_a_chunk_may_be() -> None:
    model = tiny_assistant()
    calls = []
    write = model._responder.write
    model._responder.write = lambda batch, *rest: calls.extend(batch) or write(batch, *rest)
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
    model._engine.end_ids = frozenset()
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
