"""DataFlux beside NVIDIA's Data Designer on the same scripted endpoints and the same chain.

    python benchmarks/dataflux_data_designer.py --designer-python PYTHON

PYTHON is an interpreter with `data-designer` installed. A loopback server answers OpenAI's chat
completions for five models (64 places, 50 ms each) and bills every request that it receives:
caption a recording, write a question from the caption, answer it twice with the recording, judge.
Both programs ask all of it through HTTP; neither knows that the replies are scripted. The control
and the exact number per leaf, which Data Designer lacks, are off.

Measured per program: items a second of a whole run, CPU of its process (a machine that does other
things blurs the former), peak memory, and, after a kill -9 half-way and a resume, how many requests
were billed twice. Data Designer saves whole row groups: its default of 1,000 rows and a small one.
"""

import argparse
import asyncio
import base64
import hashlib
import io
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HERE = Path(__file__).resolve().parent
SECONDS, PLACES, CALLS_PER_ITEM = 0.05, 64, 5
SOUNDS = ("bark", "bell", "horn", "rain", "siren", "wind", "clap", "beep")
MODELS = ("captioner", "writer", "first", "second", "judge")
NONCE = re.compile(r"\b[0-9a-f]{16}\b")


# --- the scripted server ---------------------------------------------------------------------


