"""Recipes: read, overridden, refused with the nearest key, written out."""

from pathlib import Path

import pytest
import yaml
from pydantic import Field

from eureka_audio.config import Config, dump_config, load_config
from eureka_audio.errors import ConfigError
from eureka_audio.training.recipe import Recipe


class Rates(Config):
    learning_rate: float = 1e-3
    warmup_steps: int = 10


class Trainer(Config):
    max_steps: int = 100
    rates: Rates = Rates()


class Tiny(Config):
    name: str = "tiny"
    words: tuple[str, ...] = ("one",)
    trainer: Trainer = Trainer()
    stages: dict[str, Trainer] = Field(default_factory=dict)


def recipe(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_and_overrides_become_a_typed_value(tmp_path: Path) -> None:
    path = recipe(tmp_path, "name: größer\ntrainer: {max_steps: 5, rates: {warmup_steps: 2}}\n")
    config = load_config(
        Tiny, path, ["trainer.rates.learning_rate=2e-4", "words=[a, b]", "stages.one.max_steps=7"]
    )
    assert config.name == "größer"
    assert config.trainer == Trainer(max_steps=5, rates=Rates(learning_rate=2e-4, warmup_steps=2))
    assert config.words == ("a", "b")
    assert config.stages == {"one": Trainer(max_steps=7)}


def test_defaults_an_empty_file_and_an_empty_section(tmp_path: Path) -> None:
    assert load_config(Tiny) == Tiny()
    assert load_config(Tiny, recipe(tmp_path, "")) == Tiny()
    path = recipe(tmp_path, "trainer:\n")
    assert load_config(Tiny, path, ["trainer.max_steps=3"]).trainer.max_steps == 3


def test_what_is_written_out_reads_back(tmp_path: Path) -> None:
    config = load_config(Tiny, None, ["stages.one.max_steps=7", "words=[ä]"])
    text = dump_config(config)
    assert load_config(Tiny, recipe(tmp_path, text)) == config
    assert yaml.safe_load(text)["trainer"]["rates"]["warmup_steps"] == 10  # defaults too


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nane=x", r"unknown key nane; did you mean name\?"),
        ("trainer.max_step=1", r"trainer.max_step; did you mean trainer.max_steps\?"),
        ("trainer.rates.lerning_rate=1", r"did you mean trainer.rates.learning_rate\?"),
        ("warmup_steps=1", r"unknown key warmup_steps; did you mean trainer.rates.warmup_steps\?"),
        ("stages.first.max_step=1", r"did you mean stages.first.max_steps\?"),
        ("stages.first.rates.warm_steps=1", r"did you mean stages.first.rates.warmup_steps\?"),
        ("trainer.max_steps=many", r"trainer.max_steps: .*integer.*'many'"),
        ("trainer.max_steps=1.5", r"trainer.max_steps: .*1.5"),
        ("name=[1]", r"name: .*string"),
        ("name.first=1", r"cannot set name.first: expected name to be a section, got .*'tiny'"),
        ("trainer.max_steps", r"expected an override like"),
        ("=3", r"expected an override like"),
        ("words=[1, ", r"not valid YAML"),
    ],
)
def test_a_wrong_override_says_what_was_meant(tmp_path: Path, override: str, message: str) -> None:
    path = recipe(tmp_path, "name: tiny\n")
    with pytest.raises(ConfigError, match=message):
        load_config(Tiny, path, [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "valid YAML"),
        ("- 1\n- 2\n", "expected a mapping at the top.*list"),
        ("just words", "expected a mapping at the top.*str"),
        ("5: 6", "5"),
        ("trainer: {max_stepz: 3}", r"recipe.yaml.*did you mean trainer.max_steps"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(Tiny, recipe(tmp_path, text))


def test_a_missing_file_a_folder_and_binary_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is none at"):
        load_config(Tiny, tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="there is none at"):
        load_config(Tiny, tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ConfigError, match="valid YAML"):
        load_config(Tiny, tmp_path / "binary")


def test_the_recipes_we_ship_are_valid_and_write_out(tmp_path: Path) -> None:
    paths = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
    assert paths
    for path in paths:
        config = load_config(Recipe, path)
        assert load_config(Recipe, recipe(tmp_path, dump_config(config))) == config
