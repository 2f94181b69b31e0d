"""Prefill and decode: encoded conversations in, answers out.

Prefill reads all prompts of a batch at once and is bound by arithmetic; decode adds one token to
every answer per step and is bound by the memory the weights are read from. The engine knows token
ids, features and the cache; it does not know tasks, files or how long audio is cut.

A row's answer does not depend on the rows beside it: padding is masked, positions count real
tokens, and each row draws from its own source of chance.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from eureka_audio.audio import clock
from eureka_audio.errors import ConfigError
from eureka_audio.inference.beam_search import BeamSearch
from eureka_audio.inference.cache import RoomyCache
from eureka_audio.inference.fluency import WHILE_GROWING, Fluency
from eureka_audio.inference.growing_answer import GrowingAnswer
from eureka_audio.inference.rescoring import (
    Opinions,
    no_speech_probability,
    share_of_unknown_words,
    spelling_log_probs,
)
from eureka_audio.inference.sampling import GenerationOptions, choose_tokens, penalise_seen
from eureka_audio.inference.single_row import gains_from_matrix_vector, matrix_vector_products
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.processor import EncodedConversation, EurekaAudioProcessor
from eureka_audio.text.tokenizer import END_OF_TEXT, TURN_END

# A batch is made smaller once this share of its rows has finished: copying the cache costs
# about as much as a few steps.
FINISHED_SHARE = 0.25


class Engine:
    """A model with its processor, ready to generate."""

    def __init__(
        self, model: EurekaAudioForConditionalGeneration, processor: EurekaAudioProcessor
    ) -> None:
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.end_ids = self._end_ids()
        self.suppressed_ids = list(model.generation_config.suppress_tokens or [])

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

    def generate(
        self,
        encoded: Sequence[EncodedConversation],
        limits: Sequence[int],
        options: GenerationOptions,
    ) -> list[GrowingAnswer]:
        """Answer a batch of conversations.

        Args:
            encoded: prompts that end with the opening of an answer.
            limits: the longest answer of each, in tokens, at least 1.
            options: how to choose tokens, and when to stop.

        Raises:
            ConfigError: a CTC head or a list of words is to be asked, and there is none.
        """
        opinions = Opinions(*(getattr(options, name) for name in Opinions._fields))
        for name, what in opinions.lacking(self.model, self.processor):
            raise ConfigError(
                f"{name}: expected 0 for a checkpoint without a {what}, got "
                f"{getattr(opinions, name)}; leave it out"
            )
        decoding, answers = self.prefill(encoded), self.begin(limits, options)
        heard = self._heard(decoding.ctc_logits_ALV, encoded)
        if options.num_beams > 1:
            answers = self._search(decoding, encoded, answers, heard, options)
        else:
            for _ in self.run(decoding, encoded, answers, options):
                pass
        if options.no_speech_threshold > 0:
            for answer, ctc_logits_LV in zip(answers, heard, strict=True):
                if ctc_logits_LV is not None:
                    chance = no_speech_probability(ctc_logits_LV, answer.text)
                    if chance > options.no_speech_threshold:
                        answer.clear()
        return answers

    def begin(self, limits: Sequence[int], options: GenerationOptions) -> list[GrowingAnswer]:
        """Empty answers, for `run` to fill."""
        return [GrowingAnswer(self.tokenizer, self.end_ids, limit, options) for limit in limits]

    @torch.inference_mode()
    def run(
        self,
        decoding: "Decoding",
        encoded: Sequence[EncodedConversation],
        answers: Sequence[GrowingAnswer],
        options: GenerationOptions,
    ) -> Iterator[None]:
        """Add a token to every unfinished answer, again and again; yields after each step.

        One beam only: what a search will keep is not known before its end.

        Args:
            decoding: the prompts, read by `prefill`.
            encoded: the prompts.
            answers: of `begin`.
            options: how to choose tokens.
        """
        rows = list(answers)
        generators = [options.sampling.generator(options.seed) for _ in rows]
        seen = self._seen(encoded) if options.repetition_penalty != 1 else None
        while True:
            logits_BV = self._adjusted(decoding.logits_BV, seen, options)
            tokens = choose_tokens(logits_BV, options.sampling, generators)
            for answer, token in zip(rows, tokens, strict=True):
                if not answer.has_finished:
                    answer.add(token)
            yield
            going = [index for index, answer in enumerate(rows) if not answer.has_finished]
            if not going:
                return
            if len(going) <= (1 - FINISHED_SHARE) * len(rows):
                kept = torch.tensor(going, device=self.device)
                decoding = decoding.fork(kept)
                rows = [rows[index] for index in going]
                generators = [generators[index] for index in going]
                tokens = [tokens[index] for index in going]
                seen = None if seen is None else seen[kept]
            tokens_B1 = torch.tensor(tokens, device=self.device)[:, None]
            if seen is not None:
                seen.scatter_(1, tokens_B1, True)
            decoding.extend(tokens_B1)

    @torch.inference_mode()
    def _search(
        self,
        decoding: "Decoding",
        encoded: Sequence[EncodedConversation],
        answers: Sequence[GrowingAnswer],
        heard: Sequence[Tensor | None],
        options: GenerationOptions,
    ) -> list[GrowingAnswer]:
        """The answers that beam search finds from empty ones; each beam is a row of the batch."""
        searches = [
            BeamSearch(answer, options.num_beams, self._hint(options)) for answer in answers
        ]
        num_kept = options.num_beams * (1 + len(self.end_ids))
        seen = self._seen(encoded) if options.repetition_penalty != 1 else None
        while True:
            log_probs_BV = self._adjusted(decoding.logits_BV, seen, options).log_softmax(dim=-1)
            best = log_probs_BV.topk(min(num_kept, log_probs_BV.shape[-1]))
            rows = [
                list(zip(log_probs, tokens, strict=True))
                for log_probs, tokens in zip(
                    best.values.tolist(), best.indices.tolist(), strict=True
                )
            ]
            origins, tokens, first = list[int](), list[int](), 0
            for search in searches:
                end = first + len(search.growing)
                for step in search.grow(rows[first:end]):
                    origins.append(first + step.beam)
                    tokens.append(step.token)
                first = end
            if not tokens:
                break
            kept = torch.tensor(origins, device=self.device)
            tokens_B1 = torch.tensor(tokens, device=self.device)[:, None]
            decoding = decoding.fork(kept)
            if seen is not None:
                seen = seen[kept].scatter(1, tokens_B1, True)
            decoding.extend(tokens_B1)
        return [
            search.best(self._bonuses(search.found, ctc_logits_LV, options))
            for search, ctc_logits_LV in zip(searches, heard, strict=True)
        ]

    def _heard(
        self, ctc_logits_ALV: Tensor | None, encoded: Sequence[EncodedConversation]
    ) -> list[Tensor | None]:
        """CTC logits `(L, letters)` of each conversation's windows in a row; `None` where there is
        no CTC head or no audio.
        """
        windows = iter(() if ctc_logits_ALV is None else ctc_logits_ALV)
        heard = [
            [
                window[: clock.num_encoder_frames(log_mel.shape[1])]
                for log_mel, window in zip(item.features, windows, strict=False)
            ]
            for item in encoded
        ]
        return [torch.cat(each) if each else None for each in heard]

    def _hint(self, options: GenerationOptions) -> Callable[[GrowingAnswer], float] | None:
        """What the model of words adds to the log-probability of answers while they grow."""
        if options.ngram_weight == 0 or self.processor.ngrams is None:
            return None
        fluency = Fluency(self.processor.ngrams)
        weight = WHILE_GROWING * options.ngram_weight
        return lambda answer: weight * fluency.of_growing(answer.text, answer.has_finished)

    def _bonuses(
        self,
        answers: Sequence[GrowingAnswer],
        ctc_logits_LV: Tensor | None,
        options: GenerationOptions,
    ) -> list[float]:
        """What second opinions add to the log-probabilities of answers to one conversation.

        Args:
            answers: to it.
            ctc_logits_LV: of what it lets hear, if it does.
            options: how much each opinion weighs.
        """
        texts = [answer.text for answer in answers]
        bonuses = [0.0] * len(texts)
        if options.ctc_weight > 0 and ctc_logits_LV is not None:
            log_probs = spelling_log_probs(ctc_logits_LV, texts)
            bonuses = [options.ctc_weight * log_prob for log_prob in log_probs]
        if options.unknown_word_penalty > 0:
            known = self.processor.known_words
            for place, text in enumerate(texts):
                share = share_of_unknown_words(text, known)
                bonuses[place] -= options.unknown_word_penalty * share
        if options.ngram_weight > 0 and self.processor.ngrams is not None:
            fluency = Fluency(self.processor.ngrams)
            for place, (answer, text) in enumerate(zip(answers, texts, strict=True)):
                num_tokens = len(answer.token_ids) + 1
                bonuses[place] += options.ngram_weight * fluency.of(text) / num_tokens
        return bonuses

    @torch.inference_mode()
    def prefill(self, encoded: Sequence[EncodedConversation]) -> "Decoding":
        """Read the prompts of a batch."""
        batch = self.processor.collate(encoded, padding_side="left").to(self.device)
        return Decoding.start(self.model, **batch)

    def _adjusted(
        self, logits_BV: Tensor, seen: Tensor | None, options: GenerationOptions
    ) -> Tensor:
        """Logits in float32, without what may not be generated."""
        logits_BV = logits_BV.float()
        if seen is not None:
            logits_BV = penalise_seen(logits_BV, seen, options.repetition_penalty)
        if self.suppressed_ids:
            logits_BV[:, self.suppressed_ids] = float("-inf")
        return logits_BV

    def _seen(self, encoded: Sequence[EncodedConversation]) -> Tensor:
        """Which tokens each prompt holds, `(B, V)`."""
        vocab_size = self.model.config.text_config.vocab_size
        seen = torch.zeros(len(encoded), vocab_size, dtype=torch.bool)
        for row, item in zip(seen, encoded, strict=True):
            row[list(item.input_ids)] = True
        return seen.to(self.device)

    def _end_ids(self) -> frozenset[int]:
        """The tokens that end an answer: the turn's end, the text's end, and the model's own."""
        known = self.tokenizer.get_added_vocab()
        ids = {known[token] for token in (TURN_END, END_OF_TEXT) if token in known}
        own = self.model.generation_config.eos_token_id
        return frozenset(ids | set([own] if isinstance(own, int) else own or ()))


