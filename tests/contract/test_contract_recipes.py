"""Every recipe in the repository is a recipe, and a slip in one is named."""

from pathlib import Path

import pytest

from eureka_audio.config import dump_config, load_config
from eureka_audio.errors import ConfigError
from eureka_audio.training.recipe import Recipe

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").rglob("recipe*.yaml"))


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.name + "/" + path.name)
class TestRecipe:
    def test_it_loads_and_what_was_resolved_loads_again(self, path: Path, tmp_path: Path) -> None:
        recipe = load_config(Recipe, path)
        (tmp_path / "resolved.yaml").write_text(dump_config(recipe))
        assert load_config(Recipe, tmp_path / "resolved.yaml") == recipe

    def test_its_stages_draw_from_its_sources(self, path: Path) -> None:
        recipe = load_config(Recipe, path)
        for name, stage in {**recipe.encoders, **recipe.stages}.items():
            known = recipe.sources.keys() | recipe.splices.keys()
            assert set(stage.mixture.weights) <= known, name
        for name, stage in recipe.stages.items():
            assert set(stage.mixture.weights) <= set(stage.tasks), f"{name}: a source without task"

    def test_no_stage_learns_from_a_held_out_split(self, path: Path) -> None:
        recipe = load_config(Recipe, path)
        learnt = set(recipe.text.sources)
        for stage in (*recipe.encoders.values(), *recipe.stages.values()):
            learnt |= set(stage.mixture.weights)
        recorded = {recipe.splices[name].of if name in recipe.splices else name for name in learnt}
        assert {recipe.sources[name].split for name in recorded} == {"train"}

    def test_an_unknown_key_names_its_nearest(self, path: Path) -> None:
        with pytest.raises(ConfigError, match=r"unknown key .*max_stepz.* mean .*max_steps\?"):
            load_config(Recipe, path, ["decoder.trainer.max_stepz=1"])

    def test_an_override_is_typed(self, path: Path) -> None:
        recipe = load_config(Recipe, path, ["decoder.trainer.max_steps=7"])
        assert recipe.decoder.trainer.max_steps == 7
        with pytest.raises(ConfigError, match="max_steps"):
            load_config(Recipe, path, ["decoder.trainer.max_steps=soon"])
