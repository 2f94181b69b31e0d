"""``eureka-audio dataflux`` from the command line, with a checkpoint of no size in nano's place."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from eureka_audio.asking.ledger import open_ledger
from eureka_audio.cli import dataflux_models
from eureka_audio.cli.main import main
from eureka_audio.dataflux.review import REVIEW
from eureka_audio.dataflux.store import read_store
from eureka_audio.errors import EurekaAudioError
from eureka_audio.manifest import read_manifest
from eureka_audio.protocols import Reply
from eureka_audio.records import AudioClip, AudioPart, Conversation, ConversationRow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Ear:
    """Hears whatever the manifests say; unheard, it picks the first choice."""

    def __init__(self, manifest: Path, out: Path) -> None:
        self.known: dict[str, AudioClip] = {}
        self.manifest, self.out = manifest, out

    def _clip(self, conversation: Conversation) -> AudioClip | None:
        if not self.known:
            for manifest in (self.manifest, *self.out.glob("scenes-*/manifest.jsonl")):
                for clip in read_manifest(manifest, AudioClip):
                    self.known[str((manifest.parent / clip.path).resolve())] = clip
        for message in conversation.messages:
            for part in message.content:
                if isinstance(part, AudioPart):
                    return self.known[str(Path(part.audio).resolve())]
        return None

    def answer(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int | None = None
    ) -> list[Reply | EurekaAudioError]:
        return [self._one(one) for one in conversations]

    def _one(self, conversation: Conversation) -> Reply:
        from eureka_audio.tasks.questions import SKILLS

        clip = self._clip(conversation)
        text = "".join(
            p.text for p in conversation.messages[-1].content if not isinstance(p, AudioPart)
        )
        if "Answer with one of" not in text:
            return Reply((clip and clip.dense_caption) or "someone speaks.")
        choices = text.partition("Answer with one of: ")[2].rstrip(".").split(", ")
        facts = [f for skill in SKILLS.values() for f in (skill(clip) if clip else [])]
        for fact in facts:
            told = fact.thing is None or fact.thing in text.lower()
            if fact.answer in choices and told and set(choices) <= {fact.answer, *fact.others}:
                return Reply(fact.answer)
        return Reply(choices[0])

    def choose(
        self, conversations: Sequence[Conversation], choices: Sequence[Sequence[str]]
    ) -> list[Reply | EurekaAudioError]:
        return [self._one(one) for one in conversations]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's configuration, its models small and its leaves few."""
    ear = Ear(EXAMPLES / "manifest.jsonl", tmp_path / "out")
    monkeypatch.setattr(dataflux_models, "_load", lambda name, device: (ear, "0" * 64))
    tree = yaml.safe_load((EXAMPLES / "dataflux" / "config.yaml").read_text())
    tree["audio"] = [str(EXAMPLES / "manifest.jsonl")]
    tree["scenes"]["num"] = 8
    tree["leaves"] = ["sound/order", "sound/counting"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def test_the_example_runs_from_end_to_end(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["dataflux", "run", str(config), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "small default" in said.err
    assert " in = " in said.out
    rows = list(read_manifest(out / "kept.jsonl", ConversationRow))
    assert rows
    for row in rows:
        assert (out / row.messages[0].content[0].audio).is_file()  # type: ignore[union-attr]

    assert main(["dataflux", "run", str(config), "--out", str(out)]) == 0
    assert "; 0 calls made" in capsys.readouterr().out
    assert main(["dataflux", "status", str(out)]) == 0
    assert "kept" in capsys.readouterr().out
    assert main(["dataflux", "status", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["kept"] == len(rows)

    more = ["--set", "selection.per_leaf=1"]
    assert main(["dataflux", "run", str(config), "--out", str(out), *more]) == 2
    assert "choose another folder" in capsys.readouterr().err
    before = (out / "kept.jsonl").read_bytes()
    command = ["dataflux", "refresh", str(config), "--out", str(out), *more, "--hard-exemplars"]
    assert main(command) == 0
    capsys.readouterr()
    assert (out / "versions" / "001" / "kept.jsonl").read_bytes() == before
    assert main(["dataflux", "diff", str(out / "versions" / "001"), str(out), "--json"]) == 1
    diff = json.loads(capsys.readouterr().out)
    assert diff["removed"]
    assert not diff["added"]
    assert main(["dataflux", "diff", str(out), str(out)]) == 0


@pytest.mark.parametrize("include", [True, False])
def test_a_set_is_exported_as_a_folder_of_parquet(
    config: Path, tmp_path: Path, include: bool
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out, folder = tmp_path / "out", tmp_path / "export"
    assert main(["dataflux", "run", str(config), "--out", str(out)]) == 0
    command = ["dataflux", "export", str(out), "--out", str(folder), "--hard"]
    assert main([*command, *([] if include else ["--no-audio"])]) == 0
    table = parquet.read_table(folder / "data" / "train-00000.parquet").to_pylist()
    kept = sum(1 for _ in read_manifest(out / "kept.jsonl", ConversationRow))
    assert len(table) >= kept > 0
    for row in table:
        assert row["answer"] in row["choices"]
        assert json.loads(row["meta"])["calls"]
        if include:
            assert row["audio"]["bytes"][:4] == b"fLaC"
        else:
            assert Path(row["audio"]["path"]).is_file()
    assert "train-*.parquet" in (folder / "README.md").read_text()


def test_what_a_person_rejects_is_in_no_set(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out, folder = tmp_path / "out", tmp_path / "export"
    run = ["dataflux", "run", str(config), "--out", str(out)]
    assert main(run) == 0
    before = [row.id for row in read_manifest(out / "kept.jsonl", ConversationRow)]
    with open_ledger(out / REVIEW) as ledger:
        ledger.append([{"item": name, "decision": "reject"} for name in before[:2]])
        ledger.append([{"item": before[0], "decision": "accept"}])  # thought better of
    capsys.readouterr()
    assert main(["dataflux", "export", str(out), "--out", str(folder)]) == 0
    assert "; 1 rejected in review and left out" in capsys.readouterr().out
    table = parquet.read_table(folder / "data" / "train-00000.parquet").to_pylist()
    assert [row["id"] for row in table] == [before[0], *before[2:]]

    main(run)  # another takes its place, or the leaf falls short; it does not come back
    with read_store(out) as store:
        items = {item.id: item for item in store.items()}
    assert (items[before[1]].fate, items[before[1]].reason) == ("discarded", "rejected_in_review")
    after = {row.id for row in read_manifest(out / "kept.jsonl", ConversationRow)}
    assert after >= {before[0], *before[2:]}
    assert before[1] not in after


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cluster", "auto"], "no effect without --workers"),
        (["--gpus-per-worker", "1"], "no effect without --workers"),
        (["--workers", "0"], "expected at least 1, got 0"),
    ],
)
def test_options_of_workers_have_an_effect_or_are_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    out = tmp_path / "out"
    assert main(["dataflux", "run", str(config), "--out", str(out), *options]) != 0
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_checkpoints_are_in_the_workers(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eureka_audio.cli.dataflux_run import read_config

    class Spread:
        def model(self, name: str) -> str:
            return f"remote {name}"

    held: list[str] = []

    def spread(make: Any) -> Any:
        held.extend(make())
        return Spread()

    monkeypatch.setattr(dataflux_models, "_fingerprint", lambda name: "0" * 64)
    near, far = (dataflux_models.make_models(read_config(config), how) for how in (None, spread))
    assert set(held) == {"ear", "choosing ear"}
    assert {name: model.identity for name, model in far.items()} == {
        name: model.identity for name, model in near.items()
    }  # a run may be gone on with, with workers or without
    assert {name: far[name].model for name in held} == {name: f"remote {name}" for name in held}


def test_a_folder_of_recordings_is_enough(config: Path, tmp_path: Path) -> None:
    tree = yaml.safe_load(config.read_text())
    tree |= {"audio": [str(EXAMPLES)], "scenes": None}
    from eureka_audio.dataflux.config import FluxConfig

    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("flute-tune.flac", "drops-then-child.flac"):
        (folder / name).write_bytes((EXAMPLES / name).read_bytes())
    (folder / "broken.wav").write_bytes(b"not audio")
    own = FluxConfig.model_validate({**tree, "audio": [folder]})
    clips = list(dataflux_models.read_audio(own, tmp_path))
    assert [clip.id for clip in clips] == ["broken", "drops-then-child", "flute-tune"]
    assert all(clip.events is None for clip in clips)


def test_the_taxonomy_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataflux", "taxonomy"]) == 0
    assert "78 leaves" in capsys.readouterr().out
    assert main(["dataflux", "taxonomy", "music/tempo"]) == 0
    said = capsys.readouterr().out
    assert "rule: " in said
    assert "such as: " in said


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (["leaves=[sound/ordr]"], "did you mean"),
        (["audio=[nowhere]"], "there is none at"),
        (["answers={a: {model: ear}}"], "2 to 8"),
        (["caption.model=mouth"], "expected one of"),
        (["caption.promt=x"], "did you mean"),
        (["caption.prompt=caption.v9"], "expected one of"),
        (["caption.temperature=1"], "answers greedily"),
        (["verdict.model=ear"], "cannot write JSON"),
        (["models.judge.name=jury"], "writer or judge"),
        (["models.ear.endpoint=http://localhost:1"], "kind is openai"),
        (["taxonomy=none.yaml"], "none at"),
        (["audio=[]", "scenes=null"], "audio or scenes"),
    ],
)
def test_a_wrong_configuration_is_one_line(
    config: Path, tmp_path: Path, changes: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command: list[Any] = ["dataflux", "run", str(config), "--out", str(tmp_path / "out")]
    for change in changes:
        command += ["--set", change]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1


def test_a_folder_that_is_no_run_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["status", str(tmp_path)], ["export", str(tmp_path), "--out", str(tmp_path)]):
        assert main(["dataflux", *command]) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_the_configurations_we_show_are_valid() -> None:
    from eureka_audio.dataflux.config import FluxConfig
    from eureka_audio.dataflux.run import check_prompts
    from eureka_audio.dataflux.taxonomy import read_taxonomy

    page = (EXAMPLES.parent / "docs" / "dataflux.md").read_text(encoding="utf-8")
    shown = [block.partition("```")[0] for block in page.split("```yaml\n")[1:]]
    files = [file.read_text(encoding="utf-8") for file in (EXAMPLES / "dataflux").glob("*.yaml")]
    assert len(shown) == 1
    assert len(files) == 3
    for text in (*shown, *files):
        config = FluxConfig.model_validate(yaml.safe_load(text))
        assert read_taxonomy().chosen(config.leaves)
        assert check_prompts(config)