class Decoding:
    """A batch being decoded: its cache, which places of it are real, and the last logits.

    Attributes:
        logits_BV: of the tokens to come.
        ctc_logits_ALV: of the windows that were read, where the model has a CTC head.
    """

    def __init__(
        self,
        model: EurekaAudioForConditionalGeneration,
        cache: RoomyCache,
        mask_BT: Tensor,
        lengths_B: Tensor,
    ) -> None:
        self._model = model
        self._cache = cache
        self._mask_BT = mask_BT
        self._lengths_B = lengths_B  # real tokens so far
        self.logits_BV = mask_BT.new_zeros(0)
        self.ctc_logits_ALV: Tensor | None = None

    @classmethod
    def start(
        cls,
        model: EurekaAudioForConditionalGeneration,
        input_ids: Tensor,
        attention_mask: Tensor,
        **audio: Tensor,
    ) -> "Decoding":
        """Read prompts `(B, T)`, padded on the left, with their audio."""
        decoding = cls(model, RoomyCache(), attention_mask[:, :0], attention_mask[:, 0] * 0)
        decoding.extend(input_ids, attention_mask, audio=audio)
        return decoding

    def extend(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        audio: Mapping[str, Tensor] | None = None,
        logits_to_keep: int = 1,
    ) -> Tensor:
        """Read tokens `(B, T)`, 0 in the mask where padding; returns logits `(B, kept, V)`."""
        mask_BT = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        self._mask_BT = torch.cat([self._mask_BT, mask_BT], dim=1)
        counted_BT = mask_BT.cumsum(dim=1)
        positions_BT = (self._lengths_B[:, None] + counted_BT - 1).clamp(min=0)
        self._lengths_B = self._lengths_B + counted_BT[:, -1]
        is_single = gains_from_matrix_vector(input_ids.numel(), input_ids.device, self._model.dtype)
        with matrix_vector_products() if is_single else nullcontext():
            output = self._model(
                input_ids=input_ids,
                attention_mask=self._mask_BT,
                position_ids=positions_BT,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=logits_to_keep,
                **(audio or {}),
            )
        self.logits_BV = output.logits[:, -1]
        if audio:
            self.ctc_logits_ALV = output.ctc_logits
        logits: Tensor = output.logits
        return logits

    def fork(self, rows: Tensor) -> "Decoding":
        """Go on apart with the given rows; a row may be taken several times."""
        branch = Decoding(
            self._model, self._cache.fork(rows), self._mask_BT[rows], self._lengths_B[rows]
        )
        branch.logits_BV = self.logits_BV[rows]
        return branch
