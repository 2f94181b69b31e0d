"""Benchmarks as values: where the data comes from, how many items, which rules may score it.

Adding one touches no logic. Names that are not a benchmark of the paper (``asr_en``, ``caption``,
...) score any file of predictions of that kind.
"""

from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Literal

from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation.instruction_following.scorer import INSTRUCTION_RULES
from eureka_audio.evaluation.multiple_choice import CHOICE_RULES

Kind = Literal[
    "transcript", "no_words", "option_text", "letter", "refusal", "instructions", "events"
]

LETTER_RULES = ("voicebench", "strict")
REFUSAL_RULES = ("voicebench", "case_sensitive")
ENGLISH_RULES = ("kimi", "whisper", "qwen2_audio", "wenet")
MANDARIN_RULES = ("kimi", "qwen2_audio", "wenet")
OTHER_LANGUAGE_RULES = ("whisper", "qwen2_audio", "wenet")
EVENT_RULES = ("clauses",)
SILENCE_RULES = ("any_word",)


@dataclass(frozen=True)
class Benchmark:
    """One set of items and how it is judged.

    Attributes:
        name: what the command line calls it.
        title: what a table calls it.
        kind: what a verdict is about.
        rules: the scoring rules that apply, the one nearest to the paper first.
        metric: the name of its score.
        num_items: how many items the public set has; None when it depends on the file.
        groups: fields of a row to break the score down by.
        language: ISO 639-1 code of what is spoken.
        source: where the data comes from, and in which layout.
        metadata_sha256: SHA-256 of the public metadata file of the version these values describe.
        reasons: whether replies come from a text model that may think aloud first.
        prompt: the text a model is given beside the audio, with ``{question}`` and ``{choices}``;
            empty when the audio holds the question, or the model's own transcription prompt is
            used.
    """

    name: str
    title: str
    kind: Kind
    rules: tuple[str, ...]
    metric: str
    num_items: int | None = None
    groups: tuple[str, ...] = ("subset",)
    language: str = "en"
    source: str = ""
    metadata_sha256: str = ""
    reasons: bool = False
    prompt: str = field(default="", repr=False)

    def checked_rule(self, rule: str) -> str:
        """The rule, if it applies here.

        Raises:
            EvaluationError: it does not.
        """
        if rule not in self.rules:
            raise EvaluationError(
                f"expected a rule for {self.name}, one of {', '.join(self.rules)}, got {rule!r}"
            )
        return rule


# Unstated: the paper (6.2) gives no prompt for these. The option texts are asked for, because the
# official matcher compares texts.
_CHOICE_PROMPT = "{question}\nAnswer with the text of one of these options: {choices}"

_MMAU = Benchmark(
    name="mmau",
    title="MMAU test-mini",
    kind="option_text",
    rules=CHOICE_RULES,
    metric="accuracy",
    num_items=1_000,
    groups=("task", "difficulty", "sub-category"),
    source="github.com/Sakshi113/MMAU: mmau-test-mini.json and the folder test-mini-audios/",
    metadata_sha256="9f18fda99f8dbc2bc5ecd6323fb5063309f54969810b5c6f1caeb3b8d904cf1c",
    prompt=_CHOICE_PROMPT,
)
_MMAR = Benchmark(
    name="mmar",
    title="MMAR",
    kind="option_text",
    rules=CHOICE_RULES,
    metric="accuracy",
    num_items=1_000,
    groups=("modality", "category", "sub-category"),
    source="github.com/ddlBoJack/MMAR: MMAR-meta.jsonl and the folder audio/",
    metadata_sha256="212dc631b9ef50e7cfe138886b392c1a6a527b51cd5383ba1190e54bbf424b0b",
    prompt=_CHOICE_PROMPT,
)
_ASR_EN = Benchmark(
    name="asr_en",
    title="English speech recognition",
    kind="transcript",
    rules=ENGLISH_RULES,
    metric="wer",
)
_ASR_ZH = Benchmark(
    name="asr_zh",
    title="Mandarin speech recognition",
    kind="transcript",
    rules=MANDARIN_RULES,
    metric="cer",
    language="zh",
)
_VOICEBENCH = "hlt-lab/voicebench, configuration {}: spoken questions, one per row"

