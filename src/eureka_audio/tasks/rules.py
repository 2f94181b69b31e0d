"""A question writer and a judge that work by rules: what DataFlux uses where no language model is.

They know what our labels and our language of captions can say, and nothing else: of a composed
scene what is true by construction, of any other clip what its caption says where it can be read.
Both meet `protocols.AsyncModel` and answer in the JSON that a language model is asked for.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from eureka_audio.errors import EndpointError, EurekaAudioError
from eureka_audio.protocols import Reply, Request
from eureka_audio.records import AudioClip, Question
from eureka_audio.tasks.caption_reading import read_caption
from eureka_audio.tasks.facts import Fact
from eureka_audio.tasks.phrases import THING, mention, phrases
from eureka_audio.tasks.questions import SKILLS

MAX_CHOICES = 4
WRITER, JUDGE = "writer", "judge"


def rule_model(name: str) -> "RuleWriter | RuleJudge":
    """The rules of a name.

    Raises:
        KeyError: there are none.
    """
    rules: dict[str, type[RuleWriter] | type[RuleJudge]] = {WRITER: RuleWriter, JUDGE: RuleJudge}
    return rules[name]()


def known_clip(inputs: Mapping[str, Any]) -> AudioClip | None:
    """All that is known of the recording: by construction, else from its caption."""
    clip: AudioClip = inputs["clip"]
    if clip.events is not None or clip.speaker is not None:
        return clip
    return read_caption(inputs["caption"], clip.id)


class RuleWriter:
    """Writes questions whose answers follow from labels."""

    async def reply(self, request: Request) -> Reply | EurekaAudioError:
        """Questions as JSON, or a mismatch where nothing is known of the category."""
        leaf, number = request.inputs["leaf"], int(request.inputs["number"])
        clip = known_clip(request.inputs)
        facts = SKILLS[leaf.skill](clip) if clip is not None and leaf.skill in SKILLS else []
        facts = [fact for fact in facts if fact.others]
        if not facts:
            return Reply(json.dumps({"is_success": False, "questions": []}))
        seed = [request.seed, *request.inputs["clip"].id.encode()]
        rng = np.random.default_rng(seed)
        rows = [_row(leaf.skill, fact, rng) for fact in _drawn(facts, number, rng)]
        return Reply(json.dumps({"is_success": True, "questions": rows}))


def _drawn(facts: list[Fact], number: int, rng: np.random.Generator) -> list[Fact]:
    """Different facts, every answer among them as likely, so that yes is no better than no."""
    left, drawn = list(facts), list[Fact]()
    while left and len(drawn) < number:
        answers = list(dict.fromkeys(fact.answer for fact in left))
        answer = answers[rng.integers(len(answers))]
        of_it = [fact for fact in left if fact.answer == answer]
        fact = of_it[rng.integers(len(of_it))]
        drawn.append(fact)
        left.remove(fact)
    return drawn


def _row(skill: str, fact: Fact, rng: np.random.Generator) -> dict[str, Any]:
    """One question, its right option first."""
    rest = [other for other in fact.others if other not in fact.likely]
    wrong = [str(one) for pool in (list(fact.likely), rest) for one in rng.permutation(pool)]
    options = [fact.answer, *wrong[: MAX_CHOICES - 1]]
    wordings = (phrases()[skill].plain, *phrases()[skill].phrases)
    words = wordings[rng.integers(len(wordings))]
    if fact.thing is not None:
        words = words.replace(THING, mention(fact.thing, fact.thing, words))
    return {"question": words[0].upper() + words[1:], "options": options, "answer": 0}


class RuleJudge:
    """Judges answers by what is known; a caption that says otherwise conflicts."""

    async def reply(self, request: Request) -> Reply | EurekaAudioError:
        """A verdict as JSON."""
        inputs = request.inputs
        question: Question = inputs["question"]
        leaf, answers = inputs["leaf"], inputs["answers"]
        if leaf.skill not in SKILLS:
            return EndpointError(f"expected a leaf with a skill, got {leaf.id}", retryable=False)
        told = _true_choice(read_caption(inputs["caption"]), leaf.skill, question)
        known = _true_choice(inputs["clip"], leaf.skill, question)
        truth = known or told
        right = [a.choice is not None and question.choices[a.choice] == truth for a in answers]
        winner = "NONE" if not any(right) else "TIE" if all(right) else _name(right.index(True))
        match = "WEAK_MATCH" if told is None else "STRONG_MATCH" if told == truth else "CONFLICT"
        verdict = {
            "nonce": inputs["nonce"],
            "consensus": len({a.choice for a in answers}) == 1 and answers[0].choice is not None,
            "consistency_with_caption": match,
            "winner": winner,
            "reasoning": f"known: {known or 'nothing'}; the caption says: {told or 'nothing'}",
            "final_action": "DISCARD" if winner == "NONE" else "KEEP_USING_WINNER",
        }
        return Reply(json.dumps(verdict))


def _name(index: int) -> str:
    return f"MODEL_{'ABCDEFGH'[index]}"


def _true_choice(clip: AudioClip | None, skill: str, question: Question) -> str | None:
    """The choice that is true of a clip; None where nothing says so."""
    facts = [] if clip is None else SKILLS[skill](clip)
    query = question.query.lower()
    asked = [fact for fact in facts if fact.thing is None or fact.thing in query]
    # "bass clarinet" names the clarinet too: the longest name is the one that is meant.
    asked.sort(key=lambda fact: -len(fact.thing or ""))
    return next((fact.answer for fact in asked if fact.answer in question.choices), None)
