"""A real language model behind somebody else's server writes and judges: what comes of it.

    python benchmarks/dataflux_small_writer.py --recordings PACK --gguf FILE --server-python PYTHON

llama-cpp-python's OpenAI server (in an environment of its own, whose interpreter PYTHON is) holds
SmolLM2-135M-Instruct; `eureka-audio dataflux run` asks it through the official client, under a JSON
schema, for questions and verdicts about real recordings of training splits: seven in ten hold one
known sound, three hold speech, of which nothing should be asked under "which sound". The embedded
model hears. The control is off at first, so that the judge sees every answer, and then on.

Writer and judge are then measured against labels. A text names a label when it has the beginning of
one of its words. The judge gets, beside the run, questions with right captions whose answers are
known: both right (to be kept), both wrong, or one of each (neither to be kept).
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from dataflux_judge import written
from dataflux_world import write_result

from eureka_audio.cli.dataflux_run import read_config
from eureka_audio.clients.chat import ChatModel
from eureka_audio.clients.gate import Gate
from eureka_audio.clients.wire import Endpoint
from eureka_audio.data.recordings import recordings
from eureka_audio.dataflux import verdict
from eureka_audio.dataflux.config import FluxConfig
from eureka_audio.dataflux.items import CallRecord, Item
from eureka_audio.dataflux.letters import plain
from eureka_audio.dataflux.pipeline import RETRY_TEMPERATURE
from eureka_audio.dataflux.refusals import RefusalError
from eureka_audio.dataflux.selection import judged
from eureka_audio.dataflux.store import read_store
from eureka_audio.dataflux.taxonomy import read_taxonomy
from eureka_audio.manifest import write_manifest
from eureka_audio.protocols import Reply
from eureka_audio.records import Answer, AudioClip, Question
from eureka_audio.tasks.captions import CLAUSES

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent / "examples" / "dataflux" / "llama-cpp.yaml"
LEAF, PORT = "sound/events/identity/which", 8089
SHARE_OF_SOUNDS = 0.7
UNNAMED = frozenset({"vocal sound", "percussion", "singing"})  # no one thing that a word would name
NO_NAMES = frozenset({"sound", "someone"})
PROBES = ("both_right", "both_wrong", "one_right")


def label_of(clip: AudioClip) -> str | None:
    """The one known sound of a clip that has one."""
    events = clip.events or ()
    return events[0].label if len(events) == 1 and events[0].kind == "sound" else None


def names(text: str, label: str) -> bool:
    """Whether a text has the beginning of one of the words of a label, short ones aside."""
    words = plain(label).split()
    starts = {word[:4] for word in words if len(word) > 2 and word not in NO_NAMES}
    return any(word.startswith(start) for word in plain(text).split() for start in starts)


def drawn(pack: Path, number: int, dice: random.Random) -> list[AudioClip]:
    """Free clips of the training splits: sounds of all labels in turn, then speech."""
    clips = [clip for clip in recordings(pack, "train") if not clip.restricted]
    dice.shuffle(clips)
    by_label: defaultdict[str, list[AudioClip]] = defaultdict(list)
    for clip in clips:
        label = label_of(clip)
        if label in CLAUSES and label not in UNNAMED:
            by_label[label].append(clip)
    num_sounds, chosen = round(number * SHARE_OF_SOUNDS), list[AudioClip]()
    while len(chosen) < num_sounds:
        for label in sorted(by_label):
            if by_label[label] and len(chosen) < num_sounds:
                chosen.append(by_label[label].pop())
    speech = [clip for clip in clips if clip.transcript and clip.duration_seconds > 1]
    return [*chosen, *speech[: number - num_sounds]]


@contextmanager
def served(python: str, gguf: Path, log: Path) -> Iterator[str]:
    """The server, up while the block runs; gives its version."""
    command = [python, "-m", "llama_cpp.server", "--model", str(gguf), "--n_ctx", "4096"]
    command += ["--logits_all", "false", "--n_threads", "1", "--n_threads_batch", "1"]
    with log.open("w") as stream:
        server = subprocess.Popen(
            [*command, "--port", str(PORT)], stdout=stream, stderr=subprocess.STDOUT
        )
        try:
            _wait_for(server)
            asked = "import llama_cpp; print(llama_cpp.__version__)"
            yield subprocess.check_output([python, "-c", asked], text=True).strip()
        finally:
            server.terminate()
            server.wait()


def _wait_for(server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v1/models", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("expected llama_cpp.server to come up, it did not; see its log")


def run(clips: Sequence[AudioClip], work: Path, action: str, *more: str) -> float:
    """The whole loop over these clips by a command that users run; returns its seconds."""
    write_manifest(work / "manifest.jsonl", clips)
    number = str(len(clips))
    changes = [f"audio=[{work / 'manifest.jsonl'}]", f"leaves=[{LEAF}]"]
    changes += [f"selection.per_leaf={number}", f"selection.budget={number}"]
    changes += more
    command = [sys.executable, "-m", "eureka_audio.cli.main", "dataflux", action, str(CONFIG)]
    command += ["--out", str(work / "flux"), *(f"--set={change}" for change in changes)]
    began = time.monotonic()
    done = subprocess.run(command, check=False)
    if done.returncode not in (0, 1):  # 1: some items failed, which is counted below
        raise SystemExit(f"dataflux {action} ended with exit code {done.returncode}")
    return time.monotonic() - began


def replies(calls: Sequence[CallRecord]) -> dict[str, Any]:
    """How many replies of a step could be used, and why others could not."""
    refused = Counter(call.refusal.split(",")[0] for call in calls if call.refusal)
    return {
        "calls": len(calls),
        "usable": len(calls) - refused.total(),
        "refused": dict(refused.most_common()),
        "new_tokens": sum(call.new_tokens or 0 for call in calls),
        "prompt_tokens": sum(call.prompt_tokens or 0 for call in calls),
    }


def of_the_run(work: Path, clips: Sequence[AudioClip]) -> dict[str, Any]:
    """What the run gave, held against labels."""
    known = {clip.id: label_of(clip) for clip in clips}
    with read_store(work / "flux") as store:
        items, calls = list(store.items()), list(store.calls())
    if (tried := {item.clip_id for item in items}) != set(known):
        raise SystemExit(f"expected a run over {len(known)} clips, got {len(tried)}")
    return {
        "items": len(items),
        "fates": fates_of(work),
        "steps": {
            step: replies([call for call in calls if call.step == step])
            for step in ("question", "verdict")
        },
        "captions_that_name_the_sound": rate(
            names(item.caption or "", label) for item in items if (label := known[item.clip_id])
        ),
        "writer": of_the_writer(items, known),
        "kept_with_the_true_answer": rate(
            bool(label := known[item.clip_id]) and names(_key(item.question), label or "")
            for item in items
            if item.fate == "kept" and item.question
        ),
    }


def fates_of(work: Path) -> dict[str, int]:
    """Items by fate and reason."""
    with read_store(work / "flux") as store:
        found = Counter((item.fate, item.reason) for item in store.items())
    return {" ".join(fate).strip(): number for fate, number in found.most_common()}


def of_the_writer(items: Sequence[Item], known: dict[str, str | None]) -> dict[str, Any]:
    """How good questions are that could be read."""
    asked = [item for item in items if item.question]
    sounds = [item for item in asked if known[item.clip_id]]
    speech = {item.clip_id for item in items if not known[item.clip_id]}
    options = Counter(tuple(sorted(item.question.choices)) for item in asked if item.question)
    told = [item for item in sounds if names(item.caption or "", known[item.clip_id] or "")]
    return {
        "questions": len(asked),
        "most_common_options": [[n, *names] for names, n in options.most_common(3)],
        "well_formed": rate(item.reason != "malformed_question" for item in asked),
        "key_is_what_the_caption_says": rate(
            names(item.caption or "", _key(item.question)) for item in asked
        ),
        "key_is_the_true_sound": rate(
            names(_key(item.question), known[item.clip_id] or "") for item in sounds
        ),
        "key_is_the_true_sound_where_the_caption_names_it": rate(
            names(_key(item.question), known[item.clip_id] or "") for item in told
        ),
        "speech_clips_turned_down": rate(
            all(item.reason == "category_mismatch" for item in items if item.clip_id == clip)
            for clip in sorted(speech)
        ),
    }


def _key(question: Question | None) -> str:
    assert question is not None, "only items with a question are measured"
    places = question.choices
    return places[question.answer] if 0 <= question.answer < len(places) else ""


def rate(found: Iterator[bool]) -> dict[str, Any]:
    """A share, with what it is of."""
    seen = list(found)
    return {"of": len(seen), "share": sum(seen) / len(seen) if seen else None}


Case = tuple[AudioClip, str, Question]


def cases(clips: Sequence[AudioClip]) -> list[Case]:
    """Questions of the rules about sounds that are known, with captions that are true."""
    leaf, places = read_taxonomy().leaves[LEAF], count()
    captions = [CLAUSES[label_of(clip) or ""] + "." for clip in clips]
    return [
        (clip, caption, asked)
        for clip, caption in zip(clips, captions, strict=True)
        for asked in written(clip, caption, leaf, places)
    ]


async def probed(config: FluxConfig, asked_of: Sequence[Case], dice: random.Random) -> Any:
    """The judge on answers whose truth is known."""
    settings = config.models[config.verdict.model]
    endpoint = Endpoint(settings.endpoint or "", timeout_seconds=settings.timeout_seconds)
    model = ChatModel(endpoint, settings.name, Gate("judge", 1), structured=settings.structured)
    leaf = read_taxonomy().leaves[LEAF]
    fates: dict[str, Counter[str]] = {kind: Counter() for kind in PROBES}
    for clip, caption, asked in asked_of:
        wrong = [place for place in range(len(asked.choices)) if place != asked.answer]
        other = dice.choice(wrong)
        pairs = ((asked.answer,) * 2, (other,) * 2, (asked.answer, other))
        for kind, pair in zip(PROBES, pairs, strict=True):
            answers = [
                Answer(model=f"m{n}", choice=c, reasoning=f"I hear {asked.choices[c]}.")
                for n, c in enumerate(dice.sample(pair, 2))
            ]
            fates[kind][await _verdict(model, config, clip, caption, leaf, asked, answers)] += 1
    passed = {kind: fates[kind]["passed"] for kind in PROBES}
    return {
        "fates": {kind: dict(found.most_common()) for kind, found in fates.items()},
        "recall_of_good": passed["both_right"] / fates["both_right"].total(),
        "precision_with_the_key": passed["both_right"] / max(sum(passed.values()), 1),
        "share_of_good_among_all": 1 / 3,
    }


async def _verdict(
    model: ChatModel,
    config: FluxConfig,
    clip: AudioClip,
    caption: str,
    leaf: Any,
    asked: Question,
    answers: Sequence[Answer],
) -> str:
    """What becomes of an item, by as many attempts as the run makes."""
    for attempt in range(config.verdict.attempts):
        heat = {"temperature": RETRY_TEMPERATURE if attempt else 0.0}
        step = config.verdict.model_copy(update=heat)
        request, nonce = verdict.ask(clip, caption, leaf, asked, answers, step, attempt)
        reply = await model.reply(request)
        if not isinstance(reply, Reply):
            raise reply
        try:
            found = judged(asked, answers, verdict.read(reply, answers, nonce))
        except RefusalError:
            continue
        return "passed" if found is None else f"{found[0]}: {found[1]}"
    return "failed: no verdict could be read"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=Path, required=True, help="the pack of recordings")
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--server-python", required=True, help="an interpreter with llama_cpp")
    parser.add_argument("--num", type=int, default=100)
    parser.add_argument("--probes", type=int, default=20, help="clips for the judge's probe")
    parser.add_argument("--work", type=Path, help="kept, and gone on with (default: thrown away)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "dataflux_small_writer.json")
    args = parser.parse_args()
    dice = random.Random(args.seed)
    clips = drawn(args.recordings, args.num, dice)
    with tempfile.TemporaryDirectory(prefix="dataflux-") as folder:
        work = args.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        with served(args.server_python, args.gguf, work / "server.log") as version:
            figures: dict[str, Any] = {
                "server": f"llama-cpp-python {version}",
                "model": args.gguf.name,
                "clips": dict(Counter((clip.source or "").split(":")[0] for clip in clips)),
                "seconds": run(clips, work, "run", "control.enabled=false"),
            }
            figures |= of_the_run(work, clips)
            run(clips, work, "refresh")
            figures["with_the_control"] = fates_of(work)
            write_result(args.out, figures)
            known = cases([clip for clip in clips if label_of(clip)][: args.probes])
            figures["judge"] = asyncio.run(probed(read_config(CONFIG), known, dice))
    write_result(args.out, figures)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
