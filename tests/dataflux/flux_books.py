"""Items as a run leaves them, made by hand, and books that hold them."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from eureka_audio.asking.claim import claim_folder
from eureka_audio.dataflux.items import CallRecord, Control, Fate, Item
from eureka_audio.dataflux.store import open_store
from eureka_audio.records import Answer, Question, Verdict

ANIMAL, SPEAKER = "sound/events/kind/animals", "speech/speaker/identity/gender"
GENRE = "music/genre/style/which"


def beep(path: Path, seconds: float = 1.0, hertz: float = 440.0) -> Path:
    """A recording of one tone."""
    time = np.arange(int(16_000 * seconds)) / 16_000
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.2 * np.sin(2 * np.pi * hertz * time), 16_000, subtype="PCM_16")
    return path


def verdict(winner: str = "TIE", *, keep: bool = True, agree: bool = True) -> Verdict:
    return Verdict(
        consensus=agree,
        consistency_with_caption="STRONG_MATCH" if keep else "CONFLICT",
        winner=winner,
        reasoning="The caption names a dog.",
        final_action="KEEP_USING_WINNER" if keep else "DISCARD",
    )


def item(
    number: int,
    fate: Fate,
    reason: str = "",
    *,
    leaf: str = ANIMAL,
    right: int = 0,
    choices: Sequence[str] = ("dog", "cat", "cow", "crow"),
    picked: tuple[int | None, int | None] | None = None,
    judged: Verdict | None = None,
    controls: Sequence[Control] = (),
    audio: Path | str = "clip.wav",
    query: str = "Which animal is heard?",
    asked: bool = True,
) -> Item:
    """One item; answerers a and b picked the choices `picked`."""
    names = ("a", "b")
    return Item(
        id=f"{leaf}-{number}",
        leaf=leaf,
        rank=number,
        number=0,
        clip_id=f"clip-{number}",
        audio=str(audio),
        audio_sha256=f"{number:064x}",
        duration_seconds=1.0,
        fate=fate,
        reason=reason,
        caption="A dog barks twice.",
        question=Question(query=query, choices=tuple(choices), answer=right) if asked else None,
        answers=tuple(
            Answer(model=name, choice=choice, reasoning=f"{name} heard it")
            for name, choice in zip(names, picked or (), strict=False)
        ),
        controls=tuple(controls),
        verdict=judged,
    )


def control(kind: str, model: str, choice: int | None) -> Control:
    return Control(kind=kind, model=model, order=(0, 1, 2, 3), choice=choice)  # type: ignore[arg-type]


def call(key: str, step: str, model: str, **told: float | str | None) -> CallRecord:
    return CallRecord(
        key=key,
        step=step,
        model=model,
        prompt=f"{step}.v1",
        reply="",
        **told,  # type: ignore[arg-type]
    )


def write_books(
    folder: Path,
    items: Sequence[Item],
    calls: Sequence[CallRecord] = (),
    seconds: float | None = None,
    leaves: Sequence[str] = (),
    per_leaf: int = 2,
) -> Path:
    """The folder of a run with these books."""
    folder.mkdir(parents=True, exist_ok=True)
    claim_folder(
        folder,
        {
            "config.leaves": list(leaves),
            "config.selection": {"per_leaf": per_leaf},
            "config.taxonomy": None,
        },
    )
    with open_store(folder) as store:

        async def put() -> None:
            await store.put_items((one, False) for one in items)
            for one in calls:
                await store.put_call(one)

        with ThreadPoolExecutor(1) as thread:  # a browser may have an event loop in this one
            thread.submit(asyncio.run, put()).result()
        if seconds is not None:
            store.set_fact("seconds", seconds)
    return folder


WANTED = {ANIMAL: 2, SPEAKER: 2, GENRE: 2}


def small_run(audio: Path | str = "clip.wav") -> list[Item]:
    """Six items, one of each way to end; small enough to count by hand."""
    deaf = [control("no_audio", "a", choice) for choice in (1, 2)]
    elsewhere = [control("other_audio", "a", choice) for choice in (0, 3)]
    people = ("woman", "man")
    return [
        item(0, "kept", picked=(0, 0), judged=verdict(), controls=deaf + elsewhere, audio=audio),
        item(
            1,
            "hard",
            "disagreement",
            right=1,
            picked=(1, 2),
            judged=verdict("MODEL_A", agree=False),
            controls=[control("no_audio", "a", choice) for choice in (1, 0)],
            audio=audio,
        ),
        item(
            2,
            "discarded",
            "answered_without_audio",
            right=2,
            picked=(2, 2),
            controls=[control("no_audio", "a", 2)] * 2,
            audio=audio,
        ),
        item(3, "discarded", "category_mismatch", asked=False, audio=audio),
        item(
            0,
            "failed",
            "verdict",
            leaf=SPEAKER,
            choices=people,
            right=1,
            picked=(1, None),
            audio=audio,
        ),
        item(
            1,
            "discarded",
            "judge_discards",
            leaf=SPEAKER,
            choices=people,
            picked=(1, 1),
            judged=verdict("NONE", keep=False),
            audio=audio,
        ),
    ]


def small_calls() -> list[CallRecord]:
    """Three calls that tell their tokens and cost in part."""
    return [
        call("1", "caption", "cap", prompt_tokens=10, new_tokens=5, seconds=1.0),
        call("2", "caption", "cap", prompt_tokens=20, cost=0.5, seconds=2.0, refusal="no JSON"),
        call("3", "answer", "a", prompt_tokens=1, new_tokens=1, reasoning_tokens=1, cost=0.25),
    ]
