"""A run that is killed, resumed or failed in part loses nothing and asks nothing twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from eureka_audio.asking.ledger import open_ledger
from eureka_audio.asking.rounds import RunOptions
from eureka_audio.clients.scripted import ScriptedModel
from eureka_audio.errors import (
    AudioFormatError,
    EndpointError,
    EurekaAudioError,
    EvaluationError,
    RunError,
)
from eureka_audio.evaluation.runner import LEDGER, RunIdentity, run_trials
from eureka_audio.evaluation.trials import Trial
from eureka_audio.protocols import AudioLanguageModel, Reply, TranscribingModel
from eureka_audio.records import Conversation

IDENTITY = RunIdentity("mmau", "scripted", "1")
SMALL = RunOptions(batch_size=3)


def trials(count: int = 10) -> list[Trial]:
    return [
        Trial("mmau", f"item-{n}", prompt=f"say {n}", fields={"answer": str(n), "choices": []})
        for n in range(count)
    ]


def predictions(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "mmau" / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_item_is_asked_once_and_lands_in_order(tmp_path: Path) -> None:
    model = ScriptedModel(lambda words: words.upper())
    books = run_trials(model, trials(), tmp_path, IDENTITY, SMALL)
    assert books.as_dict() == {"items": 10, "answered": 10, "failed": 0, "reasons": {}}
    assert [row["prediction"] for row in predictions(tmp_path)] == [f"SAY {n}" for n in range(10)]
    before = (tmp_path / "mmau" / "predictions.jsonl").read_bytes()
    again = ScriptedModel(str)
    assert run_trials(again, trials(), tmp_path, IDENTITY, SMALL).asked == 0
    assert again.asked == []
    assert (tmp_path / "mmau" / "predictions.jsonl").read_bytes() == before


def test_a_passing_error_is_asked_again_and_a_lasting_one_is_not(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    def script(words: str) -> str | EurekaAudioError:
        seen[words] += 1
        if words == "say 1" and seen[words] < 3:
            return EndpointError("busy")
        if words == "say 2":
            return AudioFormatError("not audio")
        return EndpointError("always busy") if words == "say 3" else words

    books = run_trials(ScriptedModel(script), trials(), tmp_path, IDENTITY, SMALL)
    assert books.as_dict()["reasons"] == {"AudioFormatError": 1, "EndpointError": 1}
    assert (seen["say 1"], seen["say 2"], seen["say 3"], seen["say 4"]) == (3, 1, 3, 1)
    rows = predictions(tmp_path)
    assert rows[2]["prediction"] is None
    assert rows[2]["error"] == {"type": "AudioFormatError", "message": "not audio"}
    assert rows[1]["prediction"] == "say 1"
    good = ScriptedModel(str)
    again = RunOptions(batch_size=3, retry_failed=True)
    assert run_trials(good, trials(), tmp_path, IDENTITY, again).answered == 10
    assert good.asked == ["say 2", "say 3"]


def test_a_model_that_is_down_ends_the_run_and_costs_no_attempts(tmp_path: Path) -> None:
    down = ScriptedModel(lambda words: words if words == "say 0" else EndpointError("refused"))
    with pytest.raises(RunError, match="none in 5 batches in a row"):
        run_trials(down, trials(20), tmp_path, IDENTITY, RunOptions(batch_size=1, max_attempts=1))
    up = ScriptedModel(str)
    books = run_trials(up, trials(20), tmp_path, IDENTITY, RunOptions(max_attempts=1))
    assert (books.answered, len(up.asked)) == (20, 19)


def test_an_error_of_the_whole_batch_is_every_item_of_it(tmp_path: Path) -> None:
    class Broken:
        def answer(
            self, conversations: Sequence[Conversation], *, max_new_tokens: int | None = None
        ) -> list[Reply | EurekaAudioError]:
            raise AudioFormatError("no")

    books = run_trials(Broken(), trials(), tmp_path, IDENTITY, SMALL)
    assert books.failed == {"AudioFormatError": 10}


def test_too_few_replies_are_refused(tmp_path: Path) -> None:
    class Short:
        def answer(
            self, conversations: Sequence[Conversation], *, max_new_tokens: int | None = None
        ) -> list[Reply | EurekaAudioError]:
            return [Reply("one")]

    with pytest.raises(EvaluationError, match="expected 3 replies"):
        run_trials(Short(), trials(), tmp_path, IDENTITY, SMALL)


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    run_trials(ScriptedModel(str), trials(), tmp_path, IDENTITY)
    for other in (
        RunIdentity("mmar", "scripted", "1"),
        RunIdentity("mmau", "scripted", "2"),
        RunIdentity("mmau", "scripted", "1", max_new_tokens=5),
    ):
        with pytest.raises(RunError, match="choose another folder"):
            run_trials(ScriptedModel(str), trials(), tmp_path, other)
    with (
        open_ledger(tmp_path / LEDGER),
        pytest.raises(RunError, match="another run holds"),
    ):
        run_trials(ScriptedModel(str), trials(), tmp_path, IDENTITY)


def test_the_key_covers_all_that_matters(tmp_path: Path) -> None:
    first, second = tmp_path / "a.wav", tmp_path / "b.wav"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    settings = {"fingerprint": "1", "max_new_tokens": None}
    base = Trial("mmau", "a", "prompt", "system", first, {"answer": "x"})
    others = [
        Trial("mmar", "a", "prompt", "system", first, {"answer": "x"}).key(settings),
        Trial("mmau", "b", "prompt", "system", first, {"answer": "x"}).key(settings),
        Trial("mmau", "a", "other", "system", first, {"answer": "x"}).key(settings),
        Trial("mmau", "a", "prompt", "other", first, {"answer": "x"}).key(settings),
        Trial("mmau", "a", "prompt", "system", second, {"answer": "x"}).key(settings),
        Trial("mmau", "a", "prompt", "system", first, {"answer": "y"}).key(settings),
        base.key({**settings, "fingerprint": "2"}),
        base.key({**settings, "max_new_tokens": 5}),
    ]
    assert len({base.key(settings), *others}) == 9
    moved = tmp_path / "moved.wav"
    moved.write_bytes(b"one")
    same = Trial("mmau", "a", "prompt", "system", moved, {"answer": "x"})
    assert same.key(settings) == base.key(settings)


def test_unusable_trials_are_refused(tmp_path: Path) -> None:
    for bad, why in (
        ([], "found none"),
        ([*trials(2), *trials(1)], "twice"),
        ([Trial("mmau", "a")], "neither"),
    ):
        with pytest.raises(EvaluationError, match=why):
            run_trials(ScriptedModel(str), bad, tmp_path, IDENTITY)


SLOW_RUN = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from test_runner import IDENTITY, SMALL, trials
from eureka_audio.clients.scripted import ScriptedModel
from eureka_audio.evaluation.runner import run_trials

asked = open(sys.argv[2], "a", buffering=1)

def script(words):
    time.sleep(0.02)
    asked.write(words + "\\n")
    return words.upper()

run_trials(ScriptedModel(script), trials(40), sys.argv[1], IDENTITY, SMALL)
"""


