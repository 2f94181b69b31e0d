"""A person's decisions outlive any crash, and measure the judge as a count by hand does."""

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flux_books import beep, item, small_run, verdict, write_books

from eureka_audio.cli.dataflux_review import add_review
from eureka_audio.dataflux.items import Item
from eureka_audio.dataflux.proportions import wilson
from eureka_audio.dataflux.review import REVIEW, Decisions, decisions_of, draw, group_of
from eureka_audio.dataflux.review_server import ReviewServer
from eureka_audio.dataflux.review_session import open_session, read_decisions
from eureka_audio.dataflux.review_summary import summary, summary_text
from eureka_audio.errors import ConfigError, RunError

KEPT, ALONE, DROPPED = "kept", "kept by the judge alone", "dropped by the judge"
NOT_NEEDED = "good but not needed"


def judged_items(number: int = 10, audio: Path | str = "clip.wav") -> list[Item]:
    """So many kept, and as many the judge dropped."""
    kept = [item(n, "kept", picked=(0, 0), judged=verdict(), audio=audio) for n in range(number)]
    dropped = [
        item(100 + n, "discarded", "judge_discards", picked=(0, 1), audio=audio,
             judged=verdict("NONE", keep=False, agree=False))
        for n in range(number)
    ]  # fmt: skip
    return kept + dropped


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_review(parser.add_subparsers())
    args = parser.parse_args(["review", *arguments])
    code: int = args.act(args)
    return code


def test_groups() -> None:
    kept, hard, unjudged, mismatch, failed, dropped = small_run()
    assert group_of(kept) == KEPT
    assert group_of(hard) == ALONE
    assert [group_of(one) for one in (unjudged, mismatch, failed)] == [None] * 3
    assert group_of(dropped) == DROPPED
    surplus = item(0, "discarded", "surplus", picked=(0, 0), judged=verdict())
    assert group_of(surplus) == NOT_NEEDED
    disputed = item(0, "discarded", "key_disputed", right=1, picked=(0, 0), judged=verdict())
    assert group_of(disputed) == DROPPED  # the judge keeps another answer than the one written


def test_drawing_mixes_the_groups_and_keeps_its_order() -> None:
    items = judged_items(50)
    pool = draw(items, 40)
    drawn = [one.id for one in pool.items]
    assert len(set(drawn)) == 40
    assert len(pool.groups) == 100
    kinds = [one.fate for one in pool.items]
    assert 10 < kinds.count("kept") < 30
    assert kinds != sorted(kinds)
    assert [one.id for one in draw(reversed(items), 40).items] == drawn
    assert {one.fate for one in draw(items, 40, kept_only=True).items} == {"kept"}
    assert draw(items, 3).items == pool.items[:3]  # a larger limit only adds


def test_the_last_word_stands() -> None:
    rows = [
        {"item": "x", "decision": "accept", "blind": True},
        {"item": "y", "decision": "reject", "blind": True},
        {"item": "x", "decision": "reject", "blind": False},
        {"item": "y", "decision": None, "blind": False},
    ]
    decisions = decisions_of(rows)
    assert decisions.standing == {"x": "reject"}
    assert decisions.blind == set()
    assert decisions.seen == {"x", "y"}


def counted(groups: dict[str, tuple[int, int, int]]) -> dict[str, Any]:
    """The summary of groups given as items, decided, accepted."""
    ids: dict[str, str] = {}
    decisions = Decisions()
    for name, (items, decided, accepted) in groups.items():
        for number in range(items):
            ids[f"{name}{number}"] = name
            if number < decided:
                said = "accept" if number < accepted else "reject"
                decisions.apply({"item": f"{name}{number}", "decision": said, "blind": True})
    return summary(ids, decisions)


def test_precision_and_recall_by_hand() -> None:
    # Of 80 kept, 10 were heard and 9 accepted: about 72. Of 20 dropped, 5 heard, 2 accepted: 8.
    found = counted({KEPT: (80, 10, 9), DROPPED: (20, 5, 2)})
    assert found["judge"] == found["dataflux"]
    precision, recall = found["judge"]["precision"], found["judge"]["recall"]
    assert precision == {"value": pytest.approx(0.9), **near(wilson(0.9, 10))}
    assert recall["value"] == pytest.approx(72 / 80)
    kept, dropped = wilson(0.9, 10), wilson(0.4, 5)
    assert kept is not None
    assert dropped is not None
    worst = 80 * kept["low"] / (80 * kept["low"] + 20 * dropped["high"])
    assert recall["low"] == pytest.approx(worst)
    assert (found["decided"], found["accepted"], found["rejected"]) == (15, 11, 4)
    assert found["blind"] == 15


