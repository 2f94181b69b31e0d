"""A run that is killed, starved, failed or interrupted loses nothing, and its books are exact."""

import asyncio
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from dataflux_world import LEAF, Scripted, make_clips, world_config, world_models  # noqa: E402

from eureka_audio.asking.batches import BatchedModel  # noqa: E402
from eureka_audio.asking.claim import claim_folder  # noqa: E402
from eureka_audio.dataflux.caller import NamedModel  # noqa: E402
from eureka_audio.dataflux.config import FluxConfig  # noqa: E402
from eureka_audio.dataflux.export import rows_of, write_kept  # noqa: E402
from eureka_audio.dataflux.items import FATES, Item  # noqa: E402
from eureka_audio.dataflux.report_figures import figures_of  # noqa: E402
from eureka_audio.dataflux.run import (  # noqa: E402
    FluxBooks,
    Run,
    check_prompts,
    identity_of,
    load_clips,
)
from eureka_audio.dataflux.store import Store, open_store, read_store  # noqa: E402
from eureka_audio.dataflux.taxonomy import read_taxonomy  # noqa: E402
from eureka_audio.errors import ConfigError, ModelDownError, RunError  # noqa: E402
from eureka_audio.manifest import read_manifest  # noqa: E402
from eureka_audio.protocols import Reply, Request  # noqa: E402
from eureka_audio.records import AudioClip, ConversationRow  # noqa: E402

Models = dict[str, NamedModel]


def run(
    out: Path,
    config: FluxConfig,
    models: Models,
    clips: list[AudioClip],
    during: Callable[[Run], Any] | None = None,
) -> FluxBooks:
    taxonomy = read_taxonomy()

    async def go() -> FluxBooks:
        with open_store(out) as store:
            claim_folder(out, identity_of(config, taxonomy, models))
            load_clips(store, clips, config.seed)
            it = Run(config, taxonomy.chosen(config.leaves), models, store)
            if during is not None:
                during(it)
            books = await it.run()
            write_kept(store)
            return books

    return asyncio.run(go())


def items_of(out: Path) -> list[Item]:
    with read_store(out) as store:
        return list(store.items())


def test_a_run_keeps_exactly_what_a_leaf_needs_with_all_that_it_rests_on(tmp_path: Path) -> None:
    config, models = world_config(20, selection={"per_leaf": 5, "budget": 20}), world_models()
    books = run(tmp_path / "out", config, models, make_clips(tmp_path, 20))
    assert books.fates["kept"] == 5
    assert books.items == sum(books.fates.values())
    assert not books.shortfall
    rows = list(read_manifest(tmp_path / "out" / "kept.jsonl", ConversationRow))
    assert len({row.id for row in rows}) == 5
    for row in rows:
        assert [message.role for message in row.messages] == ["user", "assistant"]
        assert Path(row.messages[0].content[0].audio).is_file()  # type: ignore[union-attr]
        meta = row.meta
        assert row.messages[1].content[0].text in meta["caption"]  # type: ignore[union-attr]
        steps = Counter(call["step"] for call in meta["calls"])
        assert steps == {"caption": 1, "question": 1, "answer": 2, "control": 16, "verdict": 1}
        for call in meta["calls"]:
            assert call["reply"]
            assert call["prompt"]
            assert call["settings"]["name"] == call["model"]
            assert call["cost"] == 0.001
            assert call["reasoning_tokens"] is None
    again = run(tmp_path / "out", config, models, make_clips(tmp_path, 20))
    assert again.asked == 0
    assert again.fates == books.fates


def test_another_item_takes_the_place_of_a_rejected_one(tmp_path: Path) -> None:
    config, clips = (
        world_config(20, selection={"per_leaf": 5, "budget": 20}),
        make_clips(tmp_path, 20),
    )
    run(tmp_path / "out", config, world_models(), clips)
    first, *others = (item.id for item in items_of(tmp_path / "out") if item.fate == "kept")

    def reject(it: Run) -> None:
        it.rejected = {first}

    books = run(tmp_path / "out", config, world_models(), clips, reject)
    assert books.fates["kept"] == 5
    assert books.reasons["discarded", "rejected_in_review"] == 1
    kept = {item.id for item in items_of(tmp_path / "out") if item.fate == "kept"}
    assert kept > set(others)
    assert first not in kept


