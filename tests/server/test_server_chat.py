import base64

from server.running import Running, wav


def audio_message(seconds: float = 1.0, seed: int = 0) -> dict:
    data = base64.b64encode(wav(seconds, seed)).decode()
    return {
        "role": "user",
        "content": [
            {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
            {"type": "text", "text": "What is this?"},
        ],
    }


def test_a_question_is_answered(server: Running) -> None:
    completion = server.client().chat.completions.create(
        model="tiny", messages=[audio_message()], max_tokens=12, logprobs=True, top_logprobs=2
    )
    print(completion)
    assert completion.choices[0].message.content
