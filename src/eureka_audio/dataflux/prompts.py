"""Prompt templates: text files with a version, filled without ever mixing data with instructions.

    === system          begins a message, likewise === user
    {{name}}            a value of ours
    {{data:name}}       material from a clip or a model, fenced by a nonce
    {{audio}}           where the recording goes
    {{nonce}}           the nonce itself

The nonce is a hash over all that is filled in. So it needs no state, a resumed run asks in the same
words, and no text can hold the nonce of the prompt that it is put into.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import cast

from eureka_audio.errors import ConfigError
from eureka_audio.records import AudioPart, Conversation, Message, Role, TextPart

_HOLE = re.compile(r"\{\{(data:)?(\w+)\}\}")
_MESSAGE = re.compile(r"^=== (system|user)\n", re.MULTILINE)


@dataclass(frozen=True)
class Template:
    """A template: its name with its version, and its messages."""

    name: str
    messages: tuple[tuple[str, str], ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its text."""
        return hashlib.sha256(json.dumps(self.messages).encode()).hexdigest()

    @cached_property
    def holes(self) -> frozenset[tuple[bool, str]]:
        """What is filled in: whether as data, and its name."""
        found = (hole for _, text in self.messages for hole in _HOLE.findall(text))
        return frozenset((bool(data), name) for data, name in found)

    def check(self, values: frozenset[str], data: frozenset[str]) -> None:
        """See that a step can fill this template, and that data stays data.

        Raises:
            ConfigError: it has a hole no value is for, lacks one that is needed, or would put data
                where instructions stand.
        """
        for is_data, name in self.holes:
            if name in data and not is_data:
                raise ConfigError(
                    f"{self.name}: expected {{{{data:{name}}}}}, got {{{{{name}}}}}: what a clip "
                    "or a model says must be fenced"
                )
            if name not in values | data | {"audio", "nonce"}:
                raise ConfigError(f"{self.name}: expected no {{{{{name}}}}}; this step has none")
        missing = data - {name for is_data, name in self.holes if is_data}
        if missing:
            raise ConfigError(
                f"{self.name}: expected {{{{data:{min(missing)}}}}} in it, found none"
            )

    def fill(
        self, values: Mapping[str, str], data: Mapping[str, str], audio: str | None, salt: str = ""
    ) -> tuple[Conversation, str]:
        """The conversation, and the nonce that its fences carry.

        Args:
            values: our own words.
            data: material from outside; every value is fenced.
            audio: path of the recording; None leaves `{{audio}}` empty.
            salt: changes the nonce and nothing else.
        """
        content = [self.name, self.messages, dict(values), dict(data), salt]
        nonce = hashlib.sha256(repr(content).encode("utf-8", "replace")).hexdigest()[:16]
        assert not any(nonce in value for value in data.values()), "a hash was foreseen"
        messages = []
        for role, text in self.messages:
            parts: list[TextPart | AudioPart] = []
            for index, stretch in enumerate(text.split("{{audio}}")):
                if index and audio is not None:
                    parts.append(AudioPart(audio=audio))
                words = _filled(stretch, values, data, nonce)
                if words:
                    parts.append(TextPart(text=words))
            messages.append(Message(role=cast(Role, role), content=tuple(parts)))
        return Conversation(messages=tuple(messages)), nonce


def _filled(text: str, values: Mapping[str, str], data: Mapping[str, str], nonce: str) -> str:
    def value(hole: re.Match[str]) -> str:
        is_data, name = hole.groups()
        if name == "nonce":
            return nonce
        if is_data:
            return f"<<DATA {name} {nonce}>>\n{data[name]}\n<<END {nonce}>>"
        return values[name]

    return _HOLE.sub(value, text)


@lru_cache(maxsize=64)
def read_template(name: str) -> Template:
    """One of ours by name and version, such as "verdict.v1", or a file of the user's.

    Raises:
        ConfigError: there is none, or it has no message.
    """
    if name.endswith(".txt"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"prompt: expected a template, but there is no file at {path}")
        text = path.read_text(encoding="utf-8")
    else:
        folder = files(__package__).joinpath("prompts")
        if not folder.joinpath(f"{name}.txt").is_file():
            known = sorted(file.name.removesuffix(".txt") for file in folder.iterdir())
            raise ConfigError(f"prompt: expected one of {', '.join(known)}, got {name!r}")
        text = folder.joinpath(f"{name}.txt").read_text(encoding="utf-8")
    before, *pieces = _MESSAGE.split(text)
    if before.strip() or not pieces:
        raise ConfigError(f"{name}: expected a template that begins with a line === user or system")
    roles, texts = pieces[::2], pieces[1::2]
    return Template(name, tuple(zip(roles, (text.strip() for text in texts), strict=True)))