def test_too_small_a_budget_is_an_honest_shortfall(tmp_path: Path) -> None:
    config = world_config(20, selection={"per_leaf": 30, "budget": 6})
    books = run(tmp_path / "out", config, world_models(), make_clips(tmp_path, 20))
    assert books.items == 6
    assert books.shortfall == {LEAF: 30 - books.fates["kept"]}


def test_books_are_exact_under_faults_and_a_rerun_mends_only_what_failed(tmp_path: Path) -> None:
    config, clips = world_config(40), make_clips(tmp_path, 40)
    books = run(tmp_path / "out", config, world_models(faults=0.3), clips)
    assert books.items == 40 == sum(books.fates.values())
    assert books.fates["failed"] > 3
    assert sum(books.reasons.values()) == 40 - books.fates["kept"]
    for item in items_of(tmp_path / "out"):
        assert item.fate == "kept" or item.reason
        assert item.fate != "failed" or item.detail
    models = world_models()
    mended = run(tmp_path / "out", config, models, clips)
    # A reply that was paid for is not asked for again: what had no readable one stays failed.
    left = [item for item in items_of(tmp_path / "out") if item.fate == "failed"]
    assert all("no usable reply" in item.detail for item in left)
    assert mended.fates["failed"] == len(left) <= 3 < books.fates["failed"]
    calm = run(tmp_path / "calm", config, world_models(), clips)
    assert mended.asked < calm.asked / 2
    kept = [
        {item.id for item in items_of(tmp_path / n) if item.fate == "kept"} for n in ("out", "calm")
    ]
    assert len(kept[0] ^ kept[1]) <= 8  # a control that was unreadable counts as not right


def test_poisoned_rows_are_counted_with_step_and_reason(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 10)
    gone = clips[3].model_copy(update={"path": str(tmp_path / "gone.wav")})
    models = world_models()
    poison = models["writer"].model

    class Writer:
        async def reply(self, request: Request) -> Any:
            return (
                Reply("?")
                if request.inputs["clip"].id == clips[4].id
                else await poison.reply(request)
            )

    models["writer"] = NamedModel("writer", {"name": "writer"}, Writer())
    books = run(tmp_path / "out", world_config(10), models, [*clips[:3], gone, *clips[4:]])
    assert books.fates["failed"] == 2
    assert books.reasons["failed", "audio"] == books.reasons["failed", "question"] == 1


def killed_runs(tmp_path: Path, kills: int, num: int) -> tuple[int, int]:
    """Kill so many runs at random moments, then let one end; calls billed and calls needed."""
    command = [sys.executable, str(BENCHMARKS / "dataflux_once.py"), "--num", str(num)]
    command += ["--clips", str(tmp_path / "clips"), "--seconds", "0.02", "--concurrency", "8"]
    out, bill, dice = tmp_path / "out", tmp_path / "bill", random.Random(5)
    bill.touch()
    for _ in range(kills):
        (out / "ready").unlink(missing_ok=True)
        process = subprocess.Popen([*command, "--out", str(out), "--bill", str(bill)])
        deadline = time.monotonic() + 120
        # After it is ready, or (one in four) while it starts; then after so many more calls.
        if dice.random() < 0.75:
            wanted = len(bill.read_bytes().splitlines()) + dice.randrange(num * 2)
            while process.poll() is None and time.monotonic() < deadline:
                if (out / "ready").exists() and len(bill.read_bytes().splitlines()) >= wanted:
                    break
                time.sleep(0.005)
        else:
            time.sleep(dice.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, "--out", str(out), "--bill", str(bill)], check=True)
    lines = bill.read_text().splitlines()
    return len(lines), len(set(lines))


