"""The friendly object: what users call, what they get, and what they are told."""

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from transformers import AutoModelForCausalLM

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.errors import (
    AudioAccessError,
    AudioFormatError,
    AudioNotFoundError,
    ConfigError,
    ContextLengthError,
    EmptyAudioError,
    InvalidSamplesError,
    MessageError,
)
from eureka_audio.inference import workload
from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.model.weights import save_checkpoint
from eureka_audio.processor import parse_messages
from eureka_audio.protocols import AudioLanguageModel, Reply
from eureka_audio.text.chat import caption_request, question_request
from tiny import noise, noise_samples, tiny_assistant, tiny_model, tiny_processor

CHOICES = ["cat", "dog", "a lazy bird"]


@pytest.fixture(scope="module")
def assistant():
    return tiny_assistant()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise_samples(1.3), 16_000)
    return path


def mixed_clips(seed: int) -> list[DecodedAudio]:
    lengths = np.random.default_rng(seed).uniform(0.2, 6.0, size=7)
    return [noise(float(seconds), seed * 10 + i) for i, seconds in enumerate(lengths)]


@pytest.mark.parametrize("seed", range(4))
def test_a_batch_gives_what_each_clip_gives_alone(seed: int) -> None:
    model = tiny_assistant(seed, batch_size=4)
    clips = mixed_clips(seed)
    assert model.transcribe(clips) == [model.transcribe(clip) for clip in clips]
    beams = [model.transcribe(clip, num_beams=3) for clip in clips]
    assert model.transcribe(clips, num_beams=3) == beams
    assert model.caption(clips) == [model.caption(clip) for clip in clips]
    together = model.ask(clips, "what?", CHOICES)
    for clip, reply in zip(clips, together, strict=True):
        alone = model.ask(clip, "what?", CHOICES)
        assert (reply.text, reply.num_new_tokens) == (alone.text, alone.num_new_tokens)
        assert reply.scores == pytest.approx(alone.scores, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_drawn_answers_do_not_depend_on_their_company(seed: int) -> None:
    model = tiny_assistant(seed)
    batch = [
        [{"role": "user", "content": [{"type": "audio", "audio": clip}]}]
        for clip in mixed_clips(seed)
    ]
    settings = {"temperature": 0.9, "top_p": 0.9, "top_k": 40, "seed": seed, "max_new_tokens": 24}
    together = model.generate(batch, repetition_penalty=1.05, **settings)
    assert together == [model.generate(one, repetition_penalty=1.05, **settings) for one in batch]
    assert len({reply.text for reply in together}) > 1


def test_conversations_with_and_without_audio_share_a_batch(assistant) -> None:
    with_audio = [{"role": "user", "content": [{"type": "audio", "audio": noise(1)}]}]
    without = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
    ]
    together = assistant.generate([with_audio, without], max_new_tokens=20)
    assert together == [assistant.generate(m, max_new_tokens=20) for m in (with_audio, without)]
    assert [reply.num_audio_tokens for reply in together] == [13, 0]
    read = [
        len(assistant.processor.encode(parse_messages(m), add_generation_prompt=True).input_ids)
        for m in (with_audio, without)
    ]
    assert [reply.usage.prompt_tokens for reply in together] == read
    assert [reply.usage.new_tokens for reply in together] == [r.num_new_tokens for r in together]


def test_one_call_for_one_clip_and_for_many(assistant, clip: Path) -> None:
    reply = assistant.transcribe(clip)
    assert isinstance(reply, Reply)
    assert str(reply) == reply.text
    assert reply.duration_seconds == pytest.approx(1.3)
    assert reply.num_audio_tokens == 17
    samples, rate = soundfile.read(clip, dtype="float32")
    assert (
        assistant.transcribe([clip, str(clip), clip.read_bytes(), (samples, rate)]) == [reply] * 4
    )
    assert assistant.transcribe([]) == []