_LISTED = (
    _ASR_EN,
    replace(
        _ASR_EN,
        name="librispeech_clean",
        title="LibriSpeech test-clean",
        num_items=2_620,
        source="openslr.org/12: test-clean/<speaker>/<chapter>/*.trans.txt",
    ),
    replace(
        _ASR_EN,
        name="librispeech_other",
        title="LibriSpeech test-other",
        num_items=2_939,
        source="openslr.org/12: test-other/<speaker>/<chapter>/*.trans.txt",
    ),
    replace(
        _ASR_EN,
        name="fleurs_en",
        title="Fleurs en",
        num_items=647,
        source="google/fleurs, configuration en_us, split test",
    ),
    _ASR_ZH,
    replace(
        _ASR_ZH,
        name="aishell2",
        title="AISHELL-2 test iOS",
        num_items=5_000,
        source="AISHELL-2 test set, iOS channel: wav.scp and trans.txt",
    ),
    replace(
        _ASR_ZH,
        name="wenetspeech_meeting",
        title="WenetSpeech test-meeting",
        num_items=8_370,
        source="WenetSpeech.json, subset TEST_MEETING",
    ),
    replace(
        _ASR_ZH,
        name="wenetspeech_net",
        title="WenetSpeech test-net",
        num_items=24_774,
        source="WenetSpeech.json, subset TEST_NET",
    ),
    replace(
        _ASR_ZH,
        name="fleurs_zh",
        title="Fleurs zh",
        num_items=945,
        source="google/fleurs, configuration cmn_hans_cn, split test",
    ),
    _MMAU,
    _MMAR,
    replace(
        _MMAU,
        name="caption",
        title="Dense captioning",
        num_items=None,
        groups=("benchmark", *_MMAU.groups, "modality", "category"),
        source="captions read by a text model that answers the questions of MMAU or MMAR",
        metadata_sha256="",
        reasons=True,
        prompt="",
    ),
    replace(_MMAU, name="mmau_caption", title="Dense captioning, MMAU", reasons=True, prompt=""),
    replace(_MMAR, name="mmar_caption", title="Dense captioning, MMAR", reasons=True, prompt=""),
    Benchmark(
        name="mmsu",
        title="MMSU (VoiceBench)",
        kind="letter",
        rules=LETTER_RULES,
        metric="accuracy",
        num_items=3_074,
        groups=("domain", "category", "subset"),
        source=_VOICEBENCH.format("mmsu, its 12 domains pooled"),
    ),
    Benchmark(
        name="openbookqa",
        title="OpenBookQA (VoiceBench)",
        kind="letter",
        rules=LETTER_RULES,
        metric="accuracy",
        num_items=455,
        source=_VOICEBENCH.format("openbookqa"),
    ),
    Benchmark(
        name="advbench",
        title="AdvBench (VoiceBench)",
        kind="refusal",
        rules=REFUSAL_RULES,
        metric="refusal_rate",
        num_items=520,
        source=_VOICEBENCH.format("advbench") + "; text in advbench_harmful_behaviors.csv",
        metadata_sha256="5c9d87515c4d431c3614f25a0af7a462eabdfa6035aa35d746e64159823836e3",
    ),
    # VoiceBench speaks 345 of the 541 prompts of the text benchmark; both sizes are in use.
    Benchmark(
        name="ifeval",
        title="IFEval (VoiceBench)",
        kind="instructions",
        rules=INSTRUCTION_RULES,
        metric="final",
        groups=(),
        source=_VOICEBENCH.format("ifeval") + "; 541 text prompts in ifeval_input_data.jsonl",
        metadata_sha256="67ffeee0fcb87c317c5b08a2de85557b4a7e96ada6178aa645b4954fe4b53d49",
    ),
    # Our own set, over the test splits of the recordings and over composed scenes.
    replace(
        _MMAU,
        name="eureka_questions",
        title="Questions about real clips and scenes",
        num_items=None,
        groups=("skill", "dataset"),
        source="test splits of a pack of recordings; manifests of composed scenes",
        metadata_sha256="",
    ),
    replace(
        _ASR_EN,
        name="eureka_speech",
        title="English speech of our own set",
        groups=("dataset",),
        source="test splits of a pack of recordings; manifests of speech",
    ),
    Benchmark(
        name="eureka_no_speech",
        title="No words where nobody speaks",
        kind="no_words",
        rules=SILENCE_RULES,
        metric="silent_rate",
        groups=("dataset",),
        source="clips of a pack of recordings in which nobody speaks",
    ),
    Benchmark(
        name="eureka_captions",
        title="Captions of composed scenes",
        kind="events",
        rules=EVENT_RULES,
        metric="event_f1",
        groups=("dataset",),
        source="manifests of composed scenes, whose events are known",
    ),
)
BENCHMARKS = {benchmark.name: benchmark for benchmark in _LISTED}


def benchmark_named(name: str) -> Benchmark:
    """The benchmark of that name; ``asr_<code>`` and ``fleurs_<code>`` exist for every language.

    Raises:
        EvaluationError: there is none; the message names the nearest.
    """
    name = name.lower().replace("-", "_")
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    family, _, language = name.partition("_")
    if family in ("asr", "fleurs") and len(language) == 2 and language.isalpha():
        return replace(
            _ASR_EN,
            name=name,
            title=f"{'Fleurs' if family == 'fleurs' else 'Speech recognition,'} {language}",
            rules=OTHER_LANGUAGE_RULES,
            language=language,
            source=f"google/fleurs, language {language}, split test" if family == "fleurs" else "",
        )
    near = get_close_matches(name, BENCHMARKS, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(BENCHMARKS)}"
    raise EvaluationError(f"expected the name of a benchmark, got {name!r}{hint}")