def test_four_kills_give_the_same_bytes_and_bill_nothing_twice(tmp_path: Path) -> None:
    run_trials(ScriptedModel(str.upper), trials(40), tmp_path / "calm", IDENTITY, SMALL)
    program, asked = tmp_path / "run.py", tmp_path / "asked.txt"
    program.write_text(SLOW_RUN.format(here=str(Path(__file__).parent)))
    command = [sys.executable, str(program), str(tmp_path / "killed"), str(asked)]
    ledger = tmp_path / "killed" / LEDGER
    for kill in range(4):
        process = subprocess.Popen(command)
        wanted, deadline = 6 * (kill + 1), time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if ledger.exists() and ledger.read_bytes().count(b"\n") >= wanted:
                break
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True)
    calm = (tmp_path / "calm" / "mmau" / "predictions.jsonl").read_bytes()
    assert (tmp_path / "killed" / "mmau" / "predictions.jsonl").read_bytes() == calm
    kept = [json.loads(line)["uid"] for line in ledger.read_text().splitlines()]
    assert len(kept) == len(set(kept)) == 40
    # Only what was under way when the process died, at most one batch for each kill.
    assert len(asked.read_text().splitlines()) <= 40 + 4 * SMALL.batch_size


class Chooser(ScriptedModel):
    """Chooses the last option; the option "broken" breaks it."""

    def choose(
        self, conversations: Sequence[Conversation], choices: Sequence[Sequence[str]]
    ) -> list[Reply | EurekaAudioError]:
        self.offered = [*getattr(self, "offered", []), *choices]
        shared = {"num_new_tokens": 1}
        return [
            AudioFormatError("not audio")
            if "broken" in offer
            else Reply(offer[-1], scores=dict.fromkeys(offer, 1 / len(offer)), **shared)
            for offer in choices
        ]