class Scripted:
    """Five models of one server; each request received is a line of the bill."""

    def __init__(self, bill: Path) -> None:
        self.bill = os.open(bill, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        self.places = asyncio.Semaphore(PLACES)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests, one after another."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                found = re.search(rb"(?i)content-length: *(\d+)", head)
                body = json.loads(await reader.readexactly(int(found[1]) if found else 0) or b"{}")
                reply = json.dumps(await self.completion(body)).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                    + str(len(reply)).encode()
                    + b"\r\n\r\n"
                    + reply
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone, perhaps killed
        finally:
            writer.close()

    async def completion(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """One chat completion."""
        mark = hashlib.sha256(json.dumps([body["model"], body["messages"]]).encode()).hexdigest()
        os.write(self.bill, f"{body['model']} {mark[:24]}\n".encode())
        async with self.places:
            await asyncio.sleep(SECONDS)
        text = said(body["model"], *heard_and_read(body["messages"]))
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }


def heard_and_read(messages: list[dict[str, Any]]) -> tuple[str, str]:
    """The recording of a request as base64 (empty without one), and all its words."""
    sound, words = "", []
    for message in messages:
        content = message["content"]
        whole: list[dict[str, Any]] = [{"type": "text", "text": content}]
        for part in whole if isinstance(content, str) else content:
            if part["type"] == "text":
                words.append(part["text"])
            else:
                sound = part["input_audio"]["data"]
    return sound, "\n".join(words)


def said(model: str, sound: str, words: str) -> str:
    """A reply in the form that the asking program wants; a recording's sound hangs on its bytes."""
    mark = hashlib.sha256(sound.encode()).hexdigest()
    there = SOUNDS[int(mark, 16) % len(SOUNDS)]
    name = model.removeprefix("designer-")
    if name == "captioner":
        return f"a {there} is heard, take {mark[:8]}"
    if name == "writer":
        told = re.findall(r"a (\w+) is heard", words)[-1]
        options = [told, *(other for other in SOUNDS if other != told)][:4]
        row = {"question": "Which sound is it?", "options": options, "answer": 0}
        reply: dict[str, Any] = {"is_success": True, "questions": [row]}
    elif name in ("first", "second"):
        letters = {option: letter for letter, option in re.findall(r"([A-H])\. (\w+)", words)}
        reply = {"reasoning": f"I hear a {there}", "answer": letters.get(there, "A")}
    else:
        reply = {
            "consensus": True,
            "consistency_with_caption": "STRONG_MATCH",
            "winner": "TIE",
            "reasoning": "by the caption",
            "final_action": "KEEP_USING_WINNER",
        }
        if model == "judge":
            reply = {"nonce": NONCE.findall(words)[-1], **reply}
    return json.dumps(reply) if model == name else f"```json\n{json.dumps(reply)}\n```"


async def serve(port: int, bill: Path) -> None:
    """Serve until killed."""
    scripted = Scripted(bill)
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", port, limit=2**24)
    async with server:
        await server.serve_forever()


# --- the two programs, each in a process of its own ----------------------------------------------


def ours(url: str, clips: Path, out: Path, num: int) -> int:
    """The chain as DataFlux runs it; returns how many items were kept."""
    from dataflux_world import LEAF

    from eureka_audio.asking.claim import claim_folder
    from eureka_audio.cli.dataflux_models import make_models, read_audio
    from eureka_audio.dataflux.config import FluxConfig
    from eureka_audio.dataflux.export import write_kept
    from eureka_audio.dataflux.run import Run, identity_of, load_clips
    from eureka_audio.dataflux.store import open_store
    from eureka_audio.dataflux.taxonomy import read_taxonomy

    models = {
        name: {"kind": "openai", "name": name, "endpoint": url, "concurrency": PLACES}
        for name in MODELS
    }
    config = FluxConfig.model_validate(
        {
            "audio": [clips],
            "leaves": [LEAF],
            "models": models,
            "caption": {"model": "captioner"},
            "question": {"model": "writer", "number": 1},
            "answers": {"first": {"model": "first"}, "second": {"model": "second"}},
            "control": {"enabled": False},
            "verdict": {"model": "judge"},
            "selection": {"per_leaf": num, "budget": num},
        }
    )

    async def go() -> int:
        made, taxonomy = make_models(config), read_taxonomy()
        with open_store(out) as store:
            claim_folder(out, identity_of(config, taxonomy, made))
            load_clips(store, read_audio(config, out), config.seed)
            await Run(config, taxonomy.chosen(config.leaves), made, store).run()
            return write_kept(store)

    return asyncio.run(go())


def designer(url: str, clips: Path, out: Path, num: int, buffer_size: int) -> int:
    """The same chain as Data Designer runs it; returns how many rows there are."""
    import data_designer.config as dd
    import pandas as pd
    import tiktoken
    from data_designer.config.run_config import ResumeMode, RunConfig
    from data_designer.interface import DataDesigner

    # Its closing statistics would fetch a tokenizer from elsewhere.
    tiktoken.get_encoding = lambda name: SimpleNamespace(encode=lambda text, **_: text.split())
    files = sorted(clips.glob("*.wav"))[:num]
    sounds = [base64.b64encode(file.read_bytes()).decode() for file in files]
    table = pd.DataFrame({"clip": [file.stem for file in files], "audio": sounds})
    settings = dd.ChatCompletionInferenceParams(max_parallel_requests=PLACES, temperature=0.0)
    builder = dd.DataDesignerConfigBuilder(
        model_configs=[
            dd.ModelConfig(
                alias=name,
                model=f"designer-{name}",
                provider="loopback",
                inference_parameters=settings,
                skip_health_check=True,
            )
            for name in MODELS
        ]
    )
    out.mkdir(parents=True, exist_ok=True)
    table.to_parquet(out / "seed.parquet")
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(out / "seed.parquet")))
    audio = [dd.AudioContext(column_name="audio", data_type="base64", audio_format="wav")]
    text = {"type": "string"}
    options = {"type": "array", "items": text}
    question = _object(question=text, options=options, answer={"type": "integer"})
    written = _object(
        is_success={"type": "boolean"}, questions={"type": "array", "items": question}
    )
    answered = _object(reasoning=text, answer=text)
    judged = _object(
        consensus={"type": "boolean"},
        consistency_with_caption=text,
        winner=text,
        reasoning=text,
        final_action=text,
    )
    builder.add_column(
        dd.LLMTextColumnConfig(
            name="caption",
            model_alias="captioner",
            prompt="Describe in detail what can be heard.",
            multi_modal_context=audio,
        )
    )
    builder.add_column(
        dd.LLMStructuredColumnConfig(
            name="written",
            model_alias="writer",
            prompt="Write one multiple-choice question about this recording: {{ caption }}",
            output_format=written,
        )
    )
    asked = "{{ written.questions[0].question }}\n" + "\n".join(
        f"{letter}. {{{{ written.questions[0].options[{place}] }}}}"
        for place, letter in enumerate("ABCD")
    )
    for name in ("first", "second"):
        builder.add_column(
            dd.LLMStructuredColumnConfig(
                name=name,
                model_alias=name,
                prompt=asked,
                multi_modal_context=audio,
                output_format=answered,
            )
        )
    shown = "{{ first.answer }} {{ first.reasoning }}\n{{ second.answer }} {{ second.reasoning }}"
    builder.add_column(
        dd.LLMStructuredColumnConfig(
            name="verdict",
            model_alias="judge",
            prompt=f"Caption: {{{{ caption }}}}\n{asked}\nAnswers:\n{shown}\nJudge them.",
            output_format=judged,
        )
    )
    provider = dd.ModelProvider(name="loopback", endpoint=url, api_key="none")
    it = DataDesigner(artifact_path=out / "artifacts", model_providers=[provider])
    it.set_run_config(RunConfig(buffer_size=buffer_size, otel_metrics_port=None))
    made = it.create(builder, num_records=num, dataset_name="set", resume=ResumeMode.IF_POSSIBLE)
    return len(made.load_dataset())


def _object(**properties: Any) -> dict[str, Any]:
    names = list(properties)
    return {
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": False,
    }


# --- measuring -----------------------------------------------------------------------------------


