"""The taxonomy is data: ours is whole, the user's own is checked."""

from pathlib import Path

import pytest

from eureka_audio.dataflux.taxonomy import read_taxonomy
from eureka_audio.errors import ConfigError
from eureka_audio.tasks.questions import SKILLS

OWN = """
animals:
  description: what animals do
  rules: [be strict]
  children:
    dogs:
      description: dogs
      exemplars: [{question: "What does the dog do?", options: [barks, growls]}]
      children:
        big: {description: big dogs}
"""


def test_ours_covers_speech_sound_music_and_their_mixture() -> None:
    leaves = read_taxonomy().leaves
    assert len(leaves) >= 60
    branches = {"/".join(name.split("/")[:2]) for name in leaves}
    assert branches >= {
        *(f"speech/{n}" for n in ("emotion", "style", "prosody", "speaker", "interaction")),
        "speech/vocal_sounds",
        *(f"sound/{n}" for n in ("events", "sources", "scenes", "order", "counting", "space")),
        *(f"music/{n}" for n in ("instrument", "tempo", "rhythm", "dynamics", "mood", "genre")),
        "music/structure",
        "mixed/together",
    }
    for leaf in leaves.values():
        assert leaf.exemplars
        assert len(leaf.rules) >= 2
        assert len(leaf.descriptions) == 4
    assert {leaf.skill for leaf in leaves.values() if leaf.skill} <= set(SKILLS)


def test_a_branch_stands_for_its_leaves_and_a_wrong_name_for_its_neighbour() -> None:
    taxonomy = read_taxonomy()
    assert len(taxonomy.chosen(())) == len(taxonomy.leaves)
    order = taxonomy.chosen(["sound/order", "sound/order/position/first"])
    assert len(order) == 5
    with pytest.raises(ConfigError, match=r"did you mean sound/order"):
        taxonomy.chosen(["sound/ordr"])


def test_ones_own_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    (leaf,) = read_taxonomy(path).leaves.values()
    assert (leaf.id, leaf.path) == ("animals/dogs/big", "animals > dogs > big")
    assert leaf.rules == ("be strict",)
    for bad, why in (
        (OWN.replace("  rules: [be strict]\n", ""), "expected rules"),
        (OWN.replace("      exemplars", "      examples"), "Extra inputs"),
        (OWN.replace("        big: {description: big dogs}", "        {}"), "levels deep"),
        (OWN.replace("options: [barks, growls]", "options: [barks]"), "at least 2"),
        ("- a", "expected a mapping"),
        ("a: [", "valid YAML"),
    ):
        path.write_text(bad)
        with pytest.raises(ConfigError, match=why):
            read_taxonomy(path)
    with pytest.raises(ConfigError, match="no"):
        read_taxonomy(tmp_path / "none.yaml")
