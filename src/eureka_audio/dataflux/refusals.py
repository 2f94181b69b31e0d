"""A reply that is not what was asked for: why it cannot be used."""

import json
from collections.abc import Mapping
from typing import Any

from eureka_audio.errors import EurekaAudioError


class RefusalError(EurekaAudioError):
    """A reply is not what the step asked for; asked again, then counted."""


Keys = Mapping[str, type | tuple[type, ...]]


def read_object(text: str, keys: Keys) -> dict[str, Any]:
    """Exactly one JSON object with exactly these keys, each of its type.

    Raises:
        RefusalError: the reply is anything else.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusalError(f"expected JSON and nothing else, got {text[:80]!r}") from error
    return checked_object(found, keys)


def checked_object(found: Any, keys: Keys) -> dict[str, Any]:
    """A value of a reply, if it is an object with exactly these keys, each of its type.

    Raises:
        RefusalError: it is not.
    """
    if not isinstance(found, dict):
        raise RefusalError(f"expected a JSON object, got {str(found)[:80]!r}")
    if set(found) != set(keys):
        raise RefusalError(f"expected the keys {', '.join(keys)}, got {', '.join(found)!r:.120}")
    for key, kind in keys.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(found[key], kinds) or (type(found[key]) is bool and bool not in kinds):
            raise RefusalError(f"expected {key} to be of another type, got {found[key]!r:.80}")
    return found
