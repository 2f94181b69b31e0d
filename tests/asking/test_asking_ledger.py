"""A ledger outlives a crash; a folder belongs to one run; a key covers what matters."""

from pathlib import Path

import pytest

from eureka_audio.asking.claim import IDENTITY, claim_folder, read_claim
from eureka_audio.asking.keys import MISSING_AUDIO, content_key, file_fingerprint
from eureka_audio.asking.ledger import Ledger, open_ledger, read_ledger
from eureka_audio.asking.outcomes import RunBooks, outcome
from eureka_audio.asking.rounds import Asker, Rounds, RunOptions
from eureka_audio.errors import AudioFormatError, EndpointError, RunError
from eureka_audio.protocols import Reply


def test_half_a_line_is_cut_off_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    with open_ledger(path) as ledger:
        assert ledger.rows == [{"a": 1}, {"a": 2}]
        ledger.append([{"a": 3}])
    assert path.read_text() == '{"a": 1}\n{"a": 2}\n{"a": 3}\n'
    path.write_text('{"a": 1}\n{"a\n{"a": 3}\n')
    with pytest.raises(RunError, match=r"ledger.jsonl:2"), open_ledger(path):
        pass


def test_one_process_holds_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with (
        open_ledger(path),
        pytest.raises(RunError, match="another run holds"),
        open_ledger(path),
    ):
        pass


def test_a_folder_belongs_to_whoever_claimed_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no readable"):
        read_claim(tmp_path)
    claim_folder(tmp_path, {"model": "a", "steps": (1, 2)})
    claim_folder(tmp_path, {"model": "a", "steps": (1, 2)})
    with pytest.raises(RunError, match="its model is 'a', not 'b'"):
        claim_folder(tmp_path, {"model": "b", "steps": (1, 2)})
    (tmp_path / IDENTITY).write_text("{")
    with pytest.raises(RunError, match="no readable"):
        claim_folder(tmp_path, {"model": "a"})


def test_keys_follow_content_not_names(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"same")
    assert file_fingerprint(tmp_path / "a.wav") == file_fingerprint(tmp_path / "b.wav")
    assert file_fingerprint(tmp_path / "none.wav") == MISSING_AUDIO
    assert content_key({"a": 1}) != content_key({"a": 2})


def test_an_outcome_says_whether_another_attempt_may_help() -> None:
    assert outcome(Reply("yes", 1, scores={"yes": 1.0}))["choice_scores"] == {"yes": 1.0}
    assert outcome(EndpointError("busy"))["error"]["retryable"]
    assert not outcome(EndpointError("no", retryable=False))["error"]["retryable"]
    assert not outcome(AudioFormatError("no"))["error"]["retryable"]


def test_books_that_do_not_add_up_are_not_shown() -> None:
    with pytest.raises(AssertionError):
        RunBooks(items=2, answered=1).as_dict()


def test_rounds_ask_what_is_open_and_nothing_else(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(batch: object) -> list[Reply | EndpointError]:
        words = [str(word) for word in batch]  # type: ignore[attr-defined]
        asked.extend(words)
        return [EndpointError("busy") if word == "b" else Reply(word) for word in words]

    asker = Asker(ask, lambda word: {"uid": word})
    pairs = [(word, word) for word in "abc"]
    with open_ledger(tmp_path / "ledger.jsonl") as ledger:
        rounds: Rounds[str] = Rounds(ledger, RunOptions(batch_size=2, max_attempts=2))
        rounds.run(pairs, asker)
        assert isinstance(ledger, Ledger)
    assert asked == ["a", "b", "c", "b"]
    assert (sorted(rounds.replies), sorted(rounds.errors)) == (["a", "c"], ["b"])
    with open_ledger(tmp_path / "ledger.jsonl") as ledger:
        again: Rounds[str] = Rounds(ledger, RunOptions(batch_size=2, max_attempts=2))
        again.run(pairs, asker)
    assert again.asked == 0


def test_a_ledger_in_use_may_be_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    assert read_ledger(path) == []
    with open_ledger(path) as ledger:
        ledger.append([{"a": 1}])
        with path.open("a") as stream:
            stream.write('{"a"')
        assert read_ledger(path) == [{"a": 1}]
    assert path.read_text() == '{"a": 1}\n{"a"'  # reading alone repairs nothing
