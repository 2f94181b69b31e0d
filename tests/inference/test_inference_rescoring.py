"""A second opinion on transcripts: the encoder's."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from eureka_audio import EurekaAudio
from eureka_audio.checksums import write_checksums
from eureka_audio.errors import CheckpointError, ConfigError
from eureka_audio.inference import judge
from eureka_audio.inference.beam_search import Beam, best_of
from eureka_audio.inference.growing_answer import GrowingAnswer
from eureka_audio.inference.rescoring import spelling_log_probs
from eureka_audio.inference.responder import Responder
from eureka_audio.inference.sampling import GenerationOptions
from eureka_audio.inference.transcription.no_speech import no_speech_probability
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.weights import load_checkpoint, save_checkpoint
from eureka_audio.processor import EncodedConversation
from eureka_audio.text.chat import question_request
from eureka_audio.text.letters import BLANK, CTC_VOCAB_SIZE, encode_characters
from tiny import noise, tiny_model, tiny_processor, tiny_responder

BEAMS = 4


def spelling_model(seed: int = 0) -> EurekaAudioForConditionalGeneration:
    """A tiny model that keeps a head, sure of its letters."""
    model = tiny_model(seed)
    torch.manual_seed(seed)
    head = nn.Linear(model.config.audio_config.d_model, CTC_VOCAB_SIZE)
    nn.init.normal_(head.weight, std=2.0)
    model.add_ctc_head(head)
    return model.eval()


def encode(*clips: tuple[float, ...]) -> list[EncodedConversation]:
    """A conversation about each tuple of windows, in seconds."""
    processor = tiny_processor()
    requests = []
    for number, windows in enumerate(clips):
        heard = [question_request(noise(s, 10 * number + i), "?") for i, s in enumerate(windows)]
        encoded = [processor.encode(each, add_generation_prompt=True) for each in heard]
        requests.append(
            EncodedConversation(
                tuple(i for each in encoded for i in each.input_ids),
                tuple(i for each in encoded for i in each.labels),
                tuple(f for each in encoded for f in each.features),
                sum(windows),
            )
        )
    return requests


def texts_of(
    responder: Responder, encoded: list[EncodedConversation], **settings: float
) -> list[str]:
    options = GenerationOptions(**settings)
    return [each.text for each in responder.generate(encoded, [12] * len(encoded), options)]


def test_a_text_is_as_probable_as_all_ways_to_spell_it() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, CTC_VOCAB_SIZE)
    log_probs = logits.log_softmax(-1)
    a, b = encode_characters("ab")

    def total(wanted: list[int]) -> float:
        paths = itertools.product({BLANK, a, b}, repeat=4)
        fitting = [
            sum(float(log_probs[i, c]) for i, c in enumerate(path))
            for path in paths
            if [c for c, _ in itertools.groupby(path) if c != BLANK] == wanted
        ]
        return math.log(sum(map(math.exp, fitting)))

    found = spelling_log_probs(logits, ["ab", "A, b?", "aa", "", "abab a"])
    assert found[0] == pytest.approx(total([a, b]) / 2, abs=1e-5)
    assert found[1] == pytest.approx(spelling_log_probs(logits, ["a b"])[0], abs=1e-6)
    assert found[2] == pytest.approx(total([a, a]) / 2, abs=1e-5)
    assert found[3] == pytest.approx(float(log_probs[:, BLANK].sum()), abs=1e-5)
    assert found[4] == -math.inf


def test_the_ear_has_the_say_it_is_given() -> None:
    changed = 0
    for seed in range(6):
        responder = tiny_responder(spelling_model(seed))
        encoded = encode((0.9,))
        plain, none, all_of_it = (
            texts_of(responder, encoded, num_beams=BEAMS, ctc_weight=weight)[0]
            for weight in (0.0, 1e-9, 1e6)
        )
        assert plain == none
        changed += plain != all_of_it
        [search] = searched(responder, encoded)
        [features] = encoded[0].features
        logits = responder.engine.model.get_audio_features(features[None]).ctc_logits[0].detach()
        scores = spelling_log_probs(logits, search)
        best = {text for text, score in zip(search, scores, strict=True) if score == max(scores)}
        assert all_of_it in best
    assert changed


def searched(
    responder: Responder, encoded: list[EncodedConversation], **settings: float
) -> list[list[str]]:
    """The texts that a search finds for each conversation, the best first."""
    found: list[list[str]] = []

    def watched(beams: Sequence[Beam], bonuses: Sequence[float]) -> GrowingAnswer:
        found.append([beam.answer.text for beam in beams])
        return best_of(beams, bonuses)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "best_of", watched)
        texts_of(responder, encoded, num_beams=BEAMS, **settings)
    return found


def test_rows_of_a_batch_are_spelt_apart_and_windows_of_a_row_together() -> None:
    responder = tiny_responder(spelling_model(3))
    encoded = encode((0.4,), (1.5, 0.7), (2.0,))
    settings = {"num_beams": BEAMS, "ctc_weight": 3.0}
    together = texts_of(responder, encoded, **settings)
    assert together == [texts_of(responder, [item], **settings)[0] for item in encoded]
    assert together != texts_of(responder, encoded, num_beams=BEAMS)


def test_text_alone_has_no_second_opinion() -> None:
    responder = tiny_responder(spelling_model())
    ids = tuple(responder.engine.runner.tokenizer.encode("hello"))
    item = EncodedConversation(ids, ids, (), 0.0)
    spelt = texts_of(responder, [item], num_beams=BEAMS, ctc_weight=1.0)
    assert spelt == texts_of(responder, [item], num_beams=BEAMS)


def test_nothing_is_said_as_probably_as_the_head_finds_it_against_the_words() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, CTC_VOCAB_SIZE)
    nothing, said = (spelling_log_probs(logits, [text])[0] for text in ("", "a"))
    expected = math.exp(nothing) / (math.exp(nothing) + math.exp(said))
    assert no_speech_probability(logits, "a") == pytest.approx(expected, abs=1e-5)
    assert no_speech_probability(logits, "?!") == 0.5  # no letter is nothing, too
    assert no_speech_probability(logits, "too long for it") == 1.0
    logits[:, BLANK] += 20
    assert no_speech_probability(logits, "a") > 0.99


@pytest.mark.parametrize("num_beams", [1, BEAMS])
def test_where_the_ear_hears_nothing_no_word_is_written(num_beams: int) -> None:
    model = spelling_model(3)
    with torch.no_grad():
        model.ctc_head.weight.mul_(0.05)
        model.ctc_head.bias.zero_()
        model.ctc_head.bias[BLANK] = 3.0  # not sure whether anything is said
    responder = tiny_responder(model)
    encoded = encode((0.4,), (1.5, 0.7), (2.0,))
    spoken = texts_of(responder, encoded, num_beams=num_beams)
    chances = [
        no_speech_probability(heard, text)
        for heard, text in zip(heard_by(responder, encoded), spoken, strict=True)
        if heard is not None
    ]
    threshold = sum(sorted(chances)[:2]) / 2  # two of three are above it
    options = {"num_beams": num_beams, "no_speech_threshold": threshold}
    written = texts_of(responder, encoded, **options)
    assert written == [
        "" if chance > threshold else text for chance, text in zip(chances, spoken, strict=True)
    ]
    assert written == [texts_of(responder, [item], **options)[0] for item in encoded]
    answers = responder.generate(encoded, [12] * 3, GenerationOptions(**options))
    assert [len(each.token_ids) > 0 for each in answers] == [text != "" for text in written]


def heard_by(responder: Responder, encoded: list[EncodedConversation]) -> list[torch.Tensor | None]:
    answers = responder.generate(encoded, [1] * len(encoded), GenerationOptions())
    return [answer.ctc_logits for answer in answers]


def test_a_stream_cannot_take_back_what_it_wrote() -> None:
    assistant = EurekaAudio(spelling_model(), tiny_processor())
    with pytest.raises(ConfigError, match="no_speech_threshold: expected 0 in a stream"):
        assistant.stream([{"role": "user", "content": "hi"}], no_speech_threshold=0.5)


def test_a_checkpoint_without_words_for_noise_says_so_with_one_beam_too(tmp_path: Path) -> None:
    model = spelling_model(2)
    model.generation_config.transcription_no_speech_threshold = 0.5
    with torch.no_grad():
        model.ctc_head.weight.zero_()
        model.ctc_head.bias.zero_()
        model.ctc_head.bias[BLANK] = 20.0  # hears nothing, whatever is played
    save_checkpoint(model, tmp_path / "tiny", tiny_processor())
    loaded = EurekaAudio.from_pretrained(tmp_path / "tiny")
    for num_beams in (1, BEAMS):
        reply = loaded.transcribe(noise(1.2, 0), num_beams=num_beams)
        assert (str(reply), reply.num_new_tokens, reply.finish_reason) == ("", 0, "stop")
    loaded.model.generation_config.transcription_no_speech_threshold = 0.0
    assert str(loaded.transcribe(noise(1.2, 0)))


@pytest.mark.parametrize("setting", ["ctc_weight", "no_speech_threshold"])
def test_an_opinion_that_nobody_has_is_a_typed_error(setting: str) -> None:
    responder = tiny_responder(tiny_model())
    with pytest.raises(ConfigError, match=f"{setting}: .* without a CTC head"):
        texts_of(responder, encode((0.5,)), num_beams=BEAMS, **{setting: 0.5})


def test_the_checkpoint_gives_the_ear_a_say_in_transcripts(tmp_path: Path) -> None:
    model = spelling_model(2)
    model.generation_config.transcription_beams = BEAMS
    model.generation_config.transcription_ctc_weight = 5.0
    save_checkpoint(model, tmp_path / "tiny", tiny_processor())
    loaded = EurekaAudio.from_pretrained(tmp_path / "tiny")
    assert torch.equal(loaded.model.ctc_head.weight, model.ctc_head.weight)
    clips = [noise(s, i) for i, s in enumerate((0.6, 1.2, 2.2, 0.9, 1.7))]
    spelt = [str(reply) for reply in loaded.transcribe(clips)]
    greedy = [str(reply) for reply in loaded.transcribe(clips, num_beams=1)]
    loaded.model.generation_config.transcription_ctc_weight = 0.0
    plain = [str(reply) for reply in loaded.transcribe(clips)]
    assert spelt != plain
    loaded.model.generation_config.transcription_ctc_weight = 5.0
    loaded.model.ctc_head.weight.data.zero_()  # no opinion on letters
    assert [str(reply) for reply in loaded.transcribe(clips, num_beams=1)] == greedy


@pytest.mark.parametrize("key", ["transcription_ctc_weight", "transcription_no_speech_threshold"])
def test_a_checkpoint_that_asks_for_what_it_lacks_is_refused(tmp_path: Path, key: str) -> None:
    model = tiny_model()
    setattr(model.generation_config, key, 0.5)
    save_checkpoint(model, tmp_path / "tiny", tiny_processor())
    with pytest.raises(CheckpointError, match=f"expected a CTC head.*{key}"):
        EurekaAudio.from_pretrained(tmp_path / "tiny")


def test_a_head_of_another_alphabet_is_refused_and_learns_nothing(tmp_path: Path) -> None:
    model = tiny_model()
    model.add_ctc_head(nn.Linear(model.config.audio_config.d_model, 5))
    assert not any(parameter.requires_grad for parameter in model.ctc_head.parameters())
    with pytest.raises(ConfigError, match="ctc_weight"):
        texts_of(tiny_responder(model), encode((0.5,)), num_beams=2, ctc_weight=0.5)
    model.generation_config.transcription_ctc_weight = 0.5
    save_checkpoint(model, tmp_path / "tiny", tiny_processor())
    with pytest.raises(CheckpointError, match="CTC head of 29 letters"):
        EurekaAudio.from_pretrained(tmp_path / "tiny")


def test_settings_of_earlier_versions_are_passed_over_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_model()
    model.generation_config.transcription_beams = BEAMS
    clip = noise(0.8, 0)
    plain = str(EurekaAudio(model, tiny_processor()).transcribe(clip))
    model.generation_config.transcription_unknown_word_penalty = 0.0  # had none then
    save_checkpoint(model, tmp_path / "silent", tiny_processor())
    EurekaAudio.from_pretrained(tmp_path / "silent")
    assert "no effect" not in caplog.text
    model.generation_config.transcription_ngram_weight = 0.5
    save_checkpoint(model, tmp_path / "tiny", tiny_processor())
    for name in ("words.txt", "ngrams.safetensors"):
        (tmp_path / "tiny" / name).write_bytes(b"whatever it held")
    write_checksums(tmp_path / "tiny")
    assert str(EurekaAudio.from_pretrained(tmp_path / "tiny").transcribe(clip)) == plain
    assert "transcription_ngram_weight in its generation_config.json has no effect" in caplog.text
    assert "unknown_word_penalty" not in caplog.text


def test_a_head_that_the_file_lacks_is_missed(tmp_path: Path) -> None:
    save_checkpoint(tiny_model(), tmp_path / "tiny", tiny_processor())
    config = tmp_path / "tiny" / "config.json"
    config.write_text(config.read_text().replace('"ctc_vocab_size": 0', '"ctc_vocab_size": 29'))
    write_checksums(tmp_path / "tiny")
    with pytest.raises(CheckpointError, match="ctc_head"):
        load_checkpoint(tmp_path / "tiny")
