"""One run's items as the report's browser shows them: clip, question, reply, verdicts."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from eureka_audio.asking.outcomes import CHOICE_SCORES
from eureka_audio.evaluation.benchmarks import Kind
from eureka_audio.evaluation.results import Part
from eureka_audio.pages.clips import AudioBudget

State = Literal["good", "bad", "none"]


def browsed_items(part: Part, budget: AudioBudget, limit: int) -> list[dict[str, Any]]:
    """The first items of a benchmark, each with its verdict under every rule."""
    rules = {rule: part.results(rule) for rule in part.rules}
    items = []
    for index, row in enumerate(islice(part.predictions(), max(limit, 0))):
        verdicts = [
            _verdict(part.benchmark.kind, rule, results[index]) for rule, results in rules.items()
        ]
        clip = row.get("audio") or row.get("clip")
        error = row.get("error") or {}
        items.append(
            {
                "part": part.title,
                "uid": str(row["uid"]),
                "audio": budget.number(Path(clip)) if clip else None,
                "question": row.get("question") or row.get("prompt") or "",
                "choices": row.get("choices"),
                "answer": row.get("answer") or row.get("reference"),
                "reply": row["prediction"],
                "scores": row.get(CHOICE_SCORES),
                "error": error.get("message", "no prediction"),
                "verdicts": verdicts,
                "state": _state(row, verdicts),
            }
        )
    return items


def _state(row: Mapping[str, Any], verdicts: list[dict[str, Any]]) -> State:
    if row["prediction"] is None:
        return "none"
    return "good" if verdicts and verdicts[0]["ok"] else "bad"


def _verdict(kind: Kind, rule: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """What a rule says, in words, and whether it is wholly right (None: no verdict)."""
    if result["status"] != "scored":
        reason = result.get("reason") or result["status"]
        return {"rule": rule, "ok": None, "text": f"no verdict: {reason}"}
    ok, text = _spoken(kind, result)
    return {"rule": rule, "ok": ok, "text": text}


def _spoken(kind: Kind, result: Mapping[str, Any]) -> tuple[bool | None, str]:
    match kind:
        case "transcript":
            edits, length = result["edits"], result["ref_len"]
            return edits == 0, f"{edits} wrong of {length}" if edits else f"all {length} right"
        case "option_text":
            return result["correct"], "right" if result["correct"] else "wrong"
        case "letter":
            read = result["extracted"] or f"none, drawn {result.get('drawn', '-')}"
            return result["correct"], f"letter read: {read}"
        case "no_words":
            return result["silent"], "silent" if result["silent"] else "wrote words"
        case "refusal":
            return result["refused"], "refused" if result["refused"] else "did not refuse"
        case "instructions":
            strict = result["strict"]
            return all(strict), f"{sum(strict)} of {len(strict)} instructions followed"
        case "events":
            told = [
                f"{name}: {', '.join(result[name])}" for name in ("found", "missed", "invented")
            ]
            whole = not result["missed"] and not result["invented"]
            return whole, "; ".join(line for line in told if not line.endswith(": "))