def near(interval: dict[str, float] | None) -> dict[str, Any]:
    assert interval is not None
    return {name: pytest.approx(end) for name, end in interval.items()}


def test_the_judge_and_the_whole_differ_by_what_only_the_judge_keeps() -> None:
    found = counted({KEPT: (10, 2, 2), ALONE: (10, 2, 1), DROPPED: (10, 2, 0)})
    assert found["judge"]["precision"]["value"] == pytest.approx(15 / 20)
    assert found["judge"]["recall"]["value"] == 1.0
    assert found["dataflux"]["precision"]["value"] == 1.0
    assert found["dataflux"]["recall"]["value"] == pytest.approx(10 / 15)


def test_what_nobody_decided_is_unknown() -> None:
    found = counted({KEPT: (10, 2, 2), DROPPED: (10, 0, 0)})
    assert found["judge"]["precision"]["value"] == 1.0
    assert found["judge"]["recall"]["value"] is None
    assert "Judge, recall: unknown until" in summary_text(found)
    nothing = counted({})
    assert nothing["judge"]["precision"]["value"] is None
    gone = summary({}, decisions_of([{"item": "x", "decision": "accept", "blind": True}]))
    assert (gone["decided"], gone["gone"]) == (0, 1)


def test_blind_hides_until_decided_and_undo_goes_back(tmp_path: Path) -> None:
    pool = draw(judged_items(3))
    with open_session(tmp_path, pool, blind=True) as session:
        first, second = (one.id for one in pool.items[:2])
        assert session.view(0)["found"] is None
        seen = session.decide(first, "accept")
        assert seen["found"]["verdict"]["final_action"]
        assert (seen["decided"], seen["next_open"]) == (1, 1)
        session.decide(second, "reject")
        session.decide(second, "accept")  # a change of mind, after the verdict was seen
        assert session.decisions.blind == {first}
        undone = session.undo()
        assert undone is not None
        assert (undone["place"], undone["decision"], undone["found"]) == (1, None, None)
        assert session.undo() is not None
        assert session.undo() is None
        session.decide(first, "reject")
        assert session.decisions.blind == set()
        assert session.summary()["decided"] == 1
    with open_session(tmp_path, pool, blind=False) as session:
        assert session.first_open() == 1
        assert session.view(1)["found"] is not None


def test_one_review_at_a_time_and_the_summary_beside_it(tmp_path: Path) -> None:
    pool = draw(judged_items(3))
    with open_session(tmp_path, pool, blind=True) as session:
        session.decide(pool.items[0].id, "accept")
        with (
            pytest.raises(RunError, match="another run holds"),
            open_session(tmp_path, pool, blind=True),
        ):
            pass
        assert read_decisions(tmp_path).standing == {pool.items[0].id: "accept"}
    assert read_decisions(tmp_path / "none").standing == {}


# --- over HTTP -----------------------------------------------------------------------------------


