"""Shares, and how far off they may be."""

import math

_Z95 = 1.959964  # of a standard normal, two-sided


def share(part: float, whole: float) -> float | None:
    """A part of a whole; None where there is no whole."""
    return part / whole if whole else None


def wilson(value: float | None, number: float) -> dict[str, float] | None:
    """The 95 % interval of a share of so many independent cases.

    Source: E. B. Wilson, 1927, equation for the score interval.

    Example:
        >>> {name: round(end, 3) for name, end in wilson(0.5, 10).items()}
        {'low': 0.237, 'high': 0.763}
    """
    if value is None or not number:
        return None
    spread = _Z95**2 / number
    middle = (value + spread / 2) / (1 + spread)
    half = _Z95 * math.sqrt(value * (1 - value) / number + spread / number / 4) / (1 + spread)
    return {"low": max(0.0, middle - half), "high": min(1.0, middle + half)}
