"""What DataFlux leaves of each question it tried: where it came from, what became of it and why."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from eureka_audio.records import Answer, Question, Record, Verdict

Fate = Literal["kept", "discarded", "hard", "failed"]
FATES: tuple[Fate, ...] = ("kept", "discarded", "hard", "failed")

REJECTED = "rejected_in_review"
AUDIO = "audio"  # the step in which a candidate fails whose recording is not there

# Why an item was not kept. A failed one has the name of the step it failed in.
REASONS = {
    "category_mismatch": "the clip does not fall under the category",
    "malformed_question": "the question has no single right choice, or gives it away",
    "evaluation_overlap": "the clip or the question belongs to an evaluation set",
    "answered_without_audio": "the right choice was found without hearing anything",
    "answered_with_other_audio": "the right choice was found while hearing something else",
    "conflict_with_caption": "the answers contradict the caption",
    "judge_discards": "the judge found no answer worth keeping",
    "key_disputed": "the winning answer is not the one the question was written for",
    REJECTED: "a person heard it and rejected it",
    "near_duplicate": "almost the same question about the same audio was kept before",
    "surplus": "the leaf had all it needed",
    "disagreement": "the models disagree",
    "weak_match": "the caption supports the answer only in part",
}
ControlKind = Literal["no_audio", "other_audio"]


class Control(Record):
    """One attempt at a question by a model that does not hear its audio.

    Attributes:
        kind: whether nothing was heard or another clip.
        model: who answered.
        order: the indices of the question's choices, in the order they were shown.
        other_clip: the id of the clip that was heard instead.
        choice: the index of the choice that was picked, in the question's own order; `None` where
            none could be read, which counts as not right.
    """

    kind: ControlKind
    model: str
    order: tuple[int, ...]
    other_clip: str | None = None
    choice: int | None = None


class Item(Record):
    """One question, or a candidate that yielded none.

    Attributes:
        id: stable: of the audio's bytes, the leaf and the question's words.
        leaf: where in the taxonomy.
        rank: of its clip among the candidates of the leaf, from 0.
        number: of the question among those of its candidate, from 0.
        clip_id: of the clip.
        audio: its path, absolute.
        audio_sha256: of its file.
        duration_seconds: of the clip.
        fate: what became of it.
        reason: one of `REASONS`, or the step that failed; empty for a kept one.
        detail: in words.
        caption: what the captioner heard.
        question: what was asked.
        answers: in the order the judge was shown them: MODEL_A, MODEL_B, ...
        controls: attempts without the audio.
        verdict: the judge's.
        calls: keys of the calls it rests on; several items may share one.
    """

    id: str
    leaf: str
    rank: int
    number: int
    clip_id: str
    audio: str
    audio_sha256: str
    duration_seconds: float
    fate: Fate
    reason: str = ""
    detail: str = ""
    caption: str | None = None
    question: Question | None = None
    answers: tuple[Answer, ...] = ()
    controls: tuple[Control, ...] = ()
    verdict: Verdict | None = None
    calls: tuple[str, ...] = ()


class CallRecord(Record):
    """One answered call: what was asked of whom, what came back, what it took.

    Attributes:
        key: SHA-256 over everything that shapes the answer.
        step: caption, question, answer, control or verdict.
        model: its name in the configuration.
        prompt: template and version, such as "caption.v1".
        settings: the identity of the model and the parameters of the call.
        attempt: 0, or more where earlier replies could not be read.
        reply: the raw text.
        reasoning: what the model thought before, where it is given apart.
        finish_reason: why the reply ended.
        prompt_tokens, new_tokens, reasoning_tokens, cost: null where unknown.
        seconds: from asking to the answer, waiting for a turn included.
        scores: the probability of each choice, where the model gave it.
        refusal: why the reply could not be used; empty when it could.
    """

    key: str
    step: str
    model: str
    prompt: str
    settings: Mapping[str, Any] = Field(default_factory=dict)
    attempt: int = 0
    reply: str
    reasoning: str = ""
    finish_reason: str = "stop"
    scores: Mapping[str, float] | None = None
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None
    seconds: float = 0.0
    refusal: str = ""
