"""The taxonomy: what can be asked about audio, as data.

A leaf is reached by a path L0 > L1 > L2 (> L3). What its branches say of exemplars and of rules for
the judge holds for it too.
"""

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError

from eureka_audio.errors import ConfigError
from eureka_audio.records import Record

FILE = "taxonomy.yaml"
# Ten times as fast where libyaml is there, and as safe.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MIN_LEVELS, MAX_LEVELS = 3, 4
Text = Annotated[str, Field(min_length=1)]


class Exemplar(Record):
    """A question as it should be, its right option first."""

    question: Text
    options: Annotated[tuple[Text, ...], Field(min_length=2, max_length=8)]


class Branch(Record):
    """A node of the file: a branch when it has children, else a leaf."""

    description: Text
    rules: tuple[Text, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()
    skill: str | None = None
    children: Mapping[str, "Branch"] = Field(default_factory=dict)


@dataclass(frozen=True)
class Leaf:
    """One kind of question.

    Attributes:
        id: its path, with slashes, such as "speech/emotion/category/which".
        descriptions: of its branches and itself, from the top.
        exemplars: the nearest ones first.
        rules: for the judge, from the top.
        skill: what the rule-based writer knows of it, if anything.
    """

    id: str
    descriptions: tuple[str, ...]
    exemplars: tuple[Exemplar, ...]
    rules: tuple[str, ...]
    skill: str | None = None

    @property
    def path(self) -> str:
        """As it is shown to a model: "speech > emotion > category > which"."""
        return " > ".join(self.id.replace("_", " ").split("/"))

    @property
    def description(self) -> str:
        """Of the leaf itself."""
        return self.descriptions[-1]


@dataclass(frozen=True)
class Taxonomy:
    """All leaves by id, in the order of the file, and the fingerprint of the file."""

    leaves: Mapping[str, Leaf]
    fingerprint: str

    def chosen(self, names: Sequence[str]) -> list[Leaf]:
        """The leaves that names stand for, a branch for all below it; all for no names.

        Raises:
            ConfigError: a name is unknown; the message has the nearest known one.
        """
        chosen: dict[str, Leaf] = {}
        for name in names or ("",):
            found = [
                leaf
                for leaf in self.leaves.values()
                if not name or leaf.id == name or leaf.id.startswith(name.rstrip("/") + "/")
            ]
            if not found:
                known = sorted({b for leaf in self.leaves for b in _prefixes(leaf)})
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
                raise ConfigError(
                    f"leaves: expected a leaf or branch of the taxonomy, got {name!r}; did you "
                    f"mean {near}? (eureka-audio dataflux taxonomy lists them)"
                )
            chosen |= {leaf.id: leaf for leaf in found}
        return list(chosen.values())


def read_taxonomy(path: Path | None = None) -> Taxonomy:
    """Ours, or the user's own.

    Raises:
        ConfigError: the file is missing, malformed, or a leaf lacks what it needs.
    """
    if path is None:
        content = files(__package__).joinpath(FILE).read_bytes()
    elif path.is_file():
        content = path.read_bytes()
    else:
        raise ConfigError(f"taxonomy: expected a YAML file, but there is none at {path}")
    where = FILE if path is None else str(path)
    try:
        tree = yaml.load(content, _LOADER)
        if not isinstance(tree, dict) or not tree:
            raise ConfigError(f"{where}: expected a mapping of branches, got {tree!r:.80}")
        branches = {name: Branch.model_validate(node) for name, node in tree.items()}
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: expected valid YAML, got: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"{where}: {field}: {first['msg']} (got {first['input']!r:.80})"
        ) from error
    leaves = [leaf for name, branch in branches.items() for leaf in _leaves(name, branch, None)]
    for leaf in leaves:
        _check(leaf, where)
    return Taxonomy({leaf.id: leaf for leaf in leaves}, hashlib.sha256(content).hexdigest())


def _leaves(name: str, branch: Branch, above: Leaf | None) -> Iterator[Leaf]:
    """All leaves below a branch, or the branch itself; `above` holds what is inherited."""
    here = Leaf(
        name if above is None else f"{above.id}/{name}",
        (*(above.descriptions if above else ()), branch.description),
        (*branch.exemplars, *(above.exemplars if above else ())),
        (*(above.rules if above else ()), *branch.rules),
        branch.skill,
    )
    if not branch.children:
        yield here
    for child, node in branch.children.items():
        yield from _leaves(child, node, here)


def _check(leaf: Leaf, where: str) -> None:
    levels = len(leaf.descriptions)
    if not MIN_LEVELS <= levels <= MAX_LEVELS:
        raise ConfigError(
            f"{where}: {leaf.id}: expected a leaf {MIN_LEVELS} or {MAX_LEVELS} levels deep "
            f"(L0 > L1 > L2 > L3), got {levels}; add or remove a level"
        )
    for name, values in (("exemplars", leaf.exemplars), ("rules", leaf.rules)):
        if not values:
            raise ConfigError(
                f"{where}: {leaf.id}: expected {name} of its own or of a branch above it, found "
                "none; add one"
            )


def _prefixes(leaf: str) -> list[str]:
    """The leaf and all branches above it."""
    parts = leaf.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
