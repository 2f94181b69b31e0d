"""Typed recipe files: YAML in, a pydantic model out, with dotted overrides.

An unknown key is an error that names its nearest known neighbour, because a misspelt setting that
is silently ignored costs days.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from eureka_audio.errors import ConfigError


class Config(BaseModel):
    """Base of every recipe section: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigT = TypeVar("ConfigT", bound=BaseModel)


def load_config(
    schema: type[ConfigT], path: str | Path | None = None, overrides: Iterable[str] = ()
) -> ConfigT:
    """Read a YAML recipe into `schema` and apply overrides such as `trainer.max_steps=100`.

    Args:
        schema: the pydantic model that the recipe must satisfy.
        path: a YAML file; `None` starts from the defaults of the schema.
        overrides: `dotted.key=value` strings; a value is read as YAML.

    Raises:
        ConfigError: the file is missing or not a mapping, a key is unknown, or a value does not
            fit.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        path = Path(path)
        if not path.is_file():
            raise ConfigError(f"expected a recipe file, but there is none at {path}")
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"expected {path} to be valid YAML, got: {error}") from error
        if not isinstance(loaded, dict | None):
            raise ConfigError(
                f"expected a mapping at the top of {path}, got a {type(loaded).__name__}"
            )
        tree = loaded or {}
    for override in overrides:
        _apply_override(tree, override)
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        where = f"{path}: " if path is not None else ""
        raise ConfigError(
            where + "; ".join(_explain(schema, item) for item in error.errors())
        ) from error


def dump_config(config: BaseModel) -> str:
    """The resolved recipe as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"expected an override like trainer.max_steps=100, got {override!r}")
    *parents, last = key.split(".")
    node = tree
    for parent in parents:
        if node.get(parent) is None:
            node[parent] = {}
        child = node[parent]
        if not isinstance(child, dict):
            raise ConfigError(
                f"cannot set {key}: expected {parent} to be a section, got the value {child!r}"
            )
        node = child
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"the value of override {override!r} is not valid YAML") from error


def _explain(schema: type[BaseModel], error: Any) -> str:
    *parents, last = (str(part) for part in error["loc"]) if error["loc"] else ("the recipe",)
    key = ".".join((*parents, last))
    if error["type"] != "extra_forbidden":
        return f"{key}: {error['msg']} (got {error['input']!r:.160})"
    beside = [".".join((*parents, name)) for name in _section(schema, parents)]
    near = (
        difflib.get_close_matches(key, beside, n=1, cutoff=0.75)
        or difflib.get_close_matches(key, _known_keys(schema), n=1, cutoff=0.5)
        or difflib.get_close_matches(key, beside, n=1, cutoff=0.0)
    )
    return f"unknown key {key}; did you mean {near[0]}?" if near else f"unknown key {key}"


def _section(schema: type[BaseModel], parents: list[str]) -> list[str]:
    """Names of the fields of the section that dotted `parents` lead to."""
    fields = schema.model_fields
    steps = iter(parents)
    for name in steps:
        if name not in fields:
            return []
        section = _model_of(fields[name].annotation)
        if section is None:
            return []
        if get_origin(fields[name].annotation) is dict:
            next(steps, None)  # the reader's own name of one of several such sections
        fields = section.model_fields
    return list(fields)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation holds, itself or as the values of a dict."""
    if get_origin(annotation) is dict:
        annotation = get_args(annotation)[1]
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_section else None


def _known_keys(schema: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in schema.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys.extend(_known_keys(field.annotation, f"{prefix}{name}."))
    return keys
