"""A small tokenizer of Qwen's kind, learnt on the spot: what models with random weights, in
benchmarks and in tests, speak.
"""

import json
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from eureka_audio.text.tokenizer import END_OF_TEXT, SPECIAL_TOKENS, TURN_END


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Qwen2Tokenizer:
    """Learn a small tokenizer of Qwen's kind.

    Args:
        texts: what to learn merges from.
        vocab_size: all tokens together: 256 bytes, the special tokens, and merges.
    """
    learner = Tokenizer(BPE())
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = _pre_tokenizer()
    learner.decoder = decoders.ByteLevel()
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size - len(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    vocab = learner.get_vocab()
    merges = _merges_of(learner)
    tokenizer = Qwen2Tokenizer(
        vocab=vocab, merges=merges, eos_token=TURN_END, pad_token=END_OF_TEXT, unk_token=None
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    return tokenizer


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _merges_of(learner: Tokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
