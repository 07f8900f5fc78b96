"""The page for people at ``/`` of the HTTP interface: plain modules, style and one document, as browsers take them.

Nothing is built: the files of this folder are what is sent. They speak to ``/api/v1`` as every other client does.
"""

from __future__ import annotations

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
