"""Placeholders against embeddings, row by row.

Scattering embeddings into placeholders succeeds whenever the totals agree; then one row with too
many and one with too few shift the audio of every row between them, silently. So runs, windows and
lengths are compared one by one.
"""

import torch
from torch import Tensor

from eureka_audio.errors import PlaceholderMismatchError


def run_lengths(is_audio_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Find the unbroken runs of placeholders.

    Args:
        is_audio_BT: `(B, T)` bool.

    Returns:
        `(R,)` row of each run and `(R,)` its length, in reading order.
    """
    edges_BT = torch.diff(
        is_audio_BT.to(torch.int8),
        prepend=is_audio_BT.new_zeros(len(is_audio_BT), 1, dtype=torch.int8),
        append=is_audio_BT.new_zeros(len(is_audio_BT), 1, dtype=torch.int8),
    )
    rows_R, starts_R = (edges_BT == 1).nonzero(as_tuple=True)
    _, ends_R = (edges_BT == -1).nonzero(as_tuple=True)
    return rows_R, ends_R - starts_R


def check_placeholders(is_audio_BT: Tensor, token_lengths: Tensor | None) -> None:
    """Refuse a batch in which some row's placeholders are not its windows' audio tokens.

    Args:
        is_audio_BT: `(B, T)` bool, where the placeholders are.
        token_lengths: `(A,)` audio tokens of each window, row after row; `None` without audio.

    Raises:
        PlaceholderMismatchError: names the first row that is off, what it should hold and what it
            holds.
    """
    rows_R, lengths_R = run_lengths(is_audio_BT)
    if token_lengths is None:
        token_lengths = lengths_R.new_zeros(0)
    if torch.equal(lengths_R, token_lengths.to(lengths_R)):
        return
    rows, found, expected = rows_R.tolist(), lengths_R.tolist(), token_lengths.tolist()
    for window, (row, length) in enumerate(zip(rows, found, strict=True)):
        if window >= len(expected) or length != expected[window]:
            tokens = f"{expected[window]} audio tokens" if window < len(expected) else "no audio"
            raise PlaceholderMismatchError(
                f"audio placeholders of row {row}: expected {tokens} (window {window} of "
                f"{len(expected)}), got a run of {length}; {_REMEDY}"
            )
    runs_per_row = [rows.count(row) for row in range(len(is_audio_BT))]
    row = min(range(len(runs_per_row)), key=runs_per_row.__getitem__)
    raise PlaceholderMismatchError(
        f"audio placeholders of {len(runs_per_row)} rows: expected {len(expected)} windows, "
        f"got {len(found)} runs, by row {runs_per_row} (row {row} has the fewest); {_REMEDY}"
    )


_REMEDY = "let the processor write placeholders and features together, one run for each window"
