"""vLLM runs a folder of ours: what it is told, and where vLLM is installed, what it answers."""

import base64
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from eureka_audio.audio import clock
from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.inference.loading import load_processor
from eureka_audio.inference.requests import GenerationRequest
from eureka_audio.inference.vllm_plugin import chat_template_path
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.model.weights import save_checkpoint
from eureka_audio.processor import parse_messages
from eureka_audio.text.chat import audio_ids
from server.running import wav
from tiny import noise, tiny_model, tiny_processor, tiny_responder

CONVERSATIONS = {
    "question": [("user", [noise(1.0), "What is this?"])],
    "system": [("system", "Write it down.\n"), ("user", [noise(0.5)])],
    "turns": [
        ("user", ["First this: ", noise(0.5), noise(0.7, 1), " and this?"]),
        ("assistant", "a cat"),
        ("user", "And\n\nwhere?"),
    ],
}


def messages(turns: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    """Turns in transformers' format, which is also what vLLM gives to a template."""
    return [
        {
            "role": role,
            "content": content
            if isinstance(content, str)
            else [
                {"type": "audio", "audio": part}
                if isinstance(part, DecodedAudio)
                else {"type": "text", "text": part}
                for part in content
            ],
        }
        for role, content in turns
    ]


@pytest.mark.parametrize("thinks", [False, True], ids=["plain", "thinking"])
@pytest.mark.parametrize("turns", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_the_template_spells_what_the_processor_assembles(
    turns: list[tuple[str, Any]], thinks: bool, tmp_path: Path
) -> None:
    tiny_processor().save_pretrained(tmp_path)
    if not thinks:
        for file in tmp_path.glob("*.json"):
            file.write_text(file.read_text("utf-8").replace("think>", "mull>"), "utf-8")
    processor = load_processor(tmp_path)
    tokenizer, pad = processor.tokenizer, processor.audio_token_id
    text = tokenizer.apply_chat_template(
        messages(turns),
        chat_template=chat_template_path(str(tmp_path)).read_text("utf-8"),
        tokenize=False,
        add_generation_prompt=True,
    )
    found = tokenizer.encode(text, add_special_tokens=False)
    encoded = processor.encode(parse_messages(messages(turns)), add_generation_prompt=True)
    assert len(encoded.features) == found.count(pad)
    counts = [clock.num_audio_tokens(window.shape[1]) for window in encoded.features]
    spelled = [
        each
        for token in found
        for each in (audio_ids(tokenizer, [counts.pop(0)]) if token == pad else [token])
    ]
    assert spelled == list(encoded.input_ids)


@pytest.fixture(scope="module")
def model() -> EurekaAudioForConditionalGeneration:
    """Heads as wide as vLLM's attention on a CPU has them at the least."""
    shape = {
        "vocab_size": len(tiny_processor().tokenizer),
        "hidden_size": 64,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
    }
    return tiny_model(text_config=shape)


@pytest.fixture(scope="module")
def under_vllm(
    model: EurekaAudioForConditionalGeneration, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenAI]:
    """OpenAI's client of a vLLM server that runs the model's folder."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    folder = tmp_path_factory.mktemp("vllm") / "tiny"
    save_checkpoint(model, folder, tiny_processor())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder.parent / "log"
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    options = ["--dtype", "float32", "--enforce-eager", "--max-model-len", "512"]
    place = ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port)]
    # `vllm serve` is this module, but asks for a package of that name, which on a CPU is another.
    program = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    with log.open("w") as file:
        process = subprocess.Popen(
            [*program, *options, *place], env=os.environ | settings, stdout=file, stderr=file
        )
    try:
        while "startup complete" not in log.read_text():
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.2)
        yield OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", timeout=300)
    finally:
        process.terminate()
        process.wait(120)


@pytest.mark.slow
def test_vllm_answers_as_we_do_token_for_token(
    model: EurekaAudioForConditionalGeneration, under_vllm: OpenAI
) -> None:
    engine = tiny_responder(model).engine

    def sound(seconds: float, seed: int) -> dict[str, Any]:
        content = base64.b64encode(wav(seconds, seed, subtype="FLOAT")).decode()
        return {"type": "input_audio", "input_audio": {"data": content, "format": "wav"}}

    question = {"type": "text", "text": "what is this?"}
    asked = [[sound(seconds, int(seconds)), question] for seconds in (0.5, 1.0, 2.5, 3.3, 31.0)]
    asked += [[sound(0.5, 1), {"type": "text", "text": "or"}, sound(0.7, 2)], [question]]
    answers = set()
    for content in asked:
        turns = [{"role": "user", "content": content}]
        theirs = under_vllm.chat.completions.create(
            model="tiny",
            messages=turns,
            max_tokens=24,
            temperature=0,
            extra_body={"return_token_ids": True},
        )
        encoded = engine.processor.encode(parse_messages(turns), add_generation_prompt=True)
        ours = engine.submit(GenerationRequest(encoded, 24, max_repeats=None))
        expected = [event.token_id for event in ours]
        assert theirs.prompt_token_ids == list(encoded.input_ids)
        assert theirs.choices[0].token_ids == expected
        answers.add(tuple(expected))
    assert len(answers) > 3
