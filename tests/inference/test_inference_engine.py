"""The engine against transformers' generate, and its own parts against plain ones."""

import threading

import pytest
import torch
from tiny_assistant import noise, say_forever, tiny_assistant, tiny_model, tiny_processor
from torch.backends import mkldnn
from transformers import DynamicCache

from eureka_audio.inference.cache import RoomyCache
from eureka_audio.inference.plain_engine import Decoding, Engine
from eureka_audio.inference.sampling import GenerationOptions
from eureka_audio.inference.single_row import gains_from_matrix_vector, matrix_vector_products
from eureka_audio.processor import EncodedConversation
from eureka_audio.text.chat import question_request


def encode(*lengths: float) -> list[EncodedConversation]:
    processor = tiny_processor()
    return [
        processor.encode(
            question_request(noise(seconds, i), "what?" * (i + 1)), add_generation_prompt=True
        )
        for i, seconds in enumerate(lengths)
    ]


def assert_answers_are_those_of_transformers(engine: Engine, **settings: float) -> None:
    """Under settings that both know by the same name."""
    encoded = encode(0.4, 3.0, 1.1, 2.0)
    answers = engine.generate(encoded, [24] * 4, GenerationOptions(**settings))
    for item, answer in zip(encoded, answers, strict=True):
        generated = engine.model.generate(
            **engine.processor.collate([item]),
            max_new_tokens=24,
            do_sample=False,
            eos_token_id=sorted(engine.end_ids),
            pad_token_id=engine.tokenizer.pad_token_id,
            **settings,
        )
        expected = generated[0, len(item.input_ids) :].tolist()
        if expected[-1] in engine.end_ids:
            assert answer.finish_reason == "stop"
            expected.pop()
        else:
            assert answer.finish_reason == "length"
        assert answer.token_ids == expected


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize("seed", range(6))
def test_greedy_answers_are_those_of_transformers(seed: int, penalty: float) -> None:
    engine = Engine(tiny_model(seed), tiny_processor())
    assert_answers_are_those_of_transformers(engine, repetition_penalty=penalty)


@pytest.mark.parametrize("num_beams", [2, 5])
@pytest.mark.parametrize("seed", range(6))
def test_beam_search_finds_what_transformers_finds(seed: int, num_beams: int) -> None:
    model = tiny_model(seed)
    # transformers takes suppressed tokens out after the softmax, the engine before it.
    model.generation_config.suppress_tokens = None
    assert_answers_are_those_of_transformers(Engine(model, tiny_processor()), num_beams=num_beams)


def test_beams_that_run_in_circles_end_too() -> None:
    model = tiny_model()
    say_forever(model, 7)
    engine = Engine(model, tiny_processor())
    [answer] = engine.generate(encode(1.0), [200], GenerationOptions(num_beams=3, max_repeats=8))
    assert answer.finish_reason == "repetition"
    assert len(answer.token_ids) < 30


def test_no_placeholder_is_ever_generated() -> None:
    model = tiny_model()
    audio_token_id = model.config.audio_token_id
    with torch.no_grad():
        model.language_model.lm_head.weight[audio_token_id] *= 100
    assert audio_token_id in model.generation_config.suppress_tokens
    [answer] = Engine(model, tiny_processor()).generate(encode(1.0), [40], GenerationOptions())
    assert audio_token_id not in answer.token_ids


def test_each_row_keeps_to_its_own_limit() -> None:
    engine = tiny_assistant()._engine
    engine.end_ids = frozenset()
    answers = engine.generate(encode(1, 2, 3), [3, 9, 1], GenerationOptions())
    assert [len(answer.token_ids) for answer in answers] == [3, 9, 1]
    assert {answer.finish_reason for answer in answers} == {"length"}


def test_the_models_own_end_tokens_end_an_answer() -> None:
    model = tiny_model()
    [answer] = Engine(model, tiny_processor()).generate(encode(1), [9], GenerationOptions())
    model.generation_config.eos_token_id = answer.token_ids[0]
    [ended] = Engine(model, tiny_processor()).generate(encode(1), [9], GenerationOptions())
    assert (ended.token_ids, ended.finish_reason) == ([], "stop")


def test_the_cache_holds_what_transformers_own_holds() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, plain = RoomyCache(), DynamicCache()
    for step in (5, *[1] * 150, 3):
        keys, values = (torch.randn(3, 2, step, 4, generator=generator) for _ in range(2))
        ours_now, plain_now = (c.update(keys, values, 0) for c in (ours, plain))
        assert all(map(torch.equal, ours_now, plain_now))
    assert ours.get_seq_length() == 158
    rows = torch.tensor([2, 0, 0])
    branch = ours.fork(rows)
    plain.batch_select_indices(rows)
    branch.update(keys, values, 0)
    plain.update(keys, values, 0)
    assert torch.equal(branch.layers[0].keys, plain.layers[0].keys)
    assert ours.get_seq_length() == 158  # the trunk does not grow with its branch


def test_the_cache_is_not_copied_at_every_token() -> None:
    cache = RoomyCache()
    keys = torch.zeros(1, 1, 10, 4)
    places = set()
    for _ in range(50):
        cache.update(keys[:, :, :1], keys[:, :, :1], 0)
        places.add(cache.layers[0].keys.data_ptr())
    assert len(places) == 1
    branch = cache.fork(torch.tensor([0, 0]))
    place = branch.layers[0].keys.data_ptr()
    branch.update(keys[[0, 0], :, :1], keys[[0, 0], :, :1], 0)
    assert branch.layers[0].keys.data_ptr() == place


def test_one_row_of_bfloat16_turns_onednn_off_and_on_again() -> None:
    model = tiny_model().bfloat16()
    seen = []
    model.language_model.lm_head.register_forward_hook(lambda *_: seen.append(mkldnn.enabled))
    prompt = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        decoding = Decoding.start(model, prompt, torch.ones_like(prompt))
        plain = model(torch.tensor([[5, 6, 7, 8]])).logits[:, -1]
        decoding.extend(torch.tensor([[8]]))
    assert seen == [True, True, False]
    assert mkldnn.enabled
    torch.testing.assert_close(decoding.logits_BV, plain, rtol=0.05, atol=0.2)


@pytest.mark.parametrize(
    ("num_rows", "device", "dtype"),
    [(2, "cpu", torch.bfloat16), (1, "cpu", torch.float32), (1, "meta", torch.bfloat16)],
)
def test_other_steps_leave_onednn_alone(num_rows: int, device: str, dtype: torch.dtype) -> None:
    assert not gains_from_matrix_vector(num_rows, torch.device(device), dtype)


def test_the_last_thread_to_leave_turns_onednn_on() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with matrix_vector_products():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with matrix_vector_products():
        thread.start()
        inside.wait()
    assert not mkldnn.enabled
    leave.set()
    thread.join()
    assert mkldnn.enabled


def test_onednn_comes_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="inside"), matrix_vector_products():
        raise ValueError("inside")
    assert mkldnn.enabled
