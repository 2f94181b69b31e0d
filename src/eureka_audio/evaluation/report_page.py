"""The self-contained page: style, script and data in one file under a strict content policy.

The policy names the one style and the one script by hash; nothing else may run, and nothing is
fetched but the clips. The data is JSON in which no ``<`` occurs, so that no reply can end
its block.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_PAGE = files("eureka_audio.evaluation") / "page"


def page(content: Mapping[str, Any]) -> str:
    """The page that shows this content."""
    css, js = _asset("report.css"), _asset("report.js")
    filled = {
        "css_hash": _hash(css),
        "js_hash": _hash(js),
        "css": css,
        "js": js,
        "data": _harmless(content),
    }
    text = _asset("report.html")
    pieces = text.split("{{")
    parts = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        parts += [filled[name], rest]
    return "".join(parts)


def _asset(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _harmless(content: Mapping[str, Any]) -> str:
    """JSON that cannot close or open a tag or a comment."""
    text = json.dumps(content, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
