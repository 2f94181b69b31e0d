"""The public metadata of a benchmark, read item by item.

An item is a prediction row that has no prediction yet: ``uid``, what the scorer needs, the fields
it is grouped by and, where there is a recording, ``audio`` relative to the benchmark's folder.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation.benchmarks import Benchmark

Item = dict[str, Any]


def read_items(benchmark: Benchmark, metadata: str | Path) -> Iterator[Item]:
    """Read the items of a benchmark's metadata file.

    Args:
        benchmark: MMAU, MMAR, IFEval or AdvBench, or dense captioning on the first two.
        metadata: the file its authors publish.

    Raises:
        EvaluationError: the file is missing or not in that layout, or the benchmark publishes no
            such file.
    """
    path = Path(metadata)
    reader = _READERS.get(benchmark.name)
    if reader is None:
        raise EvaluationError(
            f"expected a benchmark with a metadata file, one of {', '.join(_READERS)}, got"
            f" {benchmark.name!r}; give predictions or a manifest instead"
        )
    if not path.is_file():
        raise EvaluationError(
            f"expected the metadata of {benchmark.title}, found no file at {path}; it comes from"
            f" {benchmark.source}"
        )
    try:
        yield from reader(path)
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"expected the layout of {benchmark.source} in {path}, got something else"
            f" ({type(error).__name__}: {error}); check the file"
        ) from error


def is_known_version(benchmark: Benchmark, metadata: str | Path) -> bool:
    """Whether the file is, byte for byte, the version whose figures this package states."""
    with Path(metadata).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == benchmark.metadata_sha256


def _read_mmau(path: Path) -> Iterator[Item]:
    with path.open(encoding="utf-8") as stream:
        yield from _questions(json.load(stream), audio="audio_id")


def _read_mmar(path: Path) -> Iterator[Item]:
    yield from _questions(_json_lines(path), audio="audio_path")


def _questions(rows: Iterable[Item], audio: str) -> Iterator[Item]:
    for row in rows:
        kept = {key: value for key, value in row.items() if key not in ("id", audio)}
        yield {"uid": row["id"], "audio": row[audio], **kept}


def _read_ifeval(path: Path) -> Iterator[Item]:
    for row in _json_lines(path):
        kept = {key: row[key] for key in ("prompt", "instruction_id_list", "kwargs")}
        yield {"uid": row["key"], **kept}


def _read_advbench(path: Path) -> Iterator[Item]:
    with path.open(encoding="utf-8", newline="") as stream:
        for index, row in enumerate(csv.DictReader(stream)):
            yield {"uid": f"advbench-{index}", "prompt": row["goal"]}


def _json_lines(path: Path) -> Iterator[Item]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            if line.strip():
                yield json.loads(line)


_READERS: dict[str, Callable[[Path], Iterator[Item]]] = {
    "mmau": _read_mmau,
    "mmau_caption": _read_mmau,
    "mmar": _read_mmar,
    "mmar_caption": _read_mmar,
    "ifeval": _read_ifeval,
    "advbench": _read_advbench,
}
