"""Bodies by chance: whatever comes, the answer is good or the client's fault."""

import json
from typing import Any

import httpx2
from hypothesis import given, settings
from hypothesis import strategies as st

from eureka_audio.server.schema import ChatRequest, TranscriptionForm
from server.running import Running, wav

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["user", "text", "tiny", "json", 2**63, -1, 0, 1, 1e308, "<|im_end|>", "\0"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["type", "text", "role", "content", "url", "data", "x"]), inner
        ),
    ),
    max_leaves=8,
)
KEYS = st.sampled_from([*ChatRequest.model_fields, "chat_template", "n_best", ""])
GOOD = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}


def check(answer: httpx2.Response) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


@settings(max_examples=60)
@given(changes=st.dictionaries(KEYS, VALUES, max_size=3))
def test_chat_bodies(server: Running, changes: dict[str, Any]) -> None:
    if isinstance(tokens := changes.get("max_tokens"), int) and tokens > 8:
        changes["max_tokens"] = 2**40  # a long answer would be right, and take long
    body = json.dumps({**GOOD, **changes})
    check(httpx2.post(f"{server.url}/v1/chat/completions", content=body, timeout=60))


@settings(max_examples=40)
@given(
    fields=st.dictionaries(
        st.sampled_from([*TranscriptionForm.model_fields, "keywords[]", "x"]),
        st.one_of(st.text(max_size=20), st.sampled_from(["tiny", "0", "1", "nan", "en", "vtt"])),
        max_size=4,
    )
)
def test_form_fields(server: Running, fields: dict[str, str]) -> None:
    check(
        httpx2.post(
            f"{server.url}/v1/audio/transcriptions",
            data={"model": "tiny", **fields},
            files={"file": ("a.wav", CLIP)},
            timeout=60,
        )
    )


CLIP = wav(0.3)


def test_the_specification_describes_the_bodies(server: Running) -> None:
    spec = httpx2.get(f"{server.url}/openapi.json").json()
    chat = spec["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]
    assert "messages" in chat["application/json"]["schema"]["properties"]
    form = spec["paths"]["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]
    assert "file" in form["multipart/form-data"]["schema"]["required"]

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [each for value in node.values() for each in references(value)]
        return (
            [each for value in node for each in references(value)] if isinstance(node, list) else []
        )

    for reference in references(spec):
        assert reference.rpartition("/")[2] in spec["components"]["schemas"]
