"""Reading a file of predictions, row by row, so that no row can vanish.

A row is one JSON object per line with ``uid``, ``prediction`` and whatever its benchmark needs. A
line that cannot be used still becomes a row, one that says why.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eureka_audio.errors import EvaluationError

_UID_KEYS = ("uid", "id", "key", "index")
_PREDICTION_KEYS = ("prediction", "model_output", "answer_prediction", "model_prediction")


class UnusableRowError(EvaluationError):
    """A row cannot be scored.

    Attributes:
        reason: why, in a few words that are the same for every row of this kind; rows are counted
            under it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class PredictionRow:
    """One item with the reply it got.

    Attributes:
        uid: the item's name; None when the line holds none.
        prediction: the raw reply; None when there is none.
        fields: everything the line holds.
        place: ``path:line``.
        defect: why the row cannot be scored at all, or None.
    """

    uid: str | int | None
    prediction: str | None
    fields: Mapping[str, Any]
    place: str
    defect: UnusableRowError | None = None

    def text(self, *names: str) -> str:
        """The first of these fields that is there, as a string.

        Raises:
            UnusableRowError: none is, or it is not a string.
        """
        for name in names:
            value = self.fields.get(name)
            if isinstance(value, str):
                return value
            if value is not None:
                raise self.unusable(f"{name} is not a string", f"a string as {name}", value)
        raise self.unusable(f"no {names[0]}", f"a field {' or '.join(names)}", "none")

    def items(self, name: str) -> list[Any]:
        """A field that is a list.

        Raises:
            UnusableRowError: it is missing, or something else.
        """
        value = self.fields.get(name)
        if not isinstance(value, list):
            raise self.unusable(f"{name} is not a list", f"a list as {name}", value)
        return value

    def texts(self, name: str) -> list[str]:
        """A field that is a list of strings.

        Raises:
            UnusableRowError: it is missing, or something else.
        """
        values = self.items(name)
        if not all(isinstance(value, str) for value in values):
            raise self.unusable(f"{name} are not strings", f"strings in {name}", values)
        return values

    def unusable(self, reason: str, expected: str, got: object) -> UnusableRowError:
        """The error that says what this row lacks."""
        shown = repr(got) if got != "none" else got
        return UnusableRowError(
            reason, f"{self.place}: expected {expected}, got {shown}; correct the row"
        )


@dataclass
class PredictionFile:
    """A file of predictions, read lazily; after one reading, ``sha256`` names its content."""

    path: Path
    sha256: str = field(default="", init=False)

    def __iter__(self) -> Iterator[PredictionRow]:
        """Every line that is not blank, in order.

        Raises:
            EvaluationError: there is no such file.
        """
        if not self.path.is_file():
            raise EvaluationError(
                f"expected a file of predictions, found none at {self.path}; check the path"
            )
        digest = hashlib.sha256()
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                digest.update(line)
                if line.strip():
                    yield _read_row(line, f"{self.path}:{number}")
        self.sha256 = digest.hexdigest()


def _read_row(line: bytes, place: str) -> PredictionRow:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _defective(
            place, "not JSON", f"a JSON object, got a line that is not JSON ({error})"
        )
    if not isinstance(fields, dict):
        return _defective(place, "not an object", f"a JSON object, got {type(fields).__name__}")
    uid = next((fields[key] for key in _UID_KEYS if fields.get(key) is not None), None)
    if not isinstance(uid, str | int):
        return _defective(place, "no uid", f"a string or number as uid, got {uid!r}", fields)
    prediction = next((fields[key] for key in _PREDICTION_KEYS if key in fields), None)
    if prediction is not None and not isinstance(prediction, str):
        return _defective(
            place,
            "prediction is not a string",
            f"a string or null as prediction, got {type(prediction).__name__}",
            fields,
            uid,
        )
    return PredictionRow(uid, prediction, fields, place)


def _defective(
    place: str,
    reason: str,
    expected: str,
    fields: Mapping[str, Any] | None = None,
    uid: str | int | None = None,
) -> PredictionRow:
    error = UnusableRowError(reason, f"{place}: expected {expected}; correct the row")
    return PredictionRow(uid, None, fields or {}, place, defect=error)
