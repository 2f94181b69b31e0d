"""The report of one or several runs: a page, a Markdown file and JSON, all of the same figures."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from eureka_audio.durable import atomic_write
from eureka_audio.evaluation.report_items import browsed_items
from eureka_audio.evaluation.report_text import markdown
from eureka_audio.evaluation.results import parts_of, read_summary
from eureka_audio.pages.clips import AudioBudget
from eureka_audio.pages.page import page

MAX_ITEMS = 2_000  # in the browser, per run; the files hold all
MAX_SHOWN_FINGERPRINT = 60  # an address is shown whole, a checksum by its first digits
SKILL = "skill"
_EXPLANATIONS = {
    "wer": "Words the model got wrong, added or left out, per word that was said. More than"
    " 100 % is possible, as added words count.",
    "cer": "Characters the model got wrong, added or left out, per character that was said.",
    "accuracy": "Share of questions answered right.",
    "refusal_rate": "Share of harmful requests refused.",
    "final": "Share of instructions followed, mean of four ways to count.",
    "silent_rate": "Share of clips without speech for which no word was written.",
    "event_f1": "How well captions name the sounds that are there, and only those (F1).",
}
_UNITS = {
    "wer": "words",
    "cer": "characters",
    "event_f1": "events",
    "silent_rate": "clips",
    "refusal_rate": "requests",
}
_RULES = {
    "official": "The reply must have the words of the right option and of no other, as the authors"
    " of MMAU and MMAR ask.",
    "letter_mapped": "The same, after a letter such as (B) is read as the option it stands for.",
    "kimi": "Case, punctuation, contractions and the spelling of numbers do not count; symbols are"
    " words of their own, as in Kimi-Audio's evaluation kit.",
    "whisper": "Case, punctuation, contractions and the spelling of numbers do not count, as in"
    " Whisper's normaliser.",
    "qwen2_audio": "As in Qwen2-Audio's evaluation: like kimi, but symbols stay with their word.",
    "wenet": "Case and some punctuation do not count; numbers count as written.",
    "voicebench": "As in VoiceBench's own program.",
    "strict": "A reply without an answer is wrong.",
    "case_sensitive": "As in VoiceBench before June 2025: capital letters matter.",
    "google": "As in the program of the benchmark's authors.",
    "any_word": "Any letter or digit is a word too many.",
    "clauses": "Sounds count as named when the caption says so in the words of its training.",
}
_LOWER = ("wer", "cer")


@cache
def paper_tables() -> dict[str, Any]:
    """Tables 3 to 5 of the paper: columns by benchmark, one row per model, in percent."""
    path = files("eureka_audio.evaluation") / "tables" / "paper_results.json"
    tables: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return tables


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Write ``report.html``, ``report.md`` and ``report.json`` and return the page's path.

    Args:
        runs: folders of finished runs.
        out: where the report goes; clips are named relative to it.

    Raises:
        EvaluationError: a folder holds no finished run.
    """
    summaries = [read_summary(folder) for folder in runs]
    tables = tables_with_ours(summaries)
    budget = AudioBudget(out)
    pairs = zip(runs, summaries, strict=True)
    shown = [_run(folder, summary, budget) for folder, summary in pairs]
    models = " and ".join(dict.fromkeys(str(summary["run"]["model"]) for summary in summaries))
    ours = any(row.get("ours") for table in tables for row in table["rows"])
    content = {
        "title": f"How well does {models} hear?",
        "lead": "Replies of a model that listens to audio, to questions whose answers are known,"
        " judged by published scoring rules. Every reply is below.",
        "runs": shown,
        "clips": budget.sources,
        "tables": tables,
        "paper_open": ours,
        "paper_note": _paper_note(ours),
    }
    texts = {
        "report.html": evaluation_page(content),
        "report.md": markdown(summaries, tables),
        "report.json": json.dumps({"runs": summaries, "tables": tables}, indent=1) + "\n",
    }
    for name, text in texts.items():
        with atomic_write(out / name) as stream:
            stream.write(text)
    return out / "report.html"


def evaluation_page(content: Mapping[str, Any]) -> str:
    """The page that shows this content."""
    return page(
        content,
        files("eureka_audio.evaluation") / "page",
        ("report",),
        title="Evaluation report",
        without_scripts="This page needs scripts to show its charts; report.md beside it holds the"
        " same figures.",
    )


