"""What a run leaves for others: kept items as a manifest that training reads unchanged."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from eureka_audio.dataflux.items import CallRecord, Fate, Item
from eureka_audio.dataflux.prompts import read_template
from eureka_audio.dataflux.store import KEPT, Store
from eureka_audio.dataflux.verdict import winning
from eureka_audio.manifest import write_manifest
from eureka_audio.records import AudioPart, ConversationRow, Message, TextPart

KEPT_ONLY: tuple[Fate, ...] = ("kept",)
# The words in which our models are asked to choose, in training as in use.
ASKED_AS = "answer.brief.v1"


def write_kept(store: Store) -> int:
    """Write `DIR/kept.jsonl`, all or nothing; returns how many rows it has."""
    return write_manifest(store.folder / KEPT, rows_of(store, store.folder), defaults=True)


def rows_of(
    store: Store, folder: Path, fates: Collection[Fate] = KEPT_ONLY
) -> Iterator[ConversationRow]:
    """Items as conversations to learn, in the order of the books.

    Args:
        store: the books.
        folder: where the manifest will lie; audio below it is named relative to it.
        fates: which items; of hard ones, those whose right answer the judge has settled.
    """
    for item, choice in taught(store, fates):
        yield row_of(item, choice, provenance_of(item, store), folder)


def taught(store: Store, fates: Collection[Fate]) -> Iterator[tuple[Item, int]]:
    """Items that are worth learning, each with the index of the choice that is taught."""
    for item in store.items():
        if item.fate in fates and item.question is not None:
            choice = target_of(item)
            if choice is not None:
                yield item, choice


def target_of(item: Item) -> int | None:
    """The choice that is taught: the key, where a hard item's judge confirms it."""
    assert item.question is not None, "only items with a question are taught"
    if item.fate == "kept":
        return item.question.answer
    won = None if item.verdict is None else winning(item.verdict, item.answers)
    return won if won == item.question.answer else None


def row_of(item: Item, choice: int, meta: Mapping[str, Any], folder: Path) -> ConversationRow:
    """An item as it is learnt: audio and question, then the answer."""
    question = item.question
    assert question is not None, "only items with a question are taught"
    values = {"question": question.query, "choices": ", ".join(question.choices)}
    conversation, _ = read_template(ASKED_AS).fill(values, {}, _named(item.audio, folder))
    answer = Message(role="assistant", content=(TextPart(text=question.choices[choice]),))
    return ConversationRow(id=item.id, messages=(*conversation.messages, answer), meta=meta)


def _named(audio: str, folder: Path) -> str:
    """The path as a manifest in a folder has it: relative where the file lies below."""
    path, root = Path(audio), folder.resolve()
    return os.path.relpath(path, root) if path.is_relative_to(root) else audio


def provenance_of(item: Item, store: Store) -> dict[str, Any]:
    """Where an item comes from, with every raw reply; what is unknown is null.

    Times are left out: they differ from run to run and say nothing of the item.
    """
    calls = (store.call(key) for key in dict.fromkeys(item.calls))
    return {
        **item.model_dump(mode="json", exclude={"calls", "audio"}),
        "calls": [_as_told(call) for call in calls if call is not None],
    }


def _as_told(call: CallRecord) -> dict[str, Any]:
    return call.model_dump(mode="json", exclude={"seconds"})


def audio_of(row: ConversationRow) -> str:
    """The path of the one recording of a row."""
    (path,) = (
        part.audio
        for message in row.messages
        for part in message.content
        if isinstance(part, AudioPart)
    )
    return str(path)