def mixed() -> list[Trial]:
    offers: list[list[object]] = [["a", "b"], [], ["c", "c"], ["x", "y", "x"], ["broken", "b"]]
    return [
        Trial("mmau", f"item-{n}", prompt=f"say {n}", fields={"choices": offer})
        for n, offer in enumerate(offers)
    ]


def test_options_are_chosen_from_and_all_else_is_asked_freely(tmp_path: Path) -> None:
    model = Chooser(lambda words: words.upper())
    identity = RunIdentity("mmau", "scripted", "1", choose=True)
    books = run_trials(model, mixed(), tmp_path, identity, SMALL)
    rows = predictions(tmp_path)
    assert [row["prediction"] for row in rows] == ["b", "SAY 1", "SAY 2", "y", None]
    assert model.offered == [("a", "b"), ("x", "y"), ("broken", "b")]
    assert rows[3]["choice_scores"] == {"x": 0.5, "y": 0.5}
    assert ["choice_scores" in row for row in rows] == [True, False, False, True, False]
    assert books.failed == {"AudioFormatError": 1}
    again = Chooser(str)
    assert run_trials(again, mixed(), tmp_path, identity, SMALL).asked == 0
    assert predictions(tmp_path) == rows


def test_free_and_chosen_replies_never_share_a_folder(tmp_path: Path) -> None:
    chosen = RunIdentity("mmau", "scripted", "1", choose=True)
    run_trials(Chooser(str), mixed(), tmp_path / "chosen", chosen, SMALL)
    with pytest.raises(RunError, match="its choose is True, not None"):
        run_trials(Chooser(str), mixed(), tmp_path / "chosen", IDENTITY, SMALL)
    run_trials(Chooser(str), mixed(), tmp_path / "free", IDENTITY, SMALL)
    assert "choose" not in json.loads((tmp_path / "free" / "run.json").read_text())
    with pytest.raises(RunError, match="its choose is None, not True"):
        run_trials(Chooser(str), mixed(), tmp_path / "free", chosen, SMALL)


def test_choosing_needs_a_model_that_can_and_something_to_choose(tmp_path: Path) -> None:
    chosen = RunIdentity("mmau", "scripted", "1", choose=True)
    with pytest.raises(EvaluationError, match="a method choose"):
        run_trials(ScriptedModel(str), mixed(), tmp_path, chosen, SMALL)
    with pytest.raises(EvaluationError, match="questions with options"):
        run_trials(Chooser(str), trials(), tmp_path, chosen, SMALL)


class Scribe(ScriptedModel):
    """Writes recordings down its own way."""

    def transcribe(
        self, audio: list[Path], language: str | None = None, *, errors: str
    ) -> list[Reply | EurekaAudioError]:
        assert errors == "return"
        return [
            AudioFormatError("bad") if path.stem == "bad" else Reply(path.stem) for path in audio
        ]


def test_recordings_are_written_down_as_a_user_would_have_them(tmp_path: Path) -> None:
    items = [
        Trial("asr_en", "1", system="Write.", audio=Path("one.wav"), fields={"reference": "one"}),
        *trials(1),
        Trial("asr_en", "2", system="Write.", audio=Path("bad.wav"), fields={"reference": "bad"}),
        Trial("asr_en", "3", prompt="Write!", audio=Path("x.wav"), fields={"reference": "x"}),
    ]
    assert isinstance(Scribe(str), TranscribingModel)
    assert isinstance(Scribe(str), AudioLanguageModel)
    asked = RunIdentity("asr_en", "scripted", "1")
    own_way = RunIdentity("asr_en", "scripted", "1", transcribe=True)
    books = run_trials(Scribe(str), items, tmp_path / "own", own_way)
    assert books.as_dict()["reasons"] == {"AudioFormatError": 1}
    lines = (tmp_path / "own" / "asr_en" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["prediction"] for line in lines] == ["one", None, "Write!"]
    run_trials(Scribe(lambda words: "asked"), items, tmp_path / "asked", asked)
    lines = (tmp_path / "asked" / "asr_en" / "predictions.jsonl").read_text().splitlines()
    assert {json.loads(line)["prediction"] for line in lines} == {"asked"}
    assert items[0].key(asked.settings()) != items[0].key(own_way.settings())
    # A model that offers nothing of its own is asked.
    run_trials(ScriptedModel(lambda words: "asked"), items, tmp_path / "plain", own_way)