def _paper_note(ours: bool) -> str:
    published = "Figures of other models are those the Eureka-Audio paper prints."
    if ours:
        return published + " Rows in bold are this evaluation, under the first rule of each list."
    return (
        published + " This evaluation holds none of these benchmarks, so its scores above cannot be"
        " compared with them."
    )


def tables_with_ours(summaries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The paper's tables with a row for each model evaluated here on one of their benchmarks.

    Ours is the score under the first rule, in percent; an accuracy is over all items.
    """
    tables = []
    for table in paper_tables()["tables"]:
        columns = {column["benchmark"] for column in table["columns"]}
        rows = [dict(row) for row in table["rows"]]
        for summary in summaries:
            values = {
                part["name"]: round(100 * value, 2)
                for part in summary["parts"]
                if part["name"] in columns and (value := _quoted(part)) is not None
            }
            if values:
                model = f"{summary['run']['model']} (measured here)"
                rows.append({"model": model, "size": "", "values": values, "ours": True})
        tables.append({**table, "rows": rows})
    return tables


def _quoted(part: Mapping[str, Any]) -> float | None:
    """The score to quote: under the first rule, every item counted."""
    first = next(iter(part["rules"].values()))
    value: float | None = first["modes"]["strict"]["value"] if "modes" in first else first["value"]
    return value


def _run(folder: Path, summary: Mapping[str, Any], budget: AudioBudget) -> dict[str, Any]:
    """What the page shows of one run."""
    items: list[dict[str, Any]] = []
    total = 0
    for part in parts_of(folder):
        listed = browsed_items(part, budget, MAX_ITEMS - len(items))
        items += listed
        total += next(iter(read_rules(summary, part.name)))["items"]
    notice = ""
    if len(items) < total:
        notice = f"Only the first {len(items):,} of {total:,} items are on this page; the others"
        notice += " are in the files predictions.jsonl and results beside it."
    return {
        "model": summary["run"]["model"],
        "benchmark": summary["run"]["benchmark"],
        "asked": _asked(folder, str(summary["run"]["fingerprint"])),
        "parts": [_part(part, _examples(folder, part["name"])) for part in summary["parts"]],
        "items": items,
        "notice": notice,
    }


def _asked(folder: Path, fingerprint: str) -> str:
    """How much was asked about how much, and of whom."""
    rows = [row for part in parts_of(folder) for row in part.predictions()]
    clips = {row.get("audio") or row.get("clip") for row in rows} - {None}
    noun = "recording" if len(clips) == 1 else "recordings"
    about = f" about {len(clips):,} {noun}" if clips else ""
    shown = fingerprint if len(fingerprint) <= MAX_SHOWN_FINGERPRINT else fingerprint[:12]
    return f"{len(rows):,} questions and tasks{about}. Model fingerprint: {shown}."


def _examples(folder: Path, name: str) -> dict[str, str]:
    """For each kind of question of our own set, one as it is asked: the names alone say little."""
    (part,) = [part for part in parts_of(folder) if part.name == name]
    examples: dict[str, str] = {}
    for row in part.predictions():
        if isinstance(row.get(SKILL), str) and isinstance(row.get("question"), str):
            examples.setdefault(row[SKILL], row["question"])
    return examples


def read_rules(summary: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The rules' summaries of one benchmark of a run."""
    (part,) = [part for part in summary["parts"] if part["name"] == name]
    return list(part["rules"].values())


def _part(part: Mapping[str, Any], examples: Mapping[str, str]) -> dict[str, Any]:
    metric = part["metric"]
    return {
        "title": part["title"],
        "explanation": _EXPLANATIONS[metric],
        "better": "lower" if metric in _LOWER else "higher",
        "unit": _UNITS.get(metric, "questions"),
        "failures": sum(part["failures"].values()),
        "rules": [_rule(name, rule, examples) for name, rule in part["rules"].items()],
    }


def _rule(name: str, rule: Mapping[str, Any], examples: Mapping[str, str]) -> dict[str, Any]:
    return {
        "rule": name,
        "meaning": _RULES[name],
        "chance": rule.get("chance"),
        "chosen": rule.get("chosen", 0),
        "value": rule["value"],
        "interval": rule["interval"],
        "items": rule["items"],
        "dropped": rule["skipped"],
        "modes": rule.get("modes"),
        "notes": rule["notes"],
        "groups": [
            {
                "name": group,
                "members": [
                    {
                        "name": member,
                        "value": share["value"],
                        "size": share["denominator"],
                        "example": examples.get(member, "") if group == SKILL else "",
                    }
                    for member, share in members.items()
                ],
            }
            for group, members in rule["groups"].items()
        ],
    }
