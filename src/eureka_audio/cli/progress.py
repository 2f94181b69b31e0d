"""A progress bar on stderr for commands that work through many things."""


class ProgressBar:
    """Counts what is finished; shown on a terminal only.

    Args:
        total: how much there is, `None` where that is not known.
        unit: what is counted.
    """

    def __init__(self, total: int | None, unit: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit=unit, disable=None)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def advance(self, count: int) -> None:
        """So many more are finished."""
        self._bar.update(count)
