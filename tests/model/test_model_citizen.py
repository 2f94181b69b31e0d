"""What users of transformers expect: Auto classes, round trips, devices, PEFT, the Trainer."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
    Trainer,
    TrainingArguments,
)

from eureka_audio.model import EurekaAudioConfig, EurekaAudioForConditionalGeneration
from tiny import AUDIO, bare_config, bare_model, make_batch, make_row, three_rows


@pytest.mark.parametrize(
    "auto_class",
    [
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForMultimodalLM,
        AutoModelForSeq2SeqLM,
        AutoModelForSpeechSeq2Seq,
    ],
)
def test_auto_classes_find_the_model_on_disk(auto_class, tmp_path):
    model = bare_model()
    model.save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), EurekaAudioConfig)
    loaded = auto_class.from_pretrained(tmp_path)
    assert type(loaded) is EurekaAudioForConditionalGeneration
    batch = make_batch(three_rows())
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("device_map", [None, "cpu", "auto"])
def test_round_trip(tied, dtype, device_map, tmp_path):
    source = bare_model(text_config={"tie_word_embeddings": tied})
    model = EurekaAudioForConditionalGeneration._from_config(source.config, dtype=dtype).eval()
    model.load_state_dict(source.state_dict())
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    loaded, info = EurekaAudioForConditionalGeneration.from_pretrained(
        tmp_path, device_map=device_map, output_loading_info=True
    )
    assert not any(info.values())
    assert loaded.dtype is dtype
    embedding = loaded.get_input_embeddings().weight
    assert (loaded.get_output_embeddings().weight is embedding) is tied
    for (name, ours), theirs in zip(
        model.state_dict().items(), loaded.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    assert loaded.generation_config.suppress_tokens == [AUDIO]
    batch = make_batch(three_rows())
    with torch.no_grad():
        assert torch.equal(loaded(**batch).logits, model(**batch).logits)


def test_configuration_round_trip_keeps_every_field(tmp_path):
    config = bare_config(pad_windows=True, adapter_config={"num_shared_experts": 3})
    config.save_pretrained(tmp_path)
    again = EurekaAudioConfig.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict()
    saved = json.loads((tmp_path / "config.json").read_text())
    assert "auto_map" not in saved
    assert saved["adapter_config"]["num_shared_experts"] == 3


def test_vocabulary_can_grow():
    model = bare_model()
    model.resize_token_embeddings(64)
    assert model.config.text_config.vocab_size == 64
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    with torch.no_grad():
        assert model(**make_batch(three_rows())).logits.shape[-1] == 64


def test_blocks_that_stay_whole_on_one_device():
    model = bare_model()
    modules = {type(module).__name__ for module in model.modules()}
    assert {"WhisperEncoderLayer", "Qwen3DecoderLayer", "EurekaAudioAdapter"} <= (
        model._no_split_modules & modules
    )


def test_gradient_checkpointing_changes_no_gradient():
    batch = make_batch(three_rows())
    batch["labels"] = batch["input_ids"].masked_fill(batch["input_ids"] == AUDIO, -100)
    grads = []
    for checkpointing in (False, True):
        model = bare_model().train()
        if checkpointing:
            model.gradient_checkpointing_enable()
            assert model.audio_encoder.layers[0].gradient_checkpointing
            assert model.language_model.model.layers[0].gradient_checkpointing
        model(**batch, use_cache=False).loss.backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name])


def test_lora_trains_its_own_weights_only_and_generates(tmp_path):
    batch = make_batch(three_rows())
    labels = batch["input_ids"].masked_fill(batch["input_ids"] == AUDIO, -100)
    settings = LoraConfig(
        r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["adapter"], task_type="CAUSAL_LM"
    )
    model = get_peft_model(bare_model(), settings).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    losses = []
    for _ in range(3):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert any("audio_encoder" in name for name in moved)
    assert all("lora_" in name or "modules_to_save" in name for name in moved)
    model.eval()
    generated = model.generate(**batch, max_new_tokens=3, do_sample=False)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(bare_model(), tmp_path).eval()
    assert torch.equal(again.generate(**batch, max_new_tokens=3, do_sample=False), generated)


def test_trainer_trains_and_evaluates(tmp_path):
    rows = [make_row(40, text=(10 + i, 11 + i, 12 + i), seed=i) for i in range(8)]

    def collate(chosen):
        batch = make_batch(chosen)
        labels = batch["input_ids"].clone()
        labels[:, :-3] = -100
        return {**batch, "labels": labels}

    arguments = TrainingArguments(
        output_dir=tmp_path,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=4,
        learning_rate=1e-2,
        remove_unused_columns=False,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        gradient_checkpointing=True,
    )
    trainer = Trainer(
        bare_model(),
        arguments,
        data_collator=collate,
        train_dataset=rows,
        eval_dataset=rows,
        compute_metrics=lambda prediction: {"width": prediction.predictions.shape[-1]},
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_loss"] < before["eval_loss"]
    assert after["eval_width"] == 48
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged[0] == pytest.approx(before["eval_loss"], rel=0.5)  # a mean, not a sum of parts
