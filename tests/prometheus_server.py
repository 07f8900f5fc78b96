"""A real Prometheus that looks at its targets five times a second."""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.servers import Server, require, started

_CONFIG = "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n"


@contextlib.contextmanager
def running(**targets: str) -> Iterator[Server]:
    """The server; *targets* are by the name of their job the ``host:port`` whose ``/metrics`` it reads."""
    program = require("prometheus")

    def command(port: int, folder: Path) -> list[str | Path]:
        jobs = [{"job_name": name, "static_configs": [{"targets": [one]}]} for name, one in targets.items()]
        (folder / "prometheus.yml").write_text(_CONFIG + "".join(f"- {json.dumps(one)}\n" for one in jobs))
        options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        return [program, *options, f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]

    with started(command, ready=_is_ready) as server:
        yield server


def _is_ready(port: int) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5) as answer:
            return answer.status == 200
    return False


def asked(server: Server, expression: str) -> list[Any]:
    """The samples that *expression* gives now, each with its labels as ``metric`` and its ``value``."""
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://{server.address}/api/v1/query?{query}", timeout=30) as answer:
        return json.load(answer)["data"]["result"]
