"""A model with its processor, ready to run: what is heard, what is read, what may be said.

It knows ids, features and embeddings; it does not know requests, and nothing of tasks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from eureka_audio.audio import clock
from eureka_audio.inference.decoding import Decoding
from eureka_audio.inference.encoder_cache import EncoderCache, HeardWindow
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.model.modeling import AudioFeaturesOutput
from eureka_audio.processor import EncodedConversation, EurekaAudioProcessor, pad_features
from eureka_audio.text.tokenizer import END_OF_TEXT, TURN_END


class ModelRunner:
    """The steps that engines are made of.

    Args:
        model: set to evaluation.
        processor: the model's own.

    Attributes:
        end_ids: tokens that end an answer: the turn's end, the text's end, and the model's own.
        suppressed_ids: tokens that may not be generated.
        tokens_per_expert: audio tokens that each expert of the adapter has had; empty for a dense
            one.
        encoder_cache: what was heard lately.
    """

    def __init__(
        self, model: EurekaAudioForConditionalGeneration, processor: EurekaAudioProcessor
    ) -> None:
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.end_ids = self._end_ids()
        self.suppressed_ids = list(model.generation_config.suppress_tokens or [])
        self.tokens_per_expert: list[int] = []
        self.encoder_cache = EncoderCache()

    @property
    def device(self) -> torch.device:
        """Where a batch goes: where the model lies, or where offloaded weights are brought to."""
        device: torch.device = self.model.device
        hook = getattr(self.model, "_hf_hook", None)  # set by accelerate
        if device.type == "meta" and hook is not None:
            device = torch.device(hook.execution_device)
        return device

    @property
    def max_context_tokens(self) -> int:
        """Tokens of prompt and answer together that the language model has positions for."""
        return int(self.model.config.text_config.max_position_embeddings)

    def hear(self, windows: Sequence[Tensor]) -> list[HeardWindow]:
        """Log-mel windows `(M, F)`, of whatever requests; those that are new in one batch."""
        return self.encoder_cache.hear(windows, self._hear)

    def _hear(self, windows: Sequence[Tensor]) -> list[HeardWindow]:
        padded = {name: each.to(self.device) for name, each in pad_features(windows).items()}
        audio = self.model.get_audio_features(**padded)
        if audio.router_statistics is not None:
            counts = audio.router_statistics.tokens_per_expert.tolist()
            before = self.tokens_per_expert or [0] * len(counts)
            self.tokens_per_expert = [
                int(old + new) for old, new in zip(before, counts, strict=True)
            ]
        embeds = audio.audio_embeds.split(audio.token_lengths.tolist())
        if audio.ctc_logits is None:
            return [HeardWindow(each, None) for each in embeds]
        return [
            HeardWindow(each, letters[: clock.num_encoder_frames(window.shape[1])])
            for each, letters, window in zip(embeds, audio.ctc_logits, windows, strict=True)
        ]

    def embed(self, inputs: EncodedConversation, heard: Sequence[HeardWindow]) -> Tensor:
        """A prompt as embeddings `(T, D)`, what was heard in the place of its placeholders.

        Raises:
            PlaceholderMismatchError: they do not fit one another.
        """
        ids_1T = torch.tensor([inputs.input_ids], device=self.device)
        audio = None
        if heard:
            embeds = torch.cat([window.audio_embeds for window in heard])
            lengths = torch.tensor([len(window.audio_embeds) for window in heard])
            audio = AudioFeaturesOutput(embeds, lengths, None)
        embeds_1TD = self.model.embed(ids_1T, audio)
        return embeds_1TD[0]

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Tensor:
        """Tokens `(B, C)` as embeddings `(B, C, D)`."""
        embeds_BCD: Tensor = self.model.get_input_embeddings()(
            torch.tensor(token_ids, device=self.device)
        )
        return embeds_BCD

    def read(self, prompts: Sequence[Tensor]) -> tuple[Decoding, Tensor]:
        """Read prompts `(T, D)` of different length at once; returns logits `(B, V)`, too."""
        decoding = Decoding(self.model)
        decoding.start(len(prompts))
        lengths = [len(prompt) for prompt in prompts]
        return decoding, decoding.extend(pad_sequence(list(prompts), batch_first=True), lengths)

    def prefill(self, encoded: Sequence[EncodedConversation]) -> tuple[Decoding, Tensor]:
        """Hear and read a batch of prompts at once; returns logits `(B, V)`, too."""
        windows = [window for item in encoded for window in item.features]
        heard = iter(self.hear(windows) if windows else ())
        return self.read(
            [self.embed(item, [next(heard) for _ in item.features]) for item in encoded]
        )

    def speakable(self, logits_BV: Tensor) -> Tensor:
        """Logits in float32, without what may not be generated."""
        logits_BV = logits_BV.float()
        if self.suppressed_ids:
            logits_BV[:, self.suppressed_ids] = float("-inf")
        return logits_BV

    def _end_ids(self) -> frozenset[int]:
        known = self.tokenizer.get_added_vocab()
        ids = {known[token] for token in (TURN_END, END_OF_TEXT) if token in known}
        own = self.model.generation_config.eos_token_id
        return frozenset(ids | set([own] if isinstance(own, int) else own or ()))
