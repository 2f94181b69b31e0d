"""The engine against transformers' generate, and requests beside one another against each alone."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
import torch

from eureka_audio.errors import (
    ConfigError,
    ContextLengthError,
    EngineBusyError,
    EngineClosedError,
    EngineError,
    InvalidFeaturesError,
    RequestCancelledError,
)
from eureka_audio.inference.engine import AudioEngine
from eureka_audio.inference.job import token_budget
from eureka_audio.inference.requests import GenerationRequest, RequestHandle, SearchRequest
from eureka_audio.inference.sampling import SamplingConfig
from eureka_audio.processor import EncodedConversation
from eureka_audio.text.chat import question_request
from tiny import noise, say_forever, tiny_model, tiny_processor

LENGTHS = (0.4, 3.0, 1.1, 2.0)


def encode(*lengths: float) -> list[EncodedConversation]:
    processor = tiny_processor()
    return [
        processor.encode(
            question_request(noise(seconds, i), "what?" * (i + 1)), add_generation_prompt=True
        )
        for i, seconds in enumerate(lengths)
    ]


def tokens_of(handle: RequestHandle) -> list[int]:
    return [event.token_id for event in handle]


def generated(engine: AudioEngine, item: EncodedConversation, **settings: object) -> list[int]:
    """What transformers answers, the token that ends an answer included."""
    ids = engine.model.generate(
        **engine.processor.collate([item]),
        do_sample=False,
        eos_token_id=sorted(engine.runner.end_ids),
        pad_token_id=engine.runner.tokenizer.pad_token_id,
        **settings,
    )
    found: list[int] = ids[0, len(item.input_ids) :].tolist()
    return found


def tiny_engine(seed: int = 0, **settings: int) -> AudioEngine:
    return AudioEngine(tiny_model(seed), tiny_processor(), **settings)


def endless_engine(**settings: int) -> AudioEngine:
    """One that answers for ever unless it is stopped."""
    model = tiny_model()
    say_forever(model, 7)
    return AudioEngine(model, tiny_processor(), **settings)


def endless(item: EncodedConversation) -> GenerationRequest:
    return GenerationRequest(item, 400, max_repeats=None)


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            pytest.fail("waited in vain")
        time.sleep(0.002)


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize("prefill_tokens", [512, 7])
@pytest.mark.parametrize("seed", [1, 3])
def test_greedy_answers_are_those_of_transformers(
    seed: int, prefill_tokens: int, penalty: float
) -> None:
    engine = tiny_engine(seed, prefill_tokens=prefill_tokens)
    encoded = encode(*LENGTHS)
    sampling = SamplingConfig(repetition_penalty=penalty)
    handles = [
        engine.submit(GenerationRequest(item, 24, sampling, max_repeats=None)) for item in encoded
    ]
    for item, handle in zip(encoded, handles, strict=True):
        expected = generated(engine, item, max_new_tokens=24, repetition_penalty=penalty)
        assert tokens_of(handle) == expected


@pytest.mark.parametrize("num_beams", [2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_beam_search_finds_what_transformers_finds(seed: int, num_beams: int) -> None:
    model = tiny_model(seed)
    # transformers takes suppressed tokens out after the softmax, the engine before it.
    model.generation_config.suppress_tokens = None
    engine = AudioEngine(model, tiny_processor())
    encoded = encode(*LENGTHS)
    asked = {"max_repeats": None, "num_beams": num_beams}
    handles = [engine.submit(SearchRequest(item, 24, **asked)) for item in encoded]
    for item, handle in zip(encoded, handles, strict=True):
        best = handle.hypotheses()[0].answer
        expected = generated(engine, item, max_new_tokens=24, num_beams=num_beams)
        if best.finish_reason == "stop":
            assert expected.pop() in engine.runner.end_ids
        assert best.token_ids == expected


@pytest.mark.parametrize("seed", range(3))
def test_an_answer_is_the_same_alone_and_among_64_that_come_and_go(seed: int) -> None:
    engine = tiny_engine(seed, max_batch_size=16)
    encoded = encode(*LENGTHS, 0.7, 1.6)
    alone = [tokens_of(engine.submit(GenerationRequest(item, 24))) for item in encoded]
    assert len({tuple(tokens) for tokens in alone}) > 2  # else nobody could be mistaken for another
    handles = []
    for number in range(64):
        handles.append(engine.submit(GenerationRequest(encoded[number % len(encoded)], 24)))
        if number % 5 == 0:
            engine.submit(GenerationRequest(encoded[-1], 24)).cancel()
        time.sleep(0.002 * (number % 3))
    for number, handle in enumerate(handles):
        assert tokens_of(handle) == alone[number % len(encoded)]


def test_the_test_above_would_notice_a_row_that_hears_its_neighbour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = tiny_engine(1)
    encoded = encode(*LENGTHS)
    alone = [tokens_of(engine.submit(GenerationRequest(item, 24))) for item in encoded]
    monkeypatch.setattr(
        "eureka_audio.inference.decoding.Decoding._mask",
        lambda self, positions: torch.ones(
            len(positions), 1, positions.shape[1], self.cache.step.width, dtype=torch.bool
        ).tril(),
    )
    with engine.submitted([GenerationRequest(item, 24) for item in encoded]) as handles:
        assert [tokens_of(handle) for handle in handles] != alone


def test_drawn_answers_depend_on_their_seed_and_on_nobody_else() -> None:
    engine = tiny_engine(2)
    [item] = encode(1.0)
    warm = SamplingConfig(temperature=1.5)
    requests = [GenerationRequest(item, 12, warm, seed=number % 8) for number in range(24)]
    alone = [tokens_of(engine.submit(request)) for request in requests[:8]]
    with engine.submitted([GenerationRequest(item, 12), *requests]) as handles:
        together = [tokens_of(handle) for handle in handles[1:]]
    assert together == alone * 3
    assert len({tuple(tokens) for tokens in alone}) > 4


def test_one_bad_request_alone_fails() -> None:
    engine = tiny_engine(1)
    good = encode(*LENGTHS)
    alone = [tokens_of(engine.submit(GenerationRequest(item, 24))) for item in good]
    # A placeholder without its audio is noticed when the prompt is embedded only.
    bad = EncodedConversation(good[1].input_ids, good[1].labels, good[0].features, 1.0)
    requests = [GenerationRequest(item, 24) for item in (*good, bad, *good)]
    with engine.submitted(requests) as handles:
        with pytest.raises(Exception, match="placeholder"):
            handles[4].result()
        assert [tokens_of(each) for each in (*handles[:4], *handles[5:])] == alone * 2
    assert engine.stats().num_ended["error"] == 1


def test_numbers_that_are_none_end_their_own_request_and_leave_nothing_behind() -> None:
    model = tiny_model(1)
    engine = AudioEngine(model, tiny_processor())
    encoded = encode(*LENGTHS)
    alone = [tokens_of(engine.submit(GenerationRequest(item, 24))) for item in encoded]
    poison = max(set(range(300)) - {token for item in encoded for token in item.input_ids})
    with torch.no_grad():
        model.get_input_embeddings().weight[poison] = float("nan")
    bad = EncodedConversation((*encoded[1].input_ids, poison), (), encoded[1].features, 3.0)
    for _ in range(3):
        requests = [GenerationRequest(item, 24) for item in (bad, *encoded)]
        with engine.submitted(requests) as handles:
            with pytest.raises(EngineError, match="finite"):
                handles[0].result()
            assert [tokens_of(handle) for handle in handles[1:]] == alone


def test_features_that_are_no_numbers_are_refused_at_once() -> None:
    [item] = encode(1.0)
    item.features[0][3, 4] = float("inf")
    with pytest.raises(InvalidFeaturesError, match="window 0"):
        tiny_engine().submit(GenerationRequest(item))


def test_a_prompt_that_leaves_no_room_is_refused_and_a_long_one_ends_at_the_context() -> None:
    engine = endless_engine()
    ids = encode(1.0)[0].input_ids
    text = [ids[-1]] * (engine.max_context_tokens - 3)
    handle = engine.submit(GenerationRequest(EncodedConversation(tuple(text), (), (), 0.0), 50))
    assert handle.result().num_new_tokens == 3
    with pytest.raises(ContextLengthError, match="512"):
        engine.submit(GenerationRequest(EncodedConversation(tuple(text) + (7,) * 3, (), (), 0.0)))


def test_the_duration_bounds_an_answer_that_says_nothing_else() -> None:
    [item] = encode(2.0)
    reply = endless_engine().submit(GenerationRequest(item, max_repeats=None)).result()
    assert reply.num_new_tokens == token_budget(item.num_audio_tokens) == 256 + 2 * 25
    assert reply.finish_reason == "length"


def test_going_in_circles_ends_an_answer_and_a_search() -> None:
    engine = endless_engine()
    [item] = encode(1.0)
    for request in (GenerationRequest(item, 200), SearchRequest(item, 200, num_beams=3)):
        reply = engine.submit(request).result()
        assert reply.finish_reason == "repetition"
        assert reply.num_new_tokens < 30


def test_no_placeholder_is_ever_generated() -> None:
    model = tiny_model()
    audio_token_id = model.config.audio_token_id
    with torch.no_grad():
        model.language_model.lm_head.weight[audio_token_id] *= 100
    assert audio_token_id in model.generation_config.suppress_tokens
    handle = AudioEngine(model, tiny_processor()).submit(GenerationRequest(*encode(1.0), 40))
    assert audio_token_id not in tokens_of(handle)


def test_the_models_own_end_tokens_end_an_answer() -> None:
    model = tiny_model()
    first = tokens_of(AudioEngine(model, tiny_processor()).submit(GenerationRequest(*encode(1))))
    model.generation_config.eos_token_id = first[0]
    ended = AudioEngine(model, tiny_processor()).submit(GenerationRequest(*encode(1))).result()
    assert (ended.text, ended.num_new_tokens, ended.finish_reason) == ("", 0, "stop")


def test_events_tell_how_probable_tokens_are() -> None:
    engine = tiny_engine(2)
    [item] = encode(1.0)
    events = list(engine.submit(GenerationRequest(item, 6, num_logprobs=3)))
    with torch.inference_mode():
        _, logits = engine.runner.prefill([item])
        expected = engine.runner.speakable(logits).log_softmax(-1)[0]
    assert events[0].logprob == pytest.approx(float(expected.max()), abs=1e-5)
    assert [token for token, _ in events[0].top_logprobs] == expected.topk(3).indices.tolist()
    assert events[0].token_id == events[0].top_logprobs[0][0]
    assert all(event.logprob is None for event in engine.submit(GenerationRequest(item, 6)))


@pytest.mark.parametrize("stage", ["waiting", "running", "searching"])
def test_cancelling_frees_all_that_was_held(stage: str) -> None:
    engine = endless_engine(max_batch_size=2)
    [item] = encode(1.0)
    requests = [endless(item)] * 8
    if stage == "searching":
        requests = [SearchRequest(item, 400, max_repeats=None, num_beams=3)] * 8
    handles = [engine.submit(request) for request in requests]
    wait_until(lambda: engine.stats().batch_size > 0)
    if stage == "waiting":
        for handle in handles[2:]:
            handle.cancel()
        assert engine.stats().queue_length == 0
    for handle in handles:
        handle.cancel()
    wait_until(lambda: engine.stats().num_running == 0, seconds=1.0)
    stats = engine.stats()
    assert (stats.queue_length, stats.num_cache_bytes, stats.seconds_since_step) == (0, 0, 0)
    assert stats.num_ended == {"cancelled": 8}
    for handle in handles:
        with pytest.raises(RequestCancelledError):
            handle.result()
    assert engine.submit(GenerationRequest(item, 3)).result().num_new_tokens == 3


def test_a_full_queue_and_a_closed_engine_say_so() -> None:
    engine = endless_engine(max_batch_size=1, max_queue_length=2)
    [item] = encode(1.0)
    first = engine.submit(endless(item))
    wait_until(lambda: engine.stats().num_running == 1)
    waiting = [engine.submit(GenerationRequest(item, 4)) for _ in range(2)]
    with pytest.raises(EngineBusyError, match="2"):
        engine.submit(endless(item))
    first.cancel()
    engine.close(drain=True)
    assert [handle.result().num_new_tokens for handle in waiting] == [4, 4]
    with pytest.raises(EngineClosedError):
        engine.submit(endless(item))


def test_closing_without_draining_cancels() -> None:
    engine = endless_engine()
    handles = [engine.submit(endless(item)) for item in encode(*LENGTHS)]
    engine.close(drain=False)
    for handle in handles:
        with pytest.raises(RequestCancelledError):
            handle.result()
    assert engine.stats().num_running == 0


def test_what_breaks_a_step_breaks_the_engine_and_nobody_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = endless_engine()
    handles = [engine.submit(endless(item)) for item in encode(*LENGTHS)]
    wait_until(lambda: engine.stats().batch_size > 0)

    def explode(*arguments: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(engine._scheduler, "step", explode)
    for handle in handles:
        with pytest.raises(EngineError, match="no room"):
            handle.result(20)
    assert isinstance(engine.failure, MemoryError)
    with pytest.raises(EngineClosedError, match="no room"):
        engine.submit(endless(encode(1.0)[0]))
    assert engine.stats().num_cache_bytes == 0


def test_a_hint_that_fails_ends_its_own_search() -> None:
    engine = tiny_engine(1)
    first, second = encode(1.0, 2.0)

    def hint(answer: object) -> float:
        raise ValueError("no idea")

    bad = engine.submit(SearchRequest(first, 12, num_beams=2, hint=hint))
    good = engine.submit(SearchRequest(second, 12, num_beams=2))
    with pytest.raises(ValueError, match="no idea"):
        bad.result()
    assert good.hypotheses()
    assert engine.failure is None


def test_an_idle_engine_has_no_thread() -> None:
    engine = tiny_engine()
    engine.submit(GenerationRequest(*encode(1.0), 4)).result()
    wait_until(lambda: not any(t.name == "eureka-audio-engine" for t in threading.enumerate()))


def test_events_reach_an_event_loop_and_add_up() -> None:
    engine = tiny_engine(2)
    requests = [GenerationRequest(item, 12) for item in encode(*LENGTHS)]

    async def text_of(request: GenerationRequest) -> str:
        handle = engine.submit(request)
        text = "".join([event.text async for event in handle])
        assert (await handle.aresult()).text == text
        return text

    async def all_texts() -> list[str]:
        return list(await asyncio.gather(*map(text_of, requests)))

    expected = [engine.submit(request).result().text for request in requests]
    assert asyncio.run(all_texts()) == expected
    assert any(expected)


def test_a_time_limit_is_kept_to() -> None:
    engine = endless_engine()
    handle = engine.submit(endless(*encode(1.0)))
    with pytest.raises(TimeoutError):
        handle.result(0.01)
    handle.cancel()


@pytest.mark.parametrize(
    "make",
    [
        lambda item: GenerationRequest(item, num_logprobs=99),
        lambda item: GenerationRequest(item, 0),
        lambda item: SearchRequest(item, num_beams=0),
        lambda item: SearchRequest(item, sampling=SamplingConfig(temperature=1.0)),
        lambda item: SearchRequest(item, num_logprobs=2),
    ],
)
def test_what_cannot_be_asked_is_refused(make: Callable[..., object]) -> None:
    with pytest.raises(ConfigError):
        make(encode(1.0)[0])
