"""The image without an engine for containers: a folder that stands for its root, and what its instructions do there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import PATIENCE, Echo

PROJECT = Path(__file__).parents[2]
PREFIX = "/opt/vaurien"

pytestmark = pytest.mark.slow


class Image:
    """What the Dockerfile makes: *root* stands for the root of its files, *environment* is what its programs see."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"PATH": os.defpath, "HOME": str(root)}
        self.entry_point: list[str] = []
        self.command: list[str] = []

    def within(self, text: str) -> str:
        """*text* with the paths of the image as they are on this machine."""
        return re.sub(r"(?<![\w.])/(?=opt/|toxiproxy)", f"{self.root}/", text)

    def build(self, context: Path) -> None:
        text = (context / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
        work = self.root / "build"
        work.mkdir(parents=True)
        python = Path(sysconfig.get_path("scripts"))
        for line in text.splitlines():
            instruction, _, rest = line.partition(" ")
            match instruction:
                case "COPY" if not rest.startswith("--from="):
                    *sources, target = rest.split()
                    for source in sources:
                        copy(context / source, work / target)
                case "RUN":
                    path = f"{python}:{os.defpath}"
                    subprocess.run(
                        ["sh", "-ec", self.within(rest)], cwd=work, check=True, env={**os.environ, "PATH": path}
                    )
                case "ENV":
                    for pair in shlex.split(rest):
                        name, _, value = pair.partition("=")
                        self.environment[name] = self.within(value).replace("$PATH", self.environment["PATH"])
                case "ENTRYPOINT":
                    self.entry_point = json.loads(rest)
                case "CMD":
                    self.command = json.loads(rest)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        program = [self.within(part) for part in self.entry_point]
        return subprocess.Popen(
            [*program, *arguments],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment | variables,
        )

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """As ``docker exec`` does."""
        return subprocess.run(
            [self.within(command[0]), *command[1:]],
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=self.environment | variables,
        )


def copy(source: Path, target: Path) -> None:
    """As COPY does, with what .dockerignore leaves out."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    made = Image(tmp_path_factory.mktemp("image"))
    try:
        made.build(PROJECT)
    except subprocess.CalledProcessError as error:
        if not reaches_an_index():
            pytest.skip("no package index can be reached")
        pytest.fail(f"the image cannot be built: {error}")
    return made


def reaches_an_index() -> bool:
    command = [sys.executable, "-m", "pip", "index", "versions", "click"]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode == 0


@pytest.fixture
def served(image: Image) -> Iterator[dict[str, Any]]:
    """The line of the log that users wait for, of the image's own program with its own arguments."""
    process = image.start(*image.command, "-port=0")
    try:
        assert process.stdout is not None
        said: dict[str, Any] = {}
        for line in process.stdout:
            said = json.loads(line)
            if said["message"] == "Starting Toxiproxy HTTP server":
                break
        assert said["message"] == "Starting Toxiproxy HTTP server", process.stderr.read() if process.stderr else ""
        yield said
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_the_server_listens_to_all_and_the_command_line_steers_it(image: Image, served: dict[str, Any]) -> None:
    assert (served["host"], served["level"], served["version"]) == ("0.0.0.0", "info", "2.13.0")
    url = {"TOXIPROXY_URL": f"http://127.0.0.1:{served['port']}"}
    health = image.run("/toxiproxy-cli", "list", **url)
    assert (health.returncode, health.stdout, health.stderr) == (0, "", "")
    with Echo() as echo:
        upstream = f"127.0.0.1:{echo.address[1]}"
        made = image.run("/toxiproxy-cli", "create", "-l", "127.0.0.1:0", "-u", upstream, "redis", **url)
        assert (made.stdout, made.stderr) == ("Created new proxy redis\n", "")
        toxic = ("toxic", "add", "-t", "latency", "-a", "latency=5", "redis")
        assert "Added downstream latency toxic" in image.run("/toxiproxy-cli", *toxic, **url).stdout
    assert image.run("/toxiproxy-cli", "inspect", "redis", **url).stdout.startswith(
        "latency_downstream\ttype=latency\t"
    )


def test_nothing_listens_and_the_health_check_says_so(image: Image) -> None:
    failed = image.run("/toxiproxy-cli", "list", TOXIPROXY_URL="http://127.0.0.1:1")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Failed to retrieve proxies: ")


def test_it_answers_what_testcontainers_waits_for(served: dict[str, Any]) -> None:
    """Its modules for Toxiproxy (Java, Go, Node) ask for /version at port 8474 until it is 200."""
    with urllib.request.urlopen(f"http://127.0.0.1:{served['port']}/version", timeout=PATIENCE) as answer:
        assert (answer.status, json.loads(answer.read())) == (200, {"version": "2.13.0"})
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    assert "EXPOSE 8474" in dockerfile


@pytest.mark.parametrize("program", ["vaurien", "vaurienctl", "toxiproxy-server", "toxiproxy-cli"])
def test_the_programs_are_on_the_path(image: Image, program: str) -> None:
    found = shutil.which(program, path=image.environment["PATH"])
    assert found == f"{image.root}{PREFIX}/bin/{program}"
    assert image.run(found, "--version").returncode == 0


def test_an_argument_takes_the_place_of_the_command(image: Image) -> None:
    process = image.start("-version")
    out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "toxiproxy-server version 2.13.0\n")
