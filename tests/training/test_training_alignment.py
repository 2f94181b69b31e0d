"""Forced alignment: the phones of a recording of which only the words are known."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from tiny_recipe import tiny_recipe, workspace

from eureka_audio.errors import ManifestError, MissingDependencyError
from eureka_audio.records import AudioClip, Phone
from eureka_audio.synthesis.phones import PHONES
from eureka_audio.training import alignment
from eureka_audio.training.alignment import align, pronounce, with_alignment, write_alignment
from eureka_audio.training.heads import SILENCE
from eureka_audio.training.recipe import Recipe
from eureka_audio.training.stages import run_stage, stage_names

A, B = 1, 2


def heard(classes: list[int], num_classes: int = 3) -> np.ndarray:
    """Log-probabilities of an ear that is rather sure of each frame."""
    probabilities = np.full((len(classes), num_classes), 0.05, np.float32)
    probabilities[np.arange(len(classes)), classes] = 0.9
    return np.log(probabilities)


@pytest.mark.parametrize(
    ("frames", "said", "places"),
    [
        ([A, A, B], [A, B], [(0, 2), (2, 3)]),
        ([0, A, A, 0, B, 0], [A, B], [(1, 3), (4, 5)]),
        ([A, 0, A, A], [A, A], [(0, 1), (2, 4)]),
        ([A], [A], [(0, 1)]),
        # What is said is believed before what is heard.
        ([A, A, A], [A, B], [(0, 2), (2, 3)]),
    ],
)
def test_each_phone_is_found_where_it_is_heard(
    frames: list[int], said: list[int], places: list[tuple[int, int]]
) -> None:
    assert align(heard(frames), said) == places


def test_nothing_fits_into_too_few_frames() -> None:
    assert align(heard([A]), [A, B]) is None
    assert align(heard([A]), []) is None


def test_the_path_is_the_most_probable_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        log_probs = np.log(rng.dirichlet(np.ones(3), size=6)).astype(np.float32)
        said = rng.integers(1, 3, size=int(rng.integers(1, 4))).tolist()
        places = align(log_probs, said)
        assert places is not None
        assert score(log_probs, said, places) == pytest.approx(
            max(
                score(log_probs, said, list(zip(edges[::2], edges[1::2], strict=True)))
                for edges in itertools.combinations_with_replacement(range(7), 2 * len(said))
                if all(a < b for a, b in zip(edges[::2], edges[1::2], strict=True))
            ),
            abs=1e-4,
        )


def score(log_probs: np.ndarray, said: list[int], places: list[tuple[int, int]]) -> float:
    classes = np.full(len(log_probs), SILENCE)
    for phone, (first, end) in zip(said, places, strict=True):
        classes[first:end] = phone
    return float(log_probs[np.arange(len(classes)), classes].sum())


def test_an_alignment_is_found_again(tmp_path: Path) -> None:
    known = AudioClip(id="a", path="a.wav", duration_seconds=1, transcript="go")
    other = known.model_copy(update={"id": "b"})
    phones = (Phone("g", 0.1, 0.2), Phone("ow", 0.2, 0.5))
    path = tmp_path / "alignment" / "words.jsonl"
    assert with_alignment([known, other], path) == [known, other]
    write_alignment(path, [("a", phones)])
    assert with_alignment([known, other], path) == [
        known.model_copy(update={"phones": phones}),
        other,
    ]


def aligned_recipe() -> Recipe:
    return tiny_recipe().model_copy(update={"aligned": ("words",)})


def test_the_second_phase_learns_what_the_first_has_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alignment, "pronounce", lambda words: ("w", "ah", "n"))
    space = workspace(tmp_path, recipe=aligned_recipe())
    assert stage_names(space.recipe)[:4] == ["tokenizer", "short", "alignment", "encoder"]
    assert all(clip.phones is None for clip in space.sources({"words"})["words"].clips)
    run_stage(space, "short")
    run_stage(space, "alignment")
    sources = space.sources({"words", "sounds"})
    for clip in sources["words"].clips:
        assert [phone.label for phone in clip.phones or ()] == ["w", "ah", "n"]
        ends = [phone.end_seconds for phone in clip.phones or ()]
        assert ends == sorted(ends)
        assert ends[-1] <= clip.duration_seconds + 0.02
    assert all(clip.phones is None for clip in sources["sounds"].clips)
    run_stage(space, "encoder")


def test_what_was_aligned_is_spliced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "pronounce", lambda words: ("w", "ah", "n"))
    settings = aligned_recipe().model_dump()
    settings["splices"] = {"new_words": {"of": "words", "num": 9}}
    settings["encoders"]["encoder"]["mixture"]["weights"]["new_words"] = 1
    space = workspace(tmp_path, recipe=Recipe.model_validate(settings))
    run_stage(space, "short")
    with pytest.raises(ManifestError, match="new_words"):
        space.sources({"new_words"})
    run_stage(space, "alignment")
    clips = space.sources({"new_words"})["new_words"].clips
    assert len(clips) == 9
    assert {word for c in clips for word in (c.transcript or "").split()} == {"one", "two", "three"}
    assert all(clip.phones and Path(clip.path).is_file() for clip in clips)
    written = Path(clips[0].path).stat().st_mtime_ns
    run_stage(space, "alignment")
    assert Path(clips[0].path).stat().st_mtime_ns == written
    run_stage(space, "encoder")


@pytest.mark.parametrize(
    ("splices", "named"),
    [
        ({"new": {"of": "sounds", "num": 3}}, "among aligned"),
        ({"sounds": {"of": "words", "num": 3}}, "that no source has"),
    ],
)
def test_splices_need_what_they_are_made_of(splices: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=f"splices: expected names {named}"):
        Recipe.model_validate({**aligned_recipe().model_dump(), "splices": splices})


def test_an_alignment_needs_what_it_aligns() -> None:
    with pytest.raises(ValueError, match="aligned: expected names of sources"):
        Recipe.model_validate({**tiny_recipe().model_dump(), "aligned": ["wrods"]})


def test_words_are_pronounced_in_the_phones_of_this_house() -> None:
    try:
        phones = pronounce("three bears")
    except MissingDependencyError:
        pytest.skip("eSpeak is not installed")
    assert set(phones) <= set(PHONES)
    assert phones[:3] == ("th", "r", "iy")