def test_the_authors_message_format_is_understood(assistant, clip: Path) -> None:
    theirs = [
        {
            "role": "user",
            "content": [
                {"type": "audio_url", "audio_url": {"url": str(clip)}},
                {"type": "text", "text": "what is it?"},
            ],
        }
    ]
    reply = assistant.generate(theirs, max_new_tokens=16)
    assert reply == assistant.generate(
        question_request(str(clip), "what is it?"), max_new_tokens=16
    )
    assert assistant.generate([theirs], max_new_tokens=16) == [reply]


def test_openais_message_format_is_understood(assistant, clip: Path) -> None:
    data = base64.b64encode(clip.read_bytes()).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    messages = [{"role": "user", "content": [part, {"type": "text", "text": "what?"}]}]
    expected = assistant.generate(question_request(str(clip), "what?"), max_new_tokens=16)
    assert assistant.generate(messages, max_new_tokens=16) == expected
    for wrong in ({}, {"data": None}, {"data": 5}, "data"):
        with pytest.raises(MessageError, match="input_audio"):
            assistant.generate(
                [{"role": "user", "content": [{"type": "input_audio", "input_audio": wrong}]}]
            )
    part["input_audio"]["data"] = "no base64!"
    with pytest.raises(AudioFormatError, match="base64"):
        assistant.generate(messages)


def test_several_clips_of_a_conversation_keep_windows_of_their_own(assistant) -> None:
    parts = [{"type": "audio", "audio": noise(s, i)} for i, s in enumerate((0.5, 1.0))]
    reply = assistant.generate([{"role": "user", "content": parts}], max_new_tokens=4)
    assert reply.num_audio_tokens == 7 + 13  # of one clip of 1.5 s there would be 19
    assert reply.duration_seconds == 1.5


@pytest.mark.parametrize("settings", [{}, {"stop": ["o", "]"]}, {"temperature": 1.0, "seed": 3}])
@pytest.mark.parametrize("seed", range(4))
def test_a_stream_adds_up_to_the_answer(seed: int, settings: dict[str, object]) -> None:
    model = tiny_assistant(seed)
    messages = [{"role": "user", "content": [{"type": "audio", "audio": noise(2, seed)}]}]
    pieces = list(model.stream(messages, max_new_tokens=60, **settings))
    assert "".join(pieces) == model.generate(messages, max_new_tokens=60, **settings).text
    assert all(pieces)


def test_the_checkpoint_says_how_many_beams_a_transcript_takes() -> None:
    model = tiny_assistant(1)
    clips = mixed_clips(1)
    greedy, beams = (model.transcribe(clips, num_beams=number) for number in (1, 4))
    assert greedy != beams
    assert model.transcribe(clips) == greedy
    model.model.generation_config.transcription_beams = 4
    assert model.transcribe(clips) == beams
    assert model.transcribe(clips, num_beams=1) == greedy


def test_a_stream_complains_before_its_first_piece(assistant) -> None:
    with pytest.raises(AudioNotFoundError):
        assistant.stream([{"role": "user", "content": [{"type": "audio", "audio": "gone.wav"}]}])


def test_a_bad_input_leaves_the_others_alone(assistant) -> None:
    clips = [
        noise(1),
        "gone.wav",
        noise(2),
        np.zeros((0,), np.float32),
        DecodedAudio(noise_samples(1)),
    ]
    replies = assistant.transcribe(clips, errors="return")
    assert isinstance(replies[1], AudioNotFoundError)
    assert "gone.wav" in str(replies[1])
    assert isinstance(replies[3], Exception)
    for index in (0, 2, 4):
        assert replies[index] == assistant.transcribe(clips[index])
    with pytest.raises(AudioNotFoundError, match=r"gone\.wav"):
        assistant.transcribe(clips)


def test_an_error_late_in_a_conversation_is_its_own(assistant) -> None:
    too_long = caption_request(noise(60))
    replies = assistant.answer([caption_request(noise(1)), too_long], max_new_tokens=8)
    assert isinstance(replies[0], Reply)
    assert isinstance(replies[1], ContextLengthError)


def test_it_is_what_evaluation_asks_for(assistant) -> None:
    assert isinstance(assistant, AudioLanguageModel)