@contextmanager
def served(folder: Path, items: list[Item], *, blind: bool = True) -> Iterator[ReviewServer]:
    with (
        open_session(folder, draw(items), blind=blind) as session,
        ReviewServer(session) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def fetch(
    server: ReviewServer,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    token: str | None = None,
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=120)
    target = f"/{server.token if token is None else token}/{path}"
    connection.request(method, target, body, headers or {})
    reply = connection.getresponse()
    found = reply.status, reply.read(), dict(reply.getheaders())
    connection.close()
    return found


JSON = {"Content-Type": "application/json"}


def posted(body: bytes, **headers: str) -> dict[str, Any]:
    return {"method": "POST", "body": body, "headers": {**JSON, **headers}}


def test_the_page_and_what_it_asks(tmp_path: Path) -> None:
    items = judged_items(2, beep(tmp_path / "beep.wav"))
    with served(tmp_path / "run", items) as server:
        assert urlsplit(server.url).hostname == "127.0.0.1"
        status, page, headers = fetch(server, "")
        assert status == 200
        assert b"default-src 'none'" in page
        assert b"connect-src 'self'" in page
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        view = json.loads(fetch(server, "item?place=0")[1])
        assert view["found"] is None
        body = json.dumps({"item": view["item"]["id"], "decision": "accept"}).encode()
        status, reply, _ = fetch(server, "decide", **posted(body))
        assert (status, json.loads(reply)["decision"]) == (200, "accept")
        assert json.loads(fetch(server, "summary")[1])["decided"] == 1
        assert (
            json.loads(fetch(server, "undo", method="POST", body=b"{}", headers=JSON)[1])[
                "decision"
            ]
            is None
        )
        assert json.loads(fetch(server, "undo", method="POST", body=b"{}", headers=JSON)[1]) is None
    lines = (tmp_path / "run" / REVIEW).read_text().splitlines()
    assert [json.loads(line)["decision"] for line in lines] == ["accept", None]


def test_audio_in_whole_and_in_part(tmp_path: Path) -> None:
    path = beep(tmp_path / "beep.wav")
    strange = tmp_path / "beep.aiff"
    import soundfile

    soundfile.write(strange, *soundfile.read(path), format="AIFF")
    items = [item(0, "kept", picked=(0, 0), judged=verdict(), audio=path)]
    with served(tmp_path / "a", items) as server:
        status, whole, headers = fetch(server, "audio?place=0")
        assert (status, headers["Content-Type"], whole) == (200, "audio/wav", path.read_bytes())
        status, part, headers = fetch(server, "audio?place=0", headers={"Range": "bytes=10-19"})
        assert (status, part) == (206, whole[10:20])
        assert headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
        assert fetch(server, "audio?place=0", headers={"Range": "bytes=-4"})[1] == whole[-4:]
        assert fetch(server, "audio?place=0", headers={"Range": "bytes=5-"})[1] == whole[5:]
        assert fetch(server, "audio?place=0", headers={"Range": "bytes=99999999-"})[0] == 416
        path.unlink()
        assert fetch(server, "audio?place=0")[0] == 404
    items = [item(0, "kept", picked=(0, 0), judged=verdict(), audio=strange)]
    with served(tmp_path / "b", items) as server:
        status, sound, headers = fetch(server, "audio?place=0")
        assert (status, headers["Content-Type"], sound[:4]) == (200, "audio/wav", b"RIFF")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"path": "", "token": "guess"}, 404),
        ({"path": "", "token": ""}, 404),
        ({"path": "secrets"}, 404),
        ({"path": "decide"}, 404),
        ({"path": "item?place=99"}, 404),
        ({"path": "item?place=-1"}, 400),
        ({"path": "item?place=../../etc"}, 400),
        ({"path": "", "headers": {"Host": "evil.example"}}, 403),
        ({"path": "undo", **posted(b"{}", Origin="http://evil.example")}, 403),
        ({"path": "undo", "method": "POST", "body": b"{}"}, 415),
        ({"path": "undo", **posted(b"[]")}, 400),
        ({"path": "decide", **posted(b"{")}, 400),
        ({"path": "decide", **posted(b'{"item": "x", "decision": "accept"}')}, 404),
        ({"path": "decide", **posted(b'{"item": "x", "decision": "maybe"}')}, 400),
        ({"path": "decide", **posted(b" " * 5000)}, 413),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: dict[str, Any], status: int) -> None:
    with served(tmp_path, judged_items(2)) as server:
        assert fetch(server, **arguments)[0] == status
        assert (tmp_path / REVIEW).read_text() == ""


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path, judged_items(2)) as server:

        def full(rows: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(server.session.ledger, "append", full)
        item_id = server.session.item(0).id
        body = json.dumps({"item": item_id, "decision": "accept"}).encode()
        assert fetch(server, "decide", **posted(body))[0] == 507
        assert server.session.summary()["decided"] == 0


# --- the command ---------------------------------------------------------------------------------


def test_decisions_survive_kill_and_the_command_sums_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_books(tmp_path, judged_items(2))
    program = "from test_dataflux_review import command; import sys; command(*sys.argv[1:])"
    running = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert running.stdout is not None
    assert running.stdout.readline().startswith("4 items to review")
    url = urlsplit(running.stdout.readline().strip())
    connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=120)
    decided = []
    for place in range(3):
        connection.request("GET", f"{url.path}item?place={place}")
        decided.append(json.loads(connection.getresponse().read())["item"]["id"])
        body = json.dumps({"item": decided[-1], "decision": "accept"})
        connection.request("POST", f"{url.path}decide", body, JSON)
        connection.getresponse().read()
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    assert list(read_decisions(folder).standing) == decided
    pool = draw(judged_items(2))
    with open_session(folder, pool, blind=True) as session:
        assert session.first_open() == 3
    assert command(str(folder), "--summary") == 0
    assert capsys.readouterr().out.startswith("3 items decided: 3 accepted, 0 rejected")
    assert command(str(folder), "--summary", "--json") == 0
    assert json.loads(capsys.readouterr().out)["blind"] == 3


def test_misuse_of_the_command(tmp_path: Path) -> None:
    folder = write_books(tmp_path, judged_items(1))
    with pytest.raises(ConfigError, match="--limit"):
        command(str(folder), "--limit", "0")
    with pytest.raises(ConfigError, match="--summary"):
        command(str(folder), "--json")
    with pytest.raises(ConfigError, match="--port"):
        command(str(folder), "--port", "99999")
    with pytest.raises(RunError, match="no books"):
        command(str(tmp_path / "none"), "--summary")
