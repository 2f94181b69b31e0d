"""What is missing or wrong is said before any work, with what mends it."""

import json
from pathlib import Path
from typing import Any

import pytest

from eureka_audio.errors import ConfigError, ManifestError
from eureka_audio.training.checks import check_recipe
from eureka_audio.training.recipe import Recipe
from eureka_audio.training.workspace import Workspace
from tiny import tiny_recipe, tiny_start, workspace, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checked")
    write_data(folder / "data")
    return folder


def changed(stage: str, **changes: Any) -> Recipe:
    stages = {
        name: {**each.model_dump(), **(changes if name == stage else {})}
        for name, each in tiny_recipe().stages.items()
    }
    return tiny_recipe(stages=stages)


def test_a_sound_recipe_passes_and_leaves_nothing(folder: Path) -> None:
    space = workspace(folder)
    check_recipe(space)
    assert not space.run.exists()
    assert not space.cache.exists()


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("align", {"mixture": {"weights": {"wards": 1}}}, r"stages\.align: .*got 'wards'"),
        ("align", {"mixture": {"weights": {"words": 1, "wards": 0}}}, "got 'wards'"),
        ("stage1", {"evaluate": {"nobody": "transcribe"}}, "got 'nobody'"),
        ("stage1", {"evaluate": {"words_dev": "sound"}}, "'words_dev' that suit its clips"),
        ("align", {"mixture": {"weights": {"sounds": 1}}}, "clips with a transcript"),
        ("stage1", {"trainable": ["adapter", r"adapter\.nothing"]}, r"stages\.stage1: .*nothing"),
        ("low_rank", {"lora": {"targets": ["query"]}}, r"lora\.targets: .*\['query'\]"),
        ("low_rank", {"text": ["words"]}, r"`conversations`, got \['words'\]"),
    ],
)
def test_what_fits_nothing_is_named(
    folder: Path, stage: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_recipe(workspace(folder, recipe=changed(stage, **changes)))


def test_a_source_without_weight_is_not_asked_for(folder: Path) -> None:
    def check(weight: float) -> None:
        recipe = changed("align", mixture={"weights": {"words": 1, "gone": weight}}).model_dump()
        recipe["sources"]["gone"] = {"manifest": "gone"}
        check_recipe(workspace(folder, recipe=Recipe.model_validate(recipe)))

    check(0)
    with pytest.raises(ManifestError, match="gone"):
        check(1)


def test_a_task_that_is_misspelt_names_its_neighbour(folder: Path) -> None:
    tasks = {"words": {"transcibe": 1}, "sounds": {"sound": 1}}
    with pytest.raises(ConfigError, match="did you mean 'transcribe'"):
        check_recipe(workspace(folder, recipe=changed("stage1", tasks=tasks)))


def test_text_and_held_out_sentences_must_be_there(folder: Path) -> None:
    sources = tiny_recipe().model_dump()["sources"]
    sources["chats"]["conversations"] = "none.jsonl"
    with pytest.raises(ManifestError, match="eureka-audio synthesize chats"):
        check_recipe(workspace(folder, recipe=tiny_recipe(sources=sources)))
    with pytest.raises(ConfigError, match="held-out sentences"):
        check_recipe(workspace(folder, recipe=tiny_recipe(held_out=["none.txt"])))


def test_a_clip_whose_file_is_gone_is_named(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    (tmp_path / "data" / "words" / "3.wav").unlink()
    with pytest.raises(ManifestError, match=r"sources\.words: .*1 are missing, such as .*3\.wav"):
        check_recipe(workspace(tmp_path))


def test_letters_need_a_head(folder: Path) -> None:
    def headless(recipe: Recipe) -> Any:
        model, processor = tiny_start(recipe)
        model.ctc_head = None
        return model, processor

    space = workspace(folder)
    with pytest.raises(ConfigError, match=r"model\.ctc_vocab_size=29"):
        check_recipe(Workspace(space.recipe, space.run, space.data, None, space.cache, headless))


def test_conversations_about_clips_are_learnt_as_they_are_told(tmp_path: Path) -> None:
    write_data(tmp_path / "data")

    def row(number: int, audio: list[str]) -> str:
        parts = [{"type": "audio", "audio": path} for path in audio]
        asked = {"role": "user", "content": [*parts, {"type": "text", "text": "which?"}]}
        answer = {"role": "assistant", "content": [{"type": "text", "text": "one"}]}
        return json.dumps({"id": str(number), "messages": [asked, answer], "meta": {"by": "me"}})

    told = tmp_path / "data" / "told.jsonl"
    told.write_text(row(0, ["words/0.wav"]) + "\n" + row(1, ["words/1.wav"]) + "\n")
    stage = tiny_recipe().stages["stage1"].model_dump()
    changes = {"mixture": {"weights": {"told": 1}}, "tasks": {}, "evaluate": {}}
    recipe = tiny_recipe(
        sources={"told": {"conversations": "told.jsonl"}}, stages={"sft": {**stage, **changes}}
    )
    space = workspace(tmp_path, recipe=recipe)
    check_recipe(space)
    source = space.source("told")
    assert [clip.id for clip in source.clips] == ["0", "1"]
    assert source.clips[0].duration_seconds == pytest.approx(source.durations_seconds[0], abs=1e-3)
    assert source.conversations is not None
    assert source.conversations[1].messages[-1].content[0].text == "one"  # type: ignore[union-attr]
    told.write_text(row(0, ["words/0.wav", "words/1.wav"]) + "\n")
    with pytest.raises(ManifestError, match=r"told\.jsonl: 0: .* got 2 audio parts"):
        check_recipe(space)
