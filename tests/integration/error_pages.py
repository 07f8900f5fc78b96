"""What the pages on the errors of clients have in common: the tables, the versions, and the check of a page."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.servers import require

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"

Reports = Mapping[str, Mapping[str, str]]
"""What each client says, by the fault."""


def printed(command: list[str], **variables: str) -> list[str]:
    """The lines of JSON that *command* prints, run without the proxies of the environment."""
    given = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**given, **variables}, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def curl_version() -> tuple[str, str]:
    """curl, and its OpenSSL."""
    words = subprocess.run([require("curl"), "--version"], capture_output=True, text=True).stdout.split()
    return f"curl {words[1]}", next(word for word in words if word.startswith("OpenSSL/"))


def node_version() -> tuple[str, str]:
    """Node, and its OpenSSL."""
    shown = "process.version + ' ' + process.versions.openssl"
    ran = subprocess.run([require("node"), "-p", shown], capture_output=True, text=True)
    node, openssl = ran.stdout.split()
    return f"Node {node}", f"OpenSSL {openssl}"


def named(fault: str) -> list[str]:
    """The behaviors of *fault*, which may be several, with a plus between them."""
    return [part.partition(" ")[0] for part in fault.split(" + ")]


def table(reports: Reports, faults: Iterable[str], clients: tuple[str, ...]) -> Iterator[str]:
    """The lines of a table: a fault in each row, a client in each column."""
    yield "| fault | " + " | ".join(clients) + " |"
    yield "|---|" + "---|" * len(clients)
    for fault in faults:
        links = (f"[`{part}`](behaviors/{named(part)[0]}.md)" for part in fault.split(" + "))
        shown = (reports[fault][client].replace("|", "\\|") for client in clients)
        yield f"| {'no fault' if fault == 'noop' else ' + '.join(links)} | " + " | ".join(shown) + " |"


def framed(module: str, title: str, versions: str, lines: Iterable[str]) -> str:
    """The page that *module* writes."""
    target = module.replace("_", "-")
    head = [f"<!-- Written by tests/integration/{module}.py: `make {target}`. -->", "", f"# {title}", ""]
    return "\n".join([*head, f"Seen with {versions}.", "", *lines, ""])


def check_reports(said: Mapping[str, str], kinds: Mapping[str, str], fault: str) -> None:
    """Each client of *kinds* reports of *fault* what its pattern there says."""
    for client, kind in kinds.items():
        assert re.search(kind, said[client].lower()), f"{fault}: {client}: {said[client]}"


def check_page(page: Path, written: str, versions: str) -> None:
    """*page* is what is *written* now; skipped where it was made with other clients."""
    text = page.read_text(encoding="utf-8")
    if versions not in text:
        pytest.skip(f"the page was written with other clients than {versions}")
    assert written.splitlines() == text.splitlines(), f"make {page.stem}"
