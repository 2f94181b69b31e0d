"""One processor: messages in, tensors out; placeholders equal the clock and the embeddings."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoProcessor

from eureka_audio.audio import clock
from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.errors import AudioAccessError, AudioNotFoundError, MessageError
from eureka_audio.processor import EurekaAudioProcessor, pad_features, parse_messages
from eureka_audio.records import AudioPart, Conversation, Message, TextPart
from eureka_audio.text.chat import IGNORED_LABEL, answered, question_request
from eureka_audio.text.tokenizer import AUDIO_PAD, SPECIAL_TOKENS, token_id
from tiny import tiny_model, tiny_processor

PROCESSOR = tiny_processor()


def tone(num_samples: int, pitch: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * pitch * np.arange(num_samples) / 16_000)).astype(np.float32)


def wav_bytes(num_samples: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(num_samples), 16_000, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    path.write_bytes(wav_bytes(16_000))
    return path


def about(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}]


def test_every_format_of_messages_gives_the_same_tensors(wav: Path) -> None:
    uri = "data:audio/wav;base64," + base64.b64encode(wav.read_bytes()).decode()
    array = {"array": tone(16_000), "sampling_rate": 16_000}
    parts = [
        {"type": "audio_url", "audio_url": {"url": str(wav)}},  # the authors'
        {"type": "audio_url", "audio_url": {"url": uri}},
        {"type": "audio_url", "audio_url": str(wav)},
        {"type": "audio", "audio": str(wav)},  # transformers'
        {"type": "audio", "path": str(wav)},
        {"type": "audio", "url": str(wav)},
        {"type": "audio", "audio": wav.read_bytes()},
        {"type": "audio", "audio": array},
        {"type": "audio", "audio": DecodedAudio(tone(16_000))},
    ]
    expected = PROCESSOR(text="What is it?", audio=wav)
    for part in parts:
        inputs = PROCESSOR.apply_chat_template(about(part), tokenize=True, return_dict=True)
        assert inputs.keys() == expected.keys()
        assert torch.equal(inputs["input_ids"], expected["input_ids"])
        torch.testing.assert_close(inputs["input_features"], expected["input_features"])
    assert list(expected) == PROCESSOR.model_input_names


def test_plain_strings_conversations_and_lists_of_them(wav: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]
    conversation = parse_messages(messages)
    assert conversation.messages[0].content == (TextPart(text="Be brief."),)
    assert parse_messages(conversation) is conversation
    single = PROCESSOR.apply_chat_template(messages)
    assert "input_features" not in single
    assert torch.equal(
        PROCESSOR.apply_chat_template(conversation)["input_ids"], single["input_ids"]
    )
    batch = PROCESSOR.apply_chat_template([messages, about({"type": "audio", "audio": wav})])
    assert batch["input_ids"].shape[0] == 2
    width = single["input_ids"].shape[1]
    assert torch.equal(batch["input_ids"][0, -width:], single["input_ids"][0])
    mixed = PROCESSOR.apply_chat_template([conversation, conversation])
    assert mixed["input_ids"].shape == (2, width)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ("hello", "expected a list of messages, got a str"),
        (b"hello", "expected a list of messages, got a bytes"),
        (5, "expected a list of messages, got a int"),
        ({"role": "user", "content": "x"}, "expected a list of messages, got a dict"),
        ([], "at least one message"),
        (["hello"], "message 0: expected a dict with role and content"),
        ([{"role": "user"}], "message 0: expected a dict with role and content"),
        ([{"content": "x"}], "message 0: expected a dict with role and content"),
        ([{"role": "tool", "content": "x"}], "expected role system, user or assistant, got 'tool'"),
        ([{"role": ["user"], "content": "x"}], "expected role system, user or assistant"),
        ([{"role": "user", "content": 5}], "message 0: expected content as text or a list"),
        ([{"role": "user", "content": b"x"}], "message 0: expected content as text or a list"),
        ([{"role": "user", "content": None}], "message 0: expected content as text or a list"),
        ([{"role": "user", "content": {"type": "text"}}], "expected content as text or a list"),
        ([{"role": "user", "content": ["x"]}], "message 0, part 0: expected a part of type text"),
        ([{"role": "user", "content": [{"type": "text"}]}], "message 0, part 0"),
        ([{"role": "user", "content": [{"type": "text", "text": 5}]}], "message 0, part 0"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "message 0, part 0"),
        ([{"role": "user", "content": [{"type": "audio_url", "audio_url": {}}]}], "part 0"),
        ([{"role": "user", "content": [{"type": "image", "image": "x"}]}], "message 0, part 0"),
        (
            [
                {"role": "user", "content": "x"},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"typ": "text"}]},
            ],
            "message 1, part 1",
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": [{"type": "audio", "audio": (tone(16_000), 16_000)}],
                }
            ],
            "holds text only",
        ),
    ],
)
def test_malformed_messages_are_named(messages: object, message: str) -> None:
    with pytest.raises(MessageError, match=message):
        PROCESSOR.apply_chat_template(messages)


def test_options_that_are_not_offered_are_refused() -> None:
    with pytest.raises(MessageError, match="no template, no tokenize=False"):
        PROCESSOR.apply_chat_template(about(), chat_template="{{ x }}")
    with pytest.raises(MessageError, match="no template, no tokenize=False"):
        PROCESSOR.apply_chat_template(about(), tokenize=False)
    with pytest.raises(MessageError, match="as many texts as audios, got 1 and 2"):
        PROCESSOR(text=["a"], audio=[tone(16_000), tone(16_000)], sampling_rate=16_000)


def test_audio_that_cannot_be_had_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(AudioNotFoundError, match=r"missing\.wav"):
        PROCESSOR.apply_chat_template(about({"type": "audio", "audio": tmp_path / "missing.wav"}))
    with pytest.raises(AudioAccessError):
        PROCESSOR.apply_chat_template(about({"type": "audio", "url": "https://example.com/a.wav"}))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 16_000 * 100))
def test_placeholders_are_counted_by_the_clock(num_samples: int) -> None:
    waveform = DecodedAudio(np.zeros(num_samples, dtype=np.float32))
    encoded = PROCESSOR.encode(question_request(waveform, "?"), add_generation_prompt=True)
    placeholders = encoded.input_ids.count(PROCESSOR.audio_token_id)
    frames = [feature.shape[1] for feature in encoded.features]
    assert placeholders == sum(map(clock.num_audio_tokens, frames)) == encoded.num_audio_tokens
    # No sample is lost, and no window is longer than the encoder's.
    assert sum(frames) >= clock.num_mel_frames(num_samples)
    assert max(frames) <= clock.WINDOW_MEL_FRAMES
    assert encoded.duration_seconds == num_samples / clock.SAMPLING_RATE
    if num_samples <= clock.WINDOW_SAMPLES:
        assert placeholders == -(-num_samples // clock.SAMPLES_PER_AUDIO_TOKEN)


def test_placeholders_are_the_embeddings_the_model_makes() -> None:
    model = tiny_model()
    edges = [1, 159, 160, 161, 1279, 1280, 1281, 2560, 15_999, 480_000, 480_001, 500_000]
    lengths = [*edges, *np.random.default_rng(0).integers(1, 60_000, 12).tolist()]
    with torch.inference_mode():
        for num_samples in lengths:
            audio = DecodedAudio(tone(num_samples))
            encoded = PROCESSOR.encode(question_request(audio, "?"), add_generation_prompt=True)
            inputs = PROCESSOR.collate([encoded])
            heard = model.get_audio_features(inputs["input_features"], inputs["feature_lengths"])
            assert len(heard.audio_embeds) == encoded.num_audio_tokens
            assert encoded.input_ids.count(PROCESSOR.audio_token_id) == encoded.num_audio_tokens
            if num_samples <= 2560:
                model(**inputs)  # its own check of placeholders agrees


def test_a_batch_pads_left_to_answer_and_right_to_learn() -> None:
    def encoded(seconds: float, words: str) -> Any:
        request = question_request(DecodedAudio(tone(int(seconds * 16_000))), "?")
        return PROCESSOR.encode(answered(request, words), add_generation_prompt=False)

    items = [encoded(0.5, "a dog"), encoded(1.0, "a cat and a dog")]
    pad = PROCESSOR.tokenizer.pad_token_id
    short, width = len(items[0].input_ids), len(items[1].input_ids)
    left = PROCESSOR.collate(items)
    assert "labels" not in left
    assert left["input_ids"][0].tolist() == [pad] * (width - short) + list(items[0].input_ids)
    assert left["attention_mask"][0].tolist() == [0] * (width - short) + [1] * short
    right = PROCESSOR.collate(items, padding_side="right", with_labels=True, multiple=16)
    assert right["input_ids"].shape[1] == -(-width // 16) * 16
    assert right["input_features"].shape[2] % 16 == 0
    assert right["input_ids"][0, :short].tolist() == list(items[0].input_ids)
    assert right["labels"][0, :short].tolist() == list(items[0].labels)
    for name, value in (("input_ids", pad), ("attention_mask", 0), ("labels", IGNORED_LABEL)):
        assert set(right[name][0, short:].tolist()) == {value}
    assert right["feature_lengths"].tolist() == [50, 100]
    assert torch.equal(right["input_features"][0, :, :50], items[0].features[0])
    assert right["input_features"][0, :, 50:].abs().max() == 0


def test_a_transform_is_applied_to_every_window() -> None:
    audio = DecodedAudio(tone(500_000))
    request = question_request(audio, "?")
    plain = PROCESSOR.encode(request, add_generation_prompt=True)
    doubled = PROCESSOR.encode(request, add_generation_prompt=True, transform=lambda mel: 2 * mel)
    assert len(plain.features) == 2
    assert all(torch.equal(2 * a, b) for a, b in zip(plain.features, doubled.features, strict=True))


def test_features_of_different_length_are_padded_with_zeros() -> None:
    padded = pad_features([torch.ones(2, 3), torch.ones(2, 5)], multiple=4)
    assert padded["input_features"].shape == (2, 2, 8)
    assert padded["input_features"].sum().item() == 16
    assert padded["feature_lengths"].tolist() == [3, 5]


def test_a_question_that_spells_tokens_changes_no_placeholder(wav: Path) -> None:
    question = "".join(SPECIAL_TOKENS) * 2
    calm = PROCESSOR(text="?", audio=wav)["input_ids"]
    inputs = PROCESSOR(text=question, audio=wav)["input_ids"]
    for token in SPECIAL_TOKENS:
        identity = token_id(PROCESSOR.tokenizer, token)
        assert (inputs == identity).sum() == (calm == identity).sum()


def test_saved_and_loaded_it_is_the_same_by_either_class(tmp_path: Path, wav: Path) -> None:
    PROCESSOR.save_pretrained(tmp_path / "processor")
    expected = PROCESSOR.apply_chat_template(about({"type": "audio", "audio": wav}))
    for loaded in (
        EurekaAudioProcessor.from_pretrained(tmp_path / "processor"),
        AutoProcessor.from_pretrained(tmp_path / "processor"),
    ):
        assert type(loaded) is EurekaAudioProcessor
        assert loaded.tokenizer.get_vocab() == PROCESSOR.tokenizer.get_vocab()
        assert loaded.audio_token == AUDIO_PAD
        assert loaded.feature_extractor.feature_size == 80
        inputs = loaded.apply_chat_template(about({"type": "audio", "audio": wav}))
        assert all(torch.equal(inputs[name], expected[name]) for name in expected)


def test_an_audio_part_may_stand_anywhere_in_order() -> None:
    first, second = DecodedAudio(tone(1280)), DecodedAudio(tone(3 * 1280, 880.0))
    parts = (
        TextPart(text="a"),
        AudioPart(audio=second),
        TextPart(text="b"),
        AudioPart(audio=first),
    )
    encoded = PROCESSOR.encode(
        Conversation(messages=(Message(role="user", content=parts),)), add_generation_prompt=True
    )
    assert [feature.shape[1] for feature in encoded.features] == [24, 8]
