"""The self-contained page: style, script and data in one file under a strict content policy.

The policy names the one style and the one script by hash; nothing else may run, and nothing is
fetched but the clips. The data is JSON in which no ``<`` occurs, so that no reply can end
its block.
"""

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

_SHARED = files("eureka_audio.pages")
CLIPS_ONLY = "media-src data: file: 'self'"


def page(
    content: Mapping[str, Any],
    assets: Traversable,
    names: Sequence[str],
    *,
    title: str,
    without_scripts: str,
    sources: str = CLIPS_ONLY,
) -> str:
    """The page that shows this content.

    Args:
        content: what its script finds as `data`.
        assets: the folder of what is its own.
        names: of its scripts, such as `report` for `report.js` and, where there is one,
            `report.css`; what all pages share comes before them.
        title: of the window.
        without_scripts: what is read where scripts are off.
        sources: what it may fetch, in the words of a content policy.
    """
    css, js = (_joined(assets, names, kind) for kind in ("css", "js"))
    filled = {
        "css_hash": _hash(css),
        "js_hash": _hash(js),
        "sources": sources,
        "title": html.escape(title),
        "without_scripts": html.escape(without_scripts),
        "css": css,
        "js": js,
        "data": _harmless(content),
    }
    pieces = (_SHARED / "page.html").read_text(encoding="utf-8").split("{{")
    parts = [pieces[0]]
    for piece in pieces[1:]:
        key, _, rest = piece.partition("}}")
        parts += [filled[key], rest]
    return "".join(parts)


def _joined(assets: Traversable, names: Sequence[str], kind: str) -> str:
    own = [assets / f"{name}.{kind}" for name in names]
    found = [_SHARED / f"base.{kind}", *(file for file in own if file.is_file())]
    return "\n".join(file.read_text(encoding="utf-8") for file in found)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _harmless(content: Mapping[str, Any]) -> str:
    """JSON that cannot close or open a tag or a comment."""
    text = json.dumps(content, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
