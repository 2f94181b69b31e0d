"""How much of its language a model keeps: the loss on text alone, beside the untouched part's.

    eureka-audio synthesize chats --language-model smollm2-135m --num 200 --seed 1 --out DIR
    python benchmarks/text_kept.py --model small --chats DIR/chats.jsonl --out FILE

The chats are of a seed that no recipe learns. Both models read the very same ids. Prints one line
of JSON; `ratio` is the loss with what was learnt over the loss without.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from acceptance import record
from transformers import AutoModelForCausalLM

from eureka_audio.data.held_out import HeldOut
from eureka_audio.model.weights import load_checkpoint
from eureka_audio.parts.names import find_checkpoint, find_source
from eureka_audio.processor import EncodedConversation, EurekaAudioProcessor
from eureka_audio.text.chat import IGNORED_LABEL
from eureka_audio.training.conversations import encode_text, read_text


def main() -> int:
    """Read the chats with both, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="small")
    parser.add_argument("--language-model", default="smollm2-135m", help="as it was before")
    parser.add_argument("--chats", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    folder = find_checkpoint(args.model)
    processor = EurekaAudioProcessor.from_pretrained(folder)
    chats = [encode_text(text, processor) for text in read_text(args.chats, HeldOut())]
    before = AutoModelForCausalLM.from_pretrained(
        find_source(args.language_model), local_files_only=True, dtype=torch.float32
    )
    losses = {
        "untouched": loss_per_token(before, chats),
        "learnt": loss_per_token(
            load_checkpoint(folder, dtype=torch.float32).language_model, chats
        ),
    }
    result = {
        "model": args.model,
        "language_model": args.language_model,
        "chats": len(chats),
        "loss_per_token": losses,
        "ratio": losses["learnt"] / losses["untouched"],
    }
    print(json.dumps(record({"benchmark": "text_kept", **result}, args.out)))
    return 0


@torch.inference_mode()
def loss_per_token(model: torch.nn.Module, chats: list[EncodedConversation]) -> float:
    """Over the tokens of all answers."""
    total, count = 0.0, 0
    for chat in chats:
        labels = torch.tensor([chat.labels])
        logits = model.eval()(input_ids=torch.tensor([chat.input_ids])).logits[:, :-1]
        total += float(
            torch.nn.functional.cross_entropy(
                logits[0].float(), labels[0, 1:], ignore_index=IGNORED_LABEL, reduction="sum"
            )
        )
        count += int((labels[0, 1:] != IGNORED_LABEL).sum())
    return total / count


if __name__ == "__main__":
    sys.exit(main())