@pytest.mark.slow
def test_ten_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    billed, needed = killed_runs(tmp_path, kills=10, num=30)
    calm = tmp_path / "calm"
    run(calm, world_config(30), world_models(), make_clips(tmp_path / "clips", 30))
    assert (tmp_path / "out" / "kept.jsonl").read_bytes() == (calm / "kept.jsonl").read_bytes()
    # Five endpoints with eight places each: only what was under way is paid again.
    assert billed - needed <= 10 * 5 * 8


def test_an_interrupt_lets_calls_end_and_keeps_them(tmp_path: Path) -> None:
    models = world_models(seconds=0.01, concurrency=4)
    config, clips = world_config(40), make_clips(tmp_path, 40)

    def interrupt(it: Run) -> None:
        asyncio.get_running_loop().call_later(0.3, it.stop)

    books = run(tmp_path / "out", config, models, clips, interrupt)
    assert books.stopped
    asked = sum(model.model.calls for model in models.values())  # type: ignore[attr-defined]
    with read_store(tmp_path / "out") as store:
        assert sum(1 for _ in store.calls()) == asked  # all that was paid for was kept
    again = world_models()
    run(tmp_path / "out", config, again, clips)
    calm = world_models()
    run(tmp_path / "calm", config, calm, clips)
    total = sum(model.model.calls for model in (*models.values(), *again.values()))  # type: ignore[attr-defined]
    assert total == sum(model.model.calls for model in calm.values())  # type: ignore[attr-defined]
    kept = [(tmp_path / name / "kept.jsonl").read_bytes() for name in ("out", "calm")]
    assert kept[0] == kept[1]


def test_draining_waits_for_slow_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eureka_audio.dataflux.caller.DRAIN_SECONDS", 0.05)
    models = world_models(seconds=0.4, concurrency=4)

    def interrupt(it: Run) -> None:
        asyncio.get_running_loop().call_later(1.0, it.stop)

    run(tmp_path / "out", world_config(10), models, make_clips(tmp_path, 10), interrupt)
    asked = sum(model.model.calls for model in models.values())  # type: ignore[attr-defined]
    with read_store(tmp_path / "out") as store:
        assert sum(1 for _ in store.calls()) == asked > 4


def test_what_waits_for_a_model_here_is_dropped_when_stopping(tmp_path: Path) -> None:
    class Slow:
        """Describes one recording at a time; the run is stopped during the fifth."""

        asked = 0
        stop: Any = None

        def answer(self, conversations: Any, **_: Any) -> list[Reply]:
            self.asked += len(conversations)
            if self.asked == 5:
                self.stop()
            time.sleep(0.05)
            return [Reply(f"a bark is heard, take {self.asked}") for _ in conversations]

    slow, models = Slow(), world_models()
    model = BatchedModel(slow, batch_size=1)  # type: ignore[arg-type]
    models["captioner"] = NamedModel("captioner", {"name": "slow"}, model)

    def interrupt(it: Run) -> None:
        loop = asyncio.get_running_loop()
        slow.stop = lambda: loop.call_soon_threadsafe(it.stop)

    config = world_config(200, control={"enabled": False})
    books = run(tmp_path / "out", config, models, make_clips(tmp_path, 200), interrupt)
    assert books.stopped
    assert slow.asked < 20  # of two hundred that were waiting
    with read_store(tmp_path / "out") as store:
        assert sum(call.step == "caption" for call in store.calls()) == slow.asked


