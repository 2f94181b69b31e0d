"""How good the rule-based judge and the selection are on scenes whose truth is known.

    python benchmarks/dataflux_judge.py --scenes 400

Every question of every scene is put through verdict and selection once as it is and once with each
planted error. A good item should pass; an item with an error should not. No model is asked, so what
is measured is the judge and what stands around it, not somebody's hearing.

    wrong_caption       the caption of another scene, which contradicts this one
    wrong_key           the writer holds a wrong option for right; the models answer the truth
    swapped_answers     both models choose the same wrong option
    one_wrong           the models disagree
    hallucinated_event  the caption names a sound that is not there, and the question asks for it
    answerable          a model picks the right option without hearing anything
"""

import argparse
import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from dataflux_world import write_result

from eureka_audio.dataflux import control, question, verdict
from eureka_audio.dataflux.config import ControlConfig, QuestionConfig, VerdictConfig
from eureka_audio.dataflux.items import Control
from eureka_audio.dataflux.refusals import RefusalError
from eureka_audio.dataflux.selection import judged
from eureka_audio.dataflux.taxonomy import Leaf, read_taxonomy
from eureka_audio.protocols import Reply
from eureka_audio.records import Answer, AudioClip, Question
from eureka_audio.synthesis.parts import Material
from eureka_audio.synthesis.scenes import compose_scene
from eureka_audio.tasks.labels import labels_of
from eureka_audio.tasks.rules import RuleJudge, RuleWriter

HERE = Path(__file__).resolve().parent
CONTROL = ControlConfig()
KINDS = (
    "wrong_caption",
    "wrong_key",
    "swapped_answers",
    "one_wrong",
    "hallucinated_event",
    "answerable",
)


@dataclass(frozen=True)
class Case:
    """One item as it reaches the judge."""

    clip: AudioClip
    caption: str
    leaf: Leaf
    question: Question
    choices: tuple[int, int]
    knows: bool = False

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The answers of two models, their reasoning as empty as rules have it."""
        return tuple(Answer(model=f"m{n}", choice=c) for n, c in enumerate(self.choices))


def good_cases(scenes: list[AudioClip]) -> Iterator[Case]:
    """Every leaf's questions about every scene, answered rightly."""
    places = count()
    leaves = [leaf for leaf in read_taxonomy().leaves.values() if leaf.skill]
    for clip in scenes:
        for leaf in leaves:
            for asked in written(clip, clip.dense_caption or "", leaf, places):
                yield Case(clip, clip.dense_caption or "", leaf, asked, (asked.answer,) * 2)


def written(clip: AudioClip, caption: str, leaf: Leaf, places: Iterator[int]) -> list[Question]:
    """What the rules ask about a clip, arranged as a run does."""
    request = question.ask(clip, caption, leaf, QuestionConfig(model="w", number=1), 0)
    reply = asyncio.run(RuleWriter().reply(request))
    assert isinstance(reply, Reply), reply
    return [
        question.arranged(one, next(places), clip.id)
        for one, fault in question.read(reply, 1)
        if not fault
    ]


def planted(kind: str, case: Case, alike: list[Case], dice: random.Random) -> Case | None:
    """The same item with an error; None where this item cannot have it.

    Args:
        kind: of error.
        case: a good item.
        alike: good items of other scenes that ask the same.
        dice: decides what is drawn.
    """
    asked = case.question
    wrong = [place for place in range(len(asked.choices)) if place != asked.answer]
    if kind == "wrong_caption":
        return wrong_caption(case, alike, dice)
    if kind == "wrong_key":
        return replace(case, question=asked.model_copy(update={"answer": dice.choice(wrong)}))
    if kind == "swapped_answers":
        return replace(case, choices=(dice.choice(wrong),) * 2)
    if kind == "one_wrong":
        choices = [asked.answer, dice.choice(wrong)]
        dice.shuffle(choices)
        return replace(case, choices=(choices[0], choices[1]))
    if kind == "answerable":
        return replace(case, knows=True)
    return hallucinated(case, dice)


def wrong_caption(case: Case, alike: list[Case], dice: random.Random) -> Case | None:
    """The caption of a scene of which the same question has another of the choices as answer."""
    truth, choices = case.question.choices[case.question.answer], case.question.choices
    others = [
        other.caption
        for other in alike
        if truth != (said := other.question.choices[other.question.answer]) and said in choices
    ]
    return replace(case, caption=dice.choice(others)) if others else None