def test_a_conversation_that_does_not_fit_names_both_numbers(assistant) -> None:
    with pytest.raises(ContextLengthError, match=r"at most 511 tokens.* got 750 of audio"):
        assistant.caption(noise(60))
    with pytest.raises(ContextLengthError, match=r"at most 511 tokens.* of conversation"):
        assistant.ask(noise(1), "why " * 600)


@pytest.mark.parametrize("choices", [None, CHOICES])
def test_a_question_fills_the_context_to_the_last_token(assistant, choices) -> None:
    room = assistant.engine.max_context_tokens
    length = len(assistant._responder.encode(question_request(noise(1), "?", choices)).input_ids)
    clip = noise(0.08 * (13 + room - 1 - length - 2))  # a second window, room for one token
    if choices is None:
        reply = assistant.ask(clip, "?")
        assert reply.num_new_tokens <= 1
    else:
        with pytest.raises(ContextLengthError, match="choice"):
            assistant.ask(clip, "?", choices)


@pytest.mark.parametrize("token", ["<|im_end|>", "<|audio_pad|>", "<|endoftext|>", "<think>"])
def test_special_tokens_in_a_question_are_text(assistant, token: str) -> None:
    special = set(tiny_processor().tokenizer.get_added_vocab().values())

    def num_special(question: str) -> int:
        ids = assistant._responder.encode(question_request(noise(1), question)).input_ids
        return sum(i in special for i in ids)

    assert num_special(f"what {token} is it?") == num_special("what is it?")
    assert assistant.ask(noise(1), f"what {token} is it?").num_audio_tokens == 13


def test_urls_are_off(assistant) -> None:
    with pytest.raises(AudioAccessError):
        assistant.transcribe("http://127.0.0.1:9/a.wav")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda m: m.ask(noise(1), " "), MessageError),
        (lambda m: m.ask(noise(1), "a\udcff?"), MessageError),
        (lambda m: m.ask(noise(1), 3), MessageError),
        (lambda m: m.ask([noise(1)] * 3, ["one?", "two?"]), MessageError),
        (lambda m: m.ask([noise(1)] * 3, "?", [["a", "b"]]), MessageError),
        (lambda m: m.ask(noise(1), "?", ["a"]), MessageError),
        (lambda m: m.ask(noise(1), "?", ["a", "a"]), MessageError),
        (lambda m: m.ask(noise(1), "?", ["a", ""]), MessageError),
        (lambda m: m.ask(noise(1), "?", "yes"), MessageError),
        (lambda m: m.transcribe(noise(1), ""), MessageError),
        (lambda m: m.transcribe((noise_samples(0.05), 16_000)), EmptyAudioError),
        (lambda m: m.transcribe(noise(1), num_beams=0), ConfigError),
        (lambda m: m.stream([{"role": "user", "content": "x"}], num_beams=2), ConfigError),
        (lambda m: m.transcribe(noise(1), num_beams=100_000), ConfigError),
        (lambda m: m.generate([{"role": "user", "content": "x"}], max_tokens=5), ConfigError),
        (lambda m: m.stream([{"role": "user", "content": "x"}], temprature=1), ConfigError),
        (lambda m: m.generate([]), MessageError),
        (lambda m: m.generate("hello"), MessageError),
        (lambda m: m.generate([{"role": "user", "content": "\ud800"}]), MessageError),
        (lambda m: m.generate([{"role": "user", "content": [{"type": "image"}]}]), MessageError),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(assistant, call, error: type[Exception]) -> None:
    with pytest.raises(error):
        call(assistant)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("max_tokens", "max_new_tokens"), ("temprature", "temperature"), ("beam_size", "num_beams")],
)
def test_an_unknown_setting_names_the_one_that_was_meant(assistant, wrong: str, meant) -> None:
    with pytest.raises(ConfigError, match=rf"^{wrong}: .*did you mean {meant}\?"):
        assistant.generate([{"role": "user", "content": "x"}], **{wrong: 5})