def test_a_signal_ends_the_command_in_good_order(tmp_path: Path) -> None:
    out, bill = tmp_path / "out", tmp_path / "bill"
    command = [sys.executable, str(BENCHMARKS / "dataflux_once.py"), "--num", "60"]
    command += ["--clips", str(tmp_path / "clips"), "--seconds", "0.05", "--concurrency", "4"]
    command += ["--out", str(out), "--bill", str(bill)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (bill.exists() and bill.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert json.loads(said)["stopped"]
    with read_store(out) as store:
        assert sum(1 for _ in store.calls()) == len(bill.read_text().splitlines())


def test_what_does_not_change_is_not_asked_again(tmp_path: Path) -> None:
    config, clips = world_config(8), make_clips(tmp_path, 8)
    run(tmp_path / "out", config, world_models(), clips)
    newer = world_models()
    newer["judge"] = NamedModel("judge", {"name": "judge 2"}, Scripted("verdict"))
    with pytest.raises(RunError, match="choose another folder"):
        run(tmp_path / "out", config, newer, clips)
    (tmp_path / "out" / "run.json").unlink()
    with open_store(tmp_path / "out") as store:
        store.forget_items()
    books = run(tmp_path / "out", config, newer, clips)
    asked = {name: model.model.calls for name, model in newer.items()}  # type: ignore[attr-defined]
    assert asked == {"captioner": 0, "writer": 0, "first": 0, "second": 0, "judge": books.asked}
    assert books.asked == books.fates["kept"] + books.fates["hard"] > 0


@pytest.mark.parametrize(
    ("section", "changes", "steps"),
    [
        ("caption", {"temperature": 0.5}, {"captioner"}),
        ("caption", {"max_new_tokens": 9}, {"captioner"}),
        ("question", {"max_exemplars": 0}, {"writer"}),
        ("verdict", {"max_new_tokens": 9}, {"judge"}),
    ],
)
def test_a_setting_is_part_of_the_key_of_what_it_shapes(
    tmp_path: Path, section: str, changes: dict[str, Any], steps: set[str]
) -> None:
    config, clips = world_config(3), make_clips(tmp_path, 3)
    run(tmp_path / "out", config, world_models(), clips)
    step = getattr(config, section).model_copy(update=changes)
    (tmp_path / "out" / "run.json").unlink()
    with open_store(tmp_path / "out") as store:
        store.forget_items()
    models = world_models()
    run(tmp_path / "out", config.model_copy(update={section: step}), models, clips)
    assert {n for n, m in models.items() if m.model.calls} == steps  # type: ignore[attr-defined]


def test_another_recording_under_the_same_name_is_heard_anew(tmp_path: Path) -> None:
    config, clips = world_config(3), make_clips(tmp_path, 3)
    run(tmp_path / "out", config, world_models(), clips)
    from eureka_audio.asking.keys import file_fingerprint

    Path(clips[0].path).write_text("wind 99")
    file_fingerprint.cache_clear()
    with open_store(tmp_path / "out") as store:
        store.forget_items()
    models = world_models()
    run(tmp_path / "out", config, models, clips)
    assert models["captioner"].model.calls == 1  # type: ignore[attr-defined]


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    with (
        open_store(tmp_path / "out"),
        pytest.raises(RunError, match="another run holds it"),
        open_store(tmp_path / "out"),
    ):
        pass


def test_bad_input_is_a_typed_error_of_one_line(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 3)
    with open_store(tmp_path / "out") as store:
        with pytest.raises(ConfigError, match="at least one clip"):
            load_clips(store, [], 0)
        with pytest.raises(ConfigError, match="twice"):
            load_clips(store, [clips[0], clips[0]], 0)
    with pytest.raises(RunError, match="found no books"):
        Store(tmp_path / "none", read_only=True)
    with pytest.raises(ConfigError, match="did you mean"):
        read_taxonomy().chosen(["speech/emotions"])
    with pytest.raises(ConfigError, match="expected one of"):
        check_prompts(world_config(3, caption={"model": "captioner", "prompt": "caption.v0"}))


def test_a_model_that_is_down_ends_the_run_and_fails_no_item(tmp_path: Path) -> None:
    class Down:
        async def reply(self, request: Request) -> Any:
            return ModelDownError("nobody answers")

    models = world_models()
    models["judge"] = NamedModel("judge", {"kind": "scripted", "name": "judge"}, Down())
    config, clips = world_config(6), make_clips(tmp_path, 6)
    with pytest.raises(ModelDownError):
        run(tmp_path / "out", config, models, clips)
    assert not [item for item in items_of(tmp_path / "out") if item.fate == "failed"]
    up = world_models()
    assert run(tmp_path / "out", config, up, clips).fates["kept"] >= 5
    assert up["captioner"].model.calls == 0  # type: ignore[attr-defined]


def test_a_full_disk_is_a_typed_error_and_what_was_kept_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, clips, written = world_config(6), make_clips(tmp_path, 6), Counter[str]()
    commit = Store._commit

    def full(self: Store, statements: Any) -> None:
        written["commits"] += 1
        if written["commits"] > 6:
            raise sqlite3.OperationalError("database or disk is full")
        commit(self, statements)

    monkeypatch.setattr(Store, "_commit", full)
    with pytest.raises(RunError, match="disk is full"):
        run(tmp_path / "out", config, world_models(), clips)
    monkeypatch.undo()
    with read_store(tmp_path / "out") as store:
        kept_before = sum(1 for _ in store.calls())
    models = world_models()
    books = run(tmp_path / "out", config, models, clips)
    calm = run(tmp_path / "calm", config, world_models(), clips)
    assert books.fates == calm.fates
    assert books.asked == calm.asked - kept_before


def test_evaluation_sets_are_left_out(tmp_path: Path) -> None:
    clips = make_clips(tmp_path / "clips", 6)
    held_out = tmp_path / "held_out.jsonl"
    rows: list[dict[str, Any]] = [
        {"path": clips[0].path},
        {"question": "which SOUND is it", "choices": ["bell", "bark", "horn", "rain"]},
    ]
    held_out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = world_config(
        6, selection={"per_leaf": 6, "budget": 6, "evaluation_sets": [str(held_out)]}
    )
    books = run(tmp_path / "out", config, world_models(), clips)
    found = [item for item in items_of(tmp_path / "out") if item.reason == "evaluation_overlap"]
    assert len(found) == books.reasons["discarded", "evaluation_overlap"] >= 2
    assert {item.clip_id for item in found} > {clips[0].id}
    held_out.write_text("{")
    with pytest.raises(Exception, match="expected JSON"):
        run(tmp_path / "other", config, world_models(), clips)


def test_what_is_known_without_hearing_is_left_out(tmp_path: Path) -> None:
    class Knows(Scripted):
        def _said(self, request: Request) -> str:
            place = (
                list(request.choices or ()).index("bark")
                if "bark" in (request.choices or ())
                else 0
            )
            return json.dumps({"reasoning": "always so", "answer": "ABCD"[place]})

    models = world_models()
    for name in ("first", "second"):
        models[name] = NamedModel(name, {"name": name}, Knows("answer"))
    books = run(tmp_path / "out", world_config(8), models, make_clips(tmp_path, 8))
    assert books.reasons["discarded", "answered_without_audio"] >= 1
    for item in items_of(tmp_path / "out"):
        if item.reason == "answered_without_audio":
            assert "right" in item.detail
    off = world_config(8, control={"enabled": False})
    books = run(tmp_path / "off", off, models, make_clips(tmp_path, 8))
    assert ("discarded", "answered_without_audio") not in books.reasons


def test_figures_are_counted_from_the_books(tmp_path: Path) -> None:
    config, clips = world_config(12), make_clips(tmp_path, 12)
    run(tmp_path / "out", config, world_models(), clips)
    with read_store(tmp_path / "out") as store:
        figures = figures_of(store.items(), store.calls(), {}, None)
        assert json.loads(json.dumps(figures)) is not None
        rows = list(rows_of(store, tmp_path))
    totals = figures["totals"]
    assert totals["items"] == sum(totals[fate] for fate in FATES) == 12
    names, cells = figures["agreement"]["names"], figures["agreement"]["cells"]
    assert cells[names.index("first")][names.index("second")]["share"] == 1.0
    assert cells[names.index("judge")][names.index("question writer")]["share"] == 1.0
    calls = {row["step"]: row for row in figures["cost"]["rows"]}
    assert calls["verdict"]["cost"] == pytest.approx(0.001 * calls["verdict"]["calls"])
    assert calls["answer"]["reasoning_tokens"] is None
    (right, *_) = figures["positions"]
    assert max(place["count"] for place in right["places"]) <= 4
    deaf = [row for row in figures["hearing"] if (row["among"], row["kind"]) == ("all", "no_audio")]
    assert all(row["share"] < 0.6 for row in deaf)
    assert len(rows) == totals["kept"]