def hallucinated(case: Case, dice: random.Random) -> Case | None:
    """A question about a sound that only the caption names; all are taken in by it."""
    if case.leaf.skill != "heard" or case.clip.events is None:
        return None
    there = {event.label for event in case.clip.events} | {case.clip.background}
    label = dice.choice(
        [one for one in ("beep", "siren", "car horn", "thunder") if one not in there]
    )
    assert label in labels_of("sound")
    says = {"beep": "a beep sounds", "siren": "a siren wails"}
    says |= {"car horn": "a car horn sounds", "thunder": "thunder rumbles"}
    caption = case.caption.rstrip(".") + f", then {says[label]}."
    asked = Question(query=f"Is {label} heard in this recording?", choices=("yes", "no"), answer=0)
    return replace(case, caption=caption, question=asked, choices=(0, 0))


def outcome(case: Case, dice: random.Random, turned: bool = False) -> str:
    """What becomes of an item: its fate and reason, "kept" when it passes."""
    answers = case.answers[::-1] if turned else case.answers
    tries = []
    size = len(case.question.choices)
    for kind in CONTROL.kinds:
        number = control.num_tries(size, CONTROL, kind)
        for order in control.orders(size, number, f"{case.clip.id}/{kind}"):
            guess = case.question.answer if case.knows else order[dice.randrange(size)]
            tries.append(Control(kind=kind, model="m0", order=order, choice=guess))
    reason, _ = control.finding(case.question, tries, CONTROL.level)
    if reason:
        return f"discarded: {reason}"
    step = VerdictConfig(model="j")
    request, nonce = verdict.ask(
        case.clip, case.caption, case.leaf, case.question, answers, step, 0
    )
    reply = asyncio.run(RuleJudge().reply(request))
    assert isinstance(reply, Reply), reply
    try:
        found = judged(case.question, answers, verdict.read(reply, answers, nonce))
    except RefusalError as error:
        return f"failed: {error}"
    return "kept" if found is None else f"{found[0]}: {found[1]}"


def order_does_not_matter(case: Case, dice: random.Random) -> bool:
    """Whether an item's fate is the same when the judge sees the answers the other way round."""
    state = dice.getstate()
    first = outcome(case, dice)
    dice.setstate(state)
    return first == outcome(case, dice, turned=True)


def measure(num_scenes: int, seed: int) -> dict[str, object]:
    """Fates by kind, and how well keeping tells good items from bad ones."""
    dice = random.Random(seed)
    scenes = [compose_scene(seed, n, Material("test"))[1] for n in range(num_scenes)]
    good = list(good_cases(scenes))
    alike: dict[tuple[str, str], list[Case]] = {}
    for case in good:
        alike.setdefault((case.leaf.id, case.question.query), []).append(case)
    fates: dict[str, Counter[str]] = {"good": Counter(outcome(case, dice) for case in good)}
    bad = {
        kind: [
            one
            for case in good
            if (one := planted(kind, case, alike[case.leaf.id, case.question.query], dice))
        ]
        for kind in KINDS
    }
    for kind, cases in bad.items():
        fates[kind] = Counter(outcome(case, dice) for case in cases)
    both = [*good, *bad["one_wrong"]]
    same = sum(order_does_not_matter(case, dice) for case in both)
    kept_good = fates["good"]["kept"]
    rows = {}
    for kind in KINDS:
        total, kept = fates[kind].total(), fates[kind]["kept"]
        rows[kind] = {
            "items": total,
            "stopped": total - kept,
            "recall_of_errors": (total - kept) / total if total else None,
            "precision_of_keeping": kept_good / (kept_good + kept) if kept_good + kept else None,
            "fates": dict(fates[kind].most_common()),
        }
    positions = Counter(case.question.answer for case in good if len(case.question.choices) == 4)
    return {
        "scenes": num_scenes,
        "good": {
            "items": len(good),
            "kept": kept_good,
            "recall_of_keeping": kept_good / len(good),
            "fates": dict(fates["good"].most_common()),
        },
        "errors": rows,
        "same_fate_with_answers_in_the_other_order": same / len(both),
        "right_place_of_four": dict(sorted(positions.items())),
    }


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "dataflux_judge.json")
    args = parser.parse_args()
    figures = measure(args.scenes, args.seed)
    write_result(args.out, figures)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