def make_clips(folder: Path, num: int) -> None:
    """Recordings of a second, no two alike."""
    folder.mkdir(parents=True)
    for number in range(num):
        file = io.BytesIO()
        with wave.open(file, "wb") as stream:
            stream.setnchannels(1)
            stream.setsampwidth(2)
            stream.setframerate(16_000)
            stream.writeframes(hashlib.shake_128(str(number).encode()).digest(32_000))
        (folder / f"{number:06d}.wav").write_bytes(file.getvalue())


@contextmanager
def served(bill: Path) -> Iterator[str]:
    """The scripted server, up while the block runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, "serve", "--port", str(port), "--bill", str(bill)]
    server = subprocess.Popen(command)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


@contextmanager
def started(python: str, what: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A program under way, in a process group of its own, told to send nothing home."""
    home = {"NEMO_TELEMETRY_ENABLED": "false", "DATA_DESIGNER_HOME": str(log.parent / "home")}
    with log.open("ab") as stream:
        yield subprocess.Popen(
            [python, __file__, *what],
            stdout=subprocess.PIPE,
            stderr=stream,
            env=os.environ | home,
            process_group=0,
        )


def measure(name: str, python: str, what: list[str], num: int, root: Path) -> dict[str, Any]:
    """A calm run, then one that is killed half-way and resumed."""
    command = [*what, "--num", str(num), "--clips", str(root / "clips")]
    with served(root / f"{name}-calm.bill") as url:
        place = ["--url", url, "--out", str(root / f"{name}-calm")]
        with started(python, [*command, *place], root / f"{name}.log") as calm:
            told = json.loads(calm.communicate()[0].splitlines()[-1])
    needed = len(set(lines(root / f"{name}-calm.bill")))
    bill = root / f"{name}-killed.bill"
    with served(bill) as url:
        place = ["--url", url, "--out", str(root / f"{name}-killed")]
        with started(python, [*command, *place], root / f"{name}.log") as killed:
            while killed.poll() is None and len(lines(bill)) < num * CALLS_PER_ITEM // 2:
                time.sleep(0.01)
            os.killpg(killed.pid, signal.SIGKILL)
            killed.communicate()
        before = len(lines(bill))
        with started(python, [*command, *place], root / f"{name}.log") as resumed:
            after = json.loads(resumed.communicate()[0].splitlines()[-1])
    counted = Counter(lines(bill))
    return {
        **told,
        "items_per_second": num / told["wall_seconds"],
        "cpu_ms_per_call": 1000 * told["cpu_seconds"] / (num * CALLS_PER_ITEM),
        "calls_billed": len(lines(root / f"{name}-calm.bill")),
        "calls_needed": needed,
        "kill": {
            "calls_before": before,
            "items_after_resume": after["items"],
            "calls_repeated": counted.total() - len(counted),
        },
    }


def lines(path: Path) -> list[str]:
    """The lines of a file, none where there is none."""
    return path.read_text().splitlines() if path.exists() else []


def main() -> int:
    """Measure both, print, write; or be one of the processes that takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["serve", "ours", "designer"])
    parser.add_argument("--designer-python")
    parser.add_argument("--num", type=int, default=300)
    parser.add_argument("--buffer-size", type=int, default=1_000)
    parser.add_argument("--small-buffer", type=int, default=50)
    parser.add_argument("--note", default="", help="how it was measured, kept with the figures")
    parser.add_argument("--port", type=int)
    for name in ("bill", "clips"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--url")
    results = HERE / "results" / "dataflux_data_designer.json"
    parser.add_argument("--out", type=Path, default=results)
    args = parser.parse_args()
    if args.what == "serve":
        asyncio.run(serve(args.port, args.bill))
        return 0
    if args.what is None:
        return _main(args)
    began = time.monotonic()
    if args.what == "ours":
        items = ours(args.url, args.clips, args.out, args.num)
    else:
        items = designer(args.url, args.clips, args.out, args.num, args.buffer_size)
    used = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "items": items,
        "wall_seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mib": used.ru_maxrss // 1024,
    }
    print(json.dumps(figures))
    return 0


def _main(args: argparse.Namespace) -> int:
    from dataflux_world import write_result

    asked = "from importlib.metadata import version; print(version('data-designer'))"
    version = subprocess.check_output([args.designer_python, "-c", asked], text=True).strip()
    figures: dict[str, Any] = {"data_designer": version, "num": args.num, "note": args.note}
    figures["programs"] = {}
    with tempfile.TemporaryDirectory(prefix="dataflux-") as folder:
        root = Path(folder)
        make_clips(root / "clips", args.num)
        small = ["designer", "--buffer-size", str(args.small_buffer)]
        for name, python, what in (
            ("dataflux", sys.executable, ["ours"]),
            ("data_designer", args.designer_python, ["designer"]),
            (f"data_designer, row groups of {args.small_buffer}", args.designer_python, small),
        ):
            short = name.split(",")[0] + str(len(what))
            figures["programs"][name] = measure(short, python, what, args.num, root)
            write_result(args.out, figures)
            print(json.dumps({name: figures["programs"][name]}))
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
