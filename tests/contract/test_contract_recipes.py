"""Every recipe in the repository is a recipe, and a slip in one is named."""

import json
from pathlib import Path

import pytest

from eureka_audio.config import dump_config, load_config
from eureka_audio.data.recordings import DATASETS
from eureka_audio.errors import ConfigError
from eureka_audio.parts.catalogue import PARTS
from eureka_audio.parts.names import PACKAGED_MODELS
from eureka_audio.records import AudioClip
from eureka_audio.tasks import check_weights
from eureka_audio.training.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def test_there_are_recipes_and_nothing_else() -> None:
    names = {path.stem for path in RECIPES}
    assert {"nano", "small", "paper-1.7b", "finetune", "smoke", "ablation-moe"} <= names
    assert {path for path in (ROOT / "recipes").rglob("*") if path.is_file()} == set(RECIPES)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
class TestRecipe:
    def test_it_loads_and_what_was_resolved_loads_again(self, path: Path, tmp_path: Path) -> None:
        recipe = load_config(Recipe, path)
        assert recipe.name in (path.stem, "finetuned")
        (tmp_path / "resolved.yaml").write_text(dump_config(recipe))
        assert load_config(Recipe, tmp_path / "resolved.yaml") == recipe

    def test_its_stages_draw_from_its_sources(self, path: Path) -> None:
        recipe = load_config(Recipe, path)
        for name, stage in recipe.stages.items():
            drawn = {*stage.source_names, *stage.tasks, *stage.evaluate, *stage.text}
            assert drawn <= recipe.sources.keys(), name
            for weights in stage.tasks.values():
                check_weights(weights)

    def test_no_stage_learns_from_a_held_out_split(self, path: Path) -> None:
        recipe = load_config(Recipe, path)
        learnt = {name for stage in recipe.stages.values() for name in stage.source_names}
        splits = {recipe.sources[name].split for name in learnt}
        assert splits == ({"test"} if path.stem == "smoke" else {"train"})

    def test_its_parts_and_data_sets_are_known(self, path: Path) -> None:
        recipe = load_config(Recipe, path)
        packaged = {*PACKAGED_MODELS, None}
        for name in (recipe.encoder, recipe.language_model, recipe.start):
            assert name in PARTS or name in packaged or "/" in str(name)
        named = {source.recordings for source in recipe.sources.values()} - {None}
        assert named <= set(DATASETS)

    def test_an_unknown_key_names_its_nearest(self, path: Path) -> None:
        stage = next(iter(load_config(Recipe, path).stages))
        with pytest.raises(ConfigError, match=r"unknown key .*max_stepz.* mean .*max_steps\?"):
            load_config(Recipe, path, [f"stages.{stage}.trainer.max_stepz=1"])

    def test_an_override_is_typed(self, path: Path) -> None:
        stage = next(iter(load_config(Recipe, path).stages))
        key = f"stages.{stage}.trainer.max_steps"
        assert load_config(Recipe, path, [f"{key}=7"]).stages[stage].trainer.max_steps == 7
        with pytest.raises(ConfigError, match="max_steps"):
            load_config(Recipe, path, [f"{key}=soon"])


def test_the_paper_s_recipe_is_the_paper_s() -> None:
    recipe = load_config(Recipe, ROOT / "recipes" / "paper-1.7b.yaml")
    assert recipe.encoder == "openai/whisper-large-v3"
    assert recipe.language_model == "Qwen/Qwen3-1.7B-Base"
    learn = {name: set(stage.trainable) for name, stage in recipe.stages.items()}
    assert learn["stage1"] == {"adapter"}
    assert learn["stage2"] == learn["sft"] == {"audio_encoder", "adapter", "language_model"}
    assert recipe.stages["stage2"].text_share == 1.0  # text to audio 1 : 1
    tasks = {name: set(stage.tasks) for name, stage in recipe.stages.items()}
    assert tasks["stage1"] == {"speech"}  # captions are new to Stage 2
    assert tasks["stage2"] == {"speech", "audio"}


def test_the_two_ablations_differ_in_the_adapter_alone() -> None:
    moe, dense = (
        load_config(Recipe, ROOT / "recipes" / f"ablation-{kind}.yaml").model_dump()
        for kind in ("moe", "dense")
    )
    for recipe, kind in ((moe, "moe"), (dense, "dense")):
        assert recipe["model"]["adapter_config"].pop("adapter_type") == kind
        recipe.pop("name")
    assert moe == dense


def test_the_documented_manifest_is_one() -> None:
    page = (ROOT / "docs" / "fine-tuning.md").read_text()
    lines = page.split("```json\n")[1].split("```")[0].splitlines()
    clips = [AudioClip.model_validate(json.loads(line)) for line in lines]
    assert sum(bool(clip.questions) for clip in clips) == 2
