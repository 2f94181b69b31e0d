"""A set as a folder that Hugging Face's `datasets` loads: a card, parquet, and what is heard.

    FOLDER/README.md                  the card, which names the files
    FOLDER/data/train-00000.parquet   rows: id, audio, messages, question, choices, answer, meta

`load_dataset(FOLDER)` decodes the audio, whether it is included or referenced.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from eureka_audio.dataflux.export import audio_of, provenance_of, row_of, taught
from eureka_audio.dataflux.items import Fate
from eureka_audio.dataflux.store import Store
from eureka_audio.durable import atomic_folder
from eureka_audio.errors import MissingDependencyError, RunError

ROWS_PER_FILE, ROWS_PER_GROUP = 2_000, 100
_CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
task_categories:
- audio-text-to-text
size_categories:
- {size}
---
# Audio questions made by DataFlux

{number:,} multiple-choice questions about recordings. Each has its full provenance in `meta`, as
JSON: the caption, every model's answer, the attempts without the audio, the verdict, all replies.
"""


def write_datasets_folder(
    store: Store,
    folder: Path,
    fates: Collection[Fate],
    rejected: Collection[str] = (),
    *,
    with_audio: bool,
) -> tuple[int, int]:
    """Write the folder, whole or not at all.

    Args:
        store: the books.
        folder: to be made; one that is there already is replaced.
        fates: which items.
        rejected: ids of items that a person rejected: they are left out.
        with_audio: the bytes of the files go into the parquet; else only their paths.

    Returns:
        How many rows it has, and how many were left out as rejected.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        RunError: there is nothing to write, or a recording is gone.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            "expected the package pyarrow to write parquet, found none; install "
            "eureka-audio[dataflux]"
        ) from error
    audio = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    texts = ("id", "leaf", "messages", "question", "answer", "meta")
    fields = [(name, arrow.string()) for name in texts]
    schema = arrow.schema([*fields, ("audio", audio), ("choices", arrow.list_(arrow.string()))])
    schema = schema.with_metadata({"huggingface": json.dumps(_features(schema.names))})
    chosen = [item.id for item, _ in taught(store, fates)] if rejected else []
    left_out = sum(name in rejected for name in chosen)
    rows, number = _rows(store, folder, fates, rejected, with_audio), 0
    with atomic_folder(folder) as made:
        (made / "data").mkdir()
        while batch := list(islice(rows, ROWS_PER_FILE)):
            table = arrow.Table.from_pylist(batch, schema)
            name = f"train-{number // ROWS_PER_FILE:05d}.parquet"
            parquet.write_table(table, made / "data" / name, row_group_size=ROWS_PER_GROUP)
            number += len(batch)
        if not number:
            raise RunError(f"expected kept items in {store.folder}, found none left; run longer")
        size = "n<1K" if number < 1_000 else "1K<n<10K" if number < 10_000 else "10K<n<100K"
        (made / "README.md").write_text(_CARD.format(size=size, number=number), "utf-8")
    return number, left_out


def _features(names: list[str]) -> Mapping[str, Any]:
    """What `datasets` reads of the columns' meaning."""
    features: dict[str, Any] = {name: {"dtype": "string", "_type": "Value"} for name in names}
    features["audio"] = {"_type": "Audio"}
    features["choices"] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
    return {"info": {"features": features}}


def _rows(
    store: Store,
    folder: Path,
    fates: Collection[Fate],
    rejected: Collection[str],
    with_audio: bool,
) -> Iterator[dict[str, Any]]:
    for item, choice in taught(store, fates):
        question = item.question
        if item.id in rejected or question is None:
            continue
        row = row_of(item, choice, {}, folder)
        path = Path(audio_of(row))
        try:
            sound = path.read_bytes() if with_audio else None
        except OSError as error:
            raise RunError(f"expected the recording {path}, got: {error}; put it back") from error
        name = path.name if with_audio else str(path)
        yield {
            "id": row.id,
            "leaf": item.leaf,
            "audio": {"bytes": sound, "path": name},
            "messages": json.dumps([message.model_dump(mode="json") for message in row.messages]),
            "question": question.query,
            "choices": list(question.choices),
            "answer": question.choices[choice],
            "meta": json.dumps(provenance_of(item, store)),
        }