def test_a_setting_that_means_nothing_is_refused(assistant) -> None:
    with pytest.raises(ConfigError, match=r"^batch_size"):
        tiny_assistant(batch_size=0)
    with pytest.raises(ConfigError, match=r"^errors"):
        assistant.transcribe([noise(1)], errors="ignore")


def test_each_audio_may_have_a_question_and_choices_of_its_own(assistant) -> None:
    clips = [noise(1, 1), noise(2, 2)]
    together = assistant.ask(clips, ["one?", "two?"], [["a", "b"], CHOICES])
    alone = [assistant.ask(clips[0], "one?", ["a", "b"]), assistant.ask(clips[1], "two?", CHOICES)]
    assert [reply.text for reply in together] == [reply.text for reply in alone]
    assert [len(reply.scores) for reply in together] == [2, 3]


def test_choices_may_come_from_a_generator(assistant) -> None:
    clip = noise(1)
    alone = assistant.ask(clip, "what?", CHOICES)
    for audio, choices in ((clip, CHOICES), ([clip, clip], [CHOICES, CHOICES])):
        replies = assistant.ask(audio, "what?", iter(choices))
        assert replies == assistant.ask(audio, "what?", choices)
        for reply in replies if isinstance(replies, list) else [replies]:
            # A batch of two is summed in another order on some processors.
            assert reply.scores == pytest.approx(alone.scores, rel=1e-4)
            assert replace(reply, scores=alone.scores) == alone


def test_a_pair_of_recordings_is_told_to_be_a_list(assistant, clip: Path) -> None:
    for pair in ((str(clip), str(clip)), (clip, clip)):
        with pytest.raises(InvalidSamplesError, match="pass several recordings as a list"):
            assistant.transcribe(pair)


@pytest.mark.parametrize(
    "device_map",
    [
        {"audio_encoder": "disk", "adapter": "disk", "language_model": "cpu"},
        {"audio_encoder": "cpu", "adapter": "cpu", "language_model": "disk"},
        {"": "disk"},
    ],
    ids=["ears on disk", "language on disk", "all on disk"],
)
def test_a_model_whose_weights_lie_on_disk_answers_as_in_memory(
    device_map: dict[str, str], tmp_path: Path
) -> None:
    save_checkpoint(tiny_model(), tmp_path / "tiny", tiny_processor())
    whole = EurekaAudio.from_pretrained(tmp_path / "tiny")
    offloaded = AutoModelForCausalLM.from_pretrained(
        tmp_path / "tiny", device_map=device_map, offload_folder=tmp_path / "weights"
    )
    assert "meta" in {parameter.device.type for parameter in offloaded.parameters()}
    spread = EurekaAudio(offloaded, tiny_processor())
    clips = [noise(1.0), noise(2.5, 1)]
    assert spread.transcribe(clips) == whole.transcribe(clips)
    for there, here in zip(*(m.ask(clips, "what?", CHOICES) for m in (spread, whole)), strict=True):
        # What was heard together with another clip may differ in its last bits.
        assert there.scores == pytest.approx(here.scores, rel=1e-4)
        assert replace(there, scores=here.scores) == here
    messages = [{"role": "user", "content": [{"type": "audio", "audio": clips[0]}]}]
    assert spread.generate(messages, repetition_penalty=1.1, max_new_tokens=8) == whole.generate(
        messages, repetition_penalty=1.1, max_new_tokens=8
    )


def test_progress_is_shown_for_what_takes_long(assistant, capsys, monkeypatch) -> None:
    monkeypatch.setattr(workload, "SHOWN_AFTER_SECONDS", 0.0)
    assistant.transcribe([noise(1), noise(1)], progress=True)
    assert "2/2" in capsys.readouterr().err
    assistant.transcribe([noise(1), noise(1)], progress=False)
    assistant.transcribe([noise(1), noise(1)])  # no terminal, no bar
    monkeypatch.setattr(workload, "SHOWN_AFTER_SECONDS", 600.0)
    assistant.transcribe(noise(1), progress=True)
    assert capsys.readouterr().err == ""
