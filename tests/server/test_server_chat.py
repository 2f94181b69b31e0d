"""`/v1/chat/completions` through OpenAI's own client."""

import base64
import json
from typing import Any

import httpx2
import pytest
from openai import BadRequestError, OpenAI

from eureka_audio.audio.decode import load_audio
from eureka_audio.text.tokenizer import SPECIAL_TOKENS
from server.running import Running, wait_until, wav
from tiny import tiny_assistant


def audio_part(seconds: float = 1.0, seed: int = 0) -> dict[str, Any]:
    data = base64.b64encode(wav(seconds, seed)).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def question(text: str = "What is this?", seconds: float = 1.0, seed: int = 0) -> list[Any]:
    return [
        {"role": "user", "content": [audio_part(seconds, seed), {"type": "text", "text": text}]}
    ]


def ask(server: Running, **settings: Any) -> Any:
    settings = {"model": "tiny", "messages": question(), "max_tokens": 12, **settings}
    return server.client().chat.completions.create(**settings)


def alone(seconds: float = 1.0, seed: int = 0, **settings: Any) -> str:
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "audio", "audio": load_audio(wav(seconds, seed))},
                {"type": "text", "text": "What is this?"},
            ],
        }
    ]
    return tiny_assistant().generate(messages, max_new_tokens=12, **settings).text


def test_the_answer_is_that_of_the_model_alone(server: Running) -> None:
    completion = ask(server)
    assert completion.choices[0].message.content == alone() != ""
    usage = completion.usage
    assert usage.completion_tokens <= 12
    assert usage.prompt_tokens_details.audio_tokens == 13
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert completion.choices[0].finish_reason in ("stop", "length")


def test_a_stream_says_the_same(server: Running) -> None:
    chunks = list(ask(server, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == ask(server).choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] is not None
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_ends_with_done(server: Running) -> None:
    body = {"model": "tiny", "messages": question(), "max_tokens": 3, "stream": True}
    answer = httpx2.post(f"{server.url}/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")


def test_several_choices_with_a_seed(server: Running) -> None:
    settings = {"n": 3, "temperature": 1.5, "seed": 7}
    first, again = ask(server, **settings), ask(server, **settings)
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert len(set(texts)) > 1
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    chunks = [c for c in ask(server, stream=True, **settings) if c.choices]
    for index, text in enumerate(texts):
        mine = [c.choices[0].delta.content or "" for c in chunks if c.choices[0].index == index]
        assert "".join(mine) == text


def test_a_stop_string_ends_the_answer(server: Running) -> None:
    whole = ask(server).choices[0].message.content
    stop = whole[3:5]
    cut = ask(server, stop=stop)
    assert cut.choices[0].message.content == whole[: whole.index(stop)]
    assert cut.choices[0].finish_reason == "stop"
    streamed = ask(server, stop=[stop], stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in streamed) == whole[: whole.index(stop)]


def test_logprobs_spell_the_answer(server: Running) -> None:
    choice = ask(server, logprobs=True, top_logprobs=2).choices[0]
    spelt = b"".join(bytes(entry.bytes) for entry in choice.logprobs.content)
    for token in SPECIAL_TOKENS:  # a model of random weights says them; they are no text
        spelt = spelt.replace(token.encode(), b"")
    assert choice.message.content == spelt.decode("utf-8", "replace")
    for entry in choice.logprobs.content:
        assert entry.logprob <= 0
        assert len(entry.top_logprobs) == 2
        assert entry.top_logprobs[0].token == entry.token  # greedy
        assert entry.top_logprobs[0].logprob == pytest.approx(entry.logprob, abs=1e-4)


def test_an_audio_url_may_hold_the_bytes(server: Running) -> None:
    uri = "data:audio/wav;base64," + base64.b64encode(wav()).decode()
    part = {"type": "audio_url", "audio_url": {"url": uri}}
    messages = [{"role": "user", "content": [part, {"type": "text", "text": "What is this?"}]}]
    assert ask(server, messages=messages).choices[0].message.content == alone()


def test_a_conversation_with_several_turns(server: Running) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        *question(),
        {"role": "assistant", "content": "a dog"},
        {"role": "user", "content": [audio_part(0.5, 1), {"type": "text", "text": "and this?"}]},
    ]
    usage = ask(server, messages=messages, max_completion_tokens=4, max_tokens=None).usage
    assert usage.prompt_tokens_details.audio_tokens == 13 + 7
    assert usage.completion_tokens <= 4


@pytest.mark.parametrize(
    "settings",
    [
        {"n": 0}, {"n": 100_000}, {"temperature": -1}, {"temperature": 3}, {"top_p": 0},
        {"max_tokens": 0}, {"max_tokens": -5}, {"max_tokens": 2**63}, {"seed": 2**80},
        {"stop": [""]}, {"stop": ["a"] * 50}, {"top_logprobs": 5},
        {"top_logprobs": 50, "logprobs": True},
        {"frequency_penalty": 1.0}, {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}}, {"modalities": ["audio"]},
        {"messages": []}, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "assistant", "content": [audio_part()]}]},
        {"messages": [{"role": "user", "content": [audio_part()] * 200}]},
        {"messages": [{"role": "user", "content": "word " * 5_000}]},
        {"extra_body": {"chat_template": "{{ 1 }}"}},
        {"extra_body": {"nonsense": 1}},
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_bad_request_is_the_clients_fault(server: Running, settings: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError) as caught:
        ask(server, **settings)
    assert caught.value.body.keys() == {"message", "type", "param", "code"}


def test_an_audio_that_is_none_is_named(server: Running) -> None:
    for data, code in (("AAAA", "audio_unreadable"), ("%%%", "audio_unreadable"), ("A", None)):
        part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
        messages = [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]
        with pytest.raises(BadRequestError) as caught:
            ask(server, messages=messages)
        assert caught.value.body["param"] == "messages.0.content.1"
        assert code is None or caught.value.body["code"] == code


def test_bodies_that_are_not_json(server: Running) -> None:
    url = f"{server.url}/v1/chat/completions"
    deep = "[" * 10_000 + "]" * 10_000
    good = json.dumps({"model": "tiny", "messages": question("x"), "max_tokens": 1})
    bodies = ["", "{", "null", "[]", '"x"', "\x00", deep, '{"model": ' + deep + "}", "NaN"]
    bodies += [good.replace('"max_tokens": 1', f'"max_tokens": {bad}') for bad in
               ("NaN", "1e999", "-1", "true", '"1x"', "[]", "{}", "9" * 400)]  # fmt: skip
    bodies += ['{"model":"tiny","messages":[{"role":"user","content":"\\ud800"}]}']
    for body in bodies:
        answer = httpx2.post(url, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, (body[:60], answer.text)
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


def test_special_tokens_in_a_question_are_text(server: Running) -> None:
    plain = ask(server, messages=question("a b"), max_tokens=1).usage
    texts = ["<|im_end|>", "<|audio_pad|>", "<|audio_start|><|audio_pad|><|audio_end|>", "<think>"]
    for text in texts:
        usage = ask(server, messages=question(text), max_tokens=1).usage
        assert usage.prompt_tokens_details.audio_tokens == plain.prompt_tokens_details.audio_tokens
        assert usage.prompt_tokens > plain.prompt_tokens  # spelt out, not one token each


def test_a_client_that_leaves_frees_the_model(server: Running) -> None:
    with OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="tiny", messages=question(), max_tokens=400, stream=True
        )
        next(iter(stream))
        stream.close()
    wait_until(lambda: server.context.door.num_inside == 0)
    wait_until(lambda: server.context.service.stats.num_running == 0)
