"""The page for people at ``/`` of the HTTP interface: plain modules, style and one document, as browsers take them.

Nothing is built: the files of this folder are what is sent. They speak to ``/api/v1`` as every other client does.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path

MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

INDEX = "index.html"
"""The document."""

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names of the files."""
    return sorted(path.name for path in _FOLDER.iterdir() if path.suffix in MEDIA_TYPES)


def read(name: str) -> bytes:
    """The contents of the file *name*, one of `names`."""
    return (_FOLDER / name).read_bytes()


_IMPORT = re.compile(r'^import\b[^;]*?"\./([\w.-]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


def page(title: str, module: str, data: bytes) -> str:
    """A document called *title* that stands alone: *module*, which shows *data*, JSON, with all that it imports.

    It may load nothing, and run nothing but what is written into it, also from a disk.
    """
    script, style = _joined(module), read("style.css").decode()
    policy = f"default-src 'none'; img-src data:; script-src {_digest(script)}; style-src {_digest(style)}"
    safe = data.decode().replace("<", "\\u003c")  # so that no text in it ends the element
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{html.escape(title)}</title>
<style>{style}</style>
</head>
<body>
<main></main>
<script type="application/json" id="data">{safe}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def _joined(module: str) -> str:
    """*module* and all that it imports, as one: no two of them may use one name."""
    done: list[str] = []

    def add(name: str) -> str:
        if name in done:
            return ""
        done.append(name)
        text = read(name).decode()
        imported = "".join(add(other) for other in _IMPORT.findall(text))
        return imported + _EXPORT.sub("", _IMPORT.sub("", text))

    return add(module)


def _digest(text: str) -> str:
    """*text* as a policy names it (https://www.w3.org/TR/CSP3/#grammardef-hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
