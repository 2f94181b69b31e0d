"""`join`: from names to a model that chats in its backbone's own format."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.cli.main import main
from eureka_audio.errors import CheckpointError
from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.joining import join
from eureka_audio.model.weights import save_checkpoint
from eureka_audio.parts.catalogue import PARTS
from eureka_audio.processor import parse_messages
from eureka_audio.text.chat import IGNORED_LABEL
from eureka_audio.text.tokenizer import AUDIO_PAD, TURN_END, token_id
from tiny import tiny_whisper

ADAPTER = {"num_experts": 4, "expert_intermediate_size": 16}
QUESTION = [{"role": "user", "content": "Why?"}]
ANSWERED = [*QUESTION, {"role": "assistant", "content": "So."}]
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def write_whisper(folder: Path) -> Path:
    tiny_whisper(max_source_positions=1500).save_pretrained(folder)
    return folder


def write_language_model(folder: Path, config_class: type, added: list[str]) -> Path:
    """Random weights and a byte-level tokenizer with the given added tokens."""
    learner = Tokenizer(BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=added,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(["why so"], trainer)
    end = "</s>" if "</s>" in added else "<|endoftext|>"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=learner, eos_token=end)
    tokenizer.save_pretrained(folder)
    config = config_class(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("llama"), LlamaConfig, CHATML)


@pytest.mark.parametrize(
    ("config_class", "added", "opening"),
    [
        (LlamaConfig, CHATML, "<|im_start|>assistant\n"),
        (LlamaConfig, ["</s>"], "<|im_start|>assistant\n"),
        (
            Qwen3Config,
            [*CHATML, "<think>", "</think>"],
            "<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
    ],
    ids=["ChatML", "neither turns nor think", "Qwen3"],
)
def test_the_chat_format_is_the_backbones(
    whisper: Path, tmp_path: Path, config_class: type, added: list[str], opening: str
) -> None:
    folder = write_language_model(tmp_path / "text", config_class, added)
    model, processor = join(whisper, folder, adapter_config=ADAPTER)
    asked = processor.encode(parse_messages(QUESTION), add_generation_prompt=True)
    decode = processor.tokenizer.decode
    assert decode(asked.input_ids) == f"<|im_start|>user\nWhy?<|im_end|>\n{opening}"
    learnt = processor.encode(parse_messages(ANSWERED), add_generation_prompt=False)
    assert learnt.input_ids[: len(asked.input_ids)] == asked.input_ids
    assert decode([i for i in learnt.labels if i != IGNORED_LABEL]) == "So.<|im_end|>"
    assert model.config.text_config.vocab_size == len(processor.tokenizer)
    assert model.config.audio_token_id == token_id(processor.tokenizer, AUDIO_PAD)
    ends = model.generation_config.eos_token_id
    assert ends[0] == token_id(processor.tokenizer, TURN_END)
    assert processor.tokenizer.convert_tokens_to_ids(added[0]) in ends


def test_what_init_writes_is_loaded_and_hears(
    whisper: Path, llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--encoder", str(whisper), "--language-model", str(llama)]
    out = tmp_path / "joined"
    options = ["--feature-layers", "1", "2", "--adapter", "dense"]
    assert main(["init", *arguments, *options, "--out", str(out)]) == 0
    assert "the adapter is untrained" in capsys.readouterr().out
    assistant = EurekaAudio.from_pretrained(out)
    config = assistant.model.config
    assert (config.feature_layers, config.trailing_silence_seconds) == ([1, 2], 1.0)
    waveform = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    assert assistant.transcribe(DecodedAudio(waveform, "noise")).num_audio_tokens == 13
    for written in out.glob("*.json"):  # folders of the machine that joined them are not told
        assert str(tmp_path.parent) not in written.read_text(encoding="utf-8")


def test_init_says_in_one_line_what_is_wrong(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--encoder", "whisper-bass", "--language-model", str(llama)]
    assert main(["init", *arguments, "--out", str(tmp_path / "x")]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: whisper-bass:")
    assert "whisper-base" in message
    assert message.count("\n") == 1


def test_a_model_of_ours_lends_its_parts_and_its_tokenizer(
    whisper: Path, llama: Path, tmp_path: Path
) -> None:
    model, processor = join(whisper, llama, adapter_config=ADAPTER)
    save_checkpoint(model, tmp_path / "lender", processor)
    again, other = join(tmp_path / "lender", tmp_path / "lender", adapter_config=ADAPTER)
    assert other.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
    for name, tensor in model.state_dict().items():
        if not name.startswith("adapter."):
            assert torch.equal(again.state_dict()[name], tensor), name


def test_a_language_model_without_a_tokenizer_is_refused(whisper: Path, tmp_path: Path) -> None:
    config = LlamaConfig(vocab_size=9, hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="expected the tokenizer of a language model"):
        join(whisper, tmp_path)


@pytest.mark.slow
def test_the_real_parts_chat_where_the_cache_has_them(need_parts: Callable[..., None]) -> None:
    need_parts("whisper-tiny.en", "smollm2-135m")
    model, processor = join("whisper-tiny.en", "smollm2-135m", adapter_config=ADAPTER)
    question = parse_messages([{"role": "user", "content": "What is the capital of France?"}])
    batch = processor.collate([processor.encode(question, add_generation_prompt=True)])
    ids = model.eval().generate(**batch, max_new_tokens=16, do_sample=False)
    assert "Paris" in processor.tokenizer.decode(ids[0, batch["input_ids"].shape[1] :])
    assert model.config.parts["language_model"]["sha256"] == PARTS["smollm2-135m"].sha256
