"""Files for clusters, services and GitHub: their syntax, that the flags in them exist, and that the script works."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Echo, free_port, require
from vaurien.cli.serve.daemon import OUR_FLAGS
from vaurien.cli.serve.go_flags import parse
from vaurien.client import Client

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted((ROOT / "examples" / "kubernetes").glob("*.yaml"))
KUBERNETES = ("1.29", "1.33")
"""The first version in which a sidecar is an init container that goes on, and a late one."""


def documents(path: Path) -> list[Any]:
    return list(pytest.importorskip("ruamel.yaml").YAML(typ="safe").load_all(path))


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_what_the_schemas_of_kubernetes_say(path: Path, version: str) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    for document in documents(path):
        validator.validate(document, version, strict=True)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_the_program_takes_the_flags_and_the_proxies_of_a_manifest(path: Path) -> None:
    found = documents(path)
    [pod] = [one["spec"]["template"]["spec"] for one in found if one["kind"] == "Deployment"]
    [container] = [
        one for one in (*pod.get("initContainers", ()), *pod["containers"]) if one["image"].startswith("vaurien")
    ]
    assert container["command"] == ["vaurien", "serve"]
    values, rest = parse(container["args"], OUR_FLAGS)
    assert not rest
    [config] = [one for one in found if one["kind"] == "ConfigMap"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert values["config"] == f"{mounted['proxies']}/{next(iter(config['data']))}"
    for proxy in json.loads(next(iter(config["data"].values()))):
        assert set(proxy) == {"name", "listen", "upstream"}


def test_the_unit_is_one_of_systemd(tmp_path: Path) -> None:
    analyze = require("systemd-analyze")
    unit = (ROOT / "examples" / "vaurien.service").read_text()
    (tmp_path / "vaurien.service").write_text(unit.replace("/usr/local/bin/vaurien", sys.executable))
    done = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / "vaurien.service"], capture_output=True, text=True, timeout=60
    )
    assert [line for line in done.stderr.splitlines() if "vaurien" in line] == []


def test_the_unit_starts_the_program_as_it_takes_its_flags() -> None:
    unit = (ROOT / "examples" / "vaurien.service").read_text()
    command = re.search(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    assert command is not None
    program, verb, *flags = command[1].split()
    assert (Path(program).name, verb) == ("vaurien", "serve")
    values, rest = parse(flags, OUR_FLAGS)
    assert (values["host"], rest) == ("localhost", [])


def test_the_action_is_what_the_schema_of_github_says() -> None:
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-actions"]
    done = subprocess.run([*command, ROOT / "action" / "action.yml"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_script_of_the_action_starts_what_later_steps_steer(tmp_path: Path) -> None:
    """What pip would install is what the tests run with: an environment whose pip links to this one."""
    echo, port = Echo(), free_port()
    (tmp_path / "proxies.json").write_text(
        json.dumps([{"name": "echo", "listen": "127.0.0.1:0", "upstream": echo.address}])
    )
    made = _run_action(tmp_path, port, str(tmp_path / "proxies.json"))
    assert made.returncode == 0, made.stdout + made.stderr
    pid = int(re.search(r"process (\d+)", made.stdout)[1])  # type: ignore[index]
    try:
        outputs = (tmp_path / "output").read_text().splitlines()
        assert outputs[0] == f"url=http://localhost:{port}"
        assert (tmp_path / "env").read_text() == f"VAURIEN_URL=http://localhost:{port}\n"
        assert Path((tmp_path / "path").read_text().strip(), "vaurienctl").exists()
        [proxy] = Client(port=port).list_proxies()
        assert (proxy["name"], proxy["seed"]) == ("echo", "7")
    finally:
        os.kill(pid, signal.SIGTERM)
        echo.close()


def test_the_script_of_the_action_fails_with_the_log(tmp_path: Path) -> None:
    (tmp_path / "proxies.toml").write_text("[[proxy]]\n")
    failed = _run_action(tmp_path, free_port(), str(tmp_path / "proxies.toml"))
    assert failed.returncode == 1
    assert "::error::vaurien does not answer" in failed.stdout
    assert "it has no name" in failed.stdout


def _run_action(folder: Path, port: int, config: str) -> subprocess.CompletedProcess[str]:
    """Run the script as GitHub does, with a ``python3`` whose environments have the programs of this one."""
    bin_ = folder / "bin"
    bin_.mkdir()
    own = Path(sys.executable).parent
    (bin_ / "python3").write_text(
        f'#!/bin/sh\nmkdir -p "$3/bin"\nfor name in vaurien vaurienctl; do\n'
        f'  printf "#!/bin/sh\\nexec {own}/python -m %s \\"\\$@\\"\\n" '
        f'"$([ $name = vaurien ] && echo vaurien || echo vaurien.cli.ctl.main)" > "$3/bin/$name"\n'
        f'  chmod +x "$3/bin/$name"\ndone\nprintf "#!/bin/sh\\n" > "$3/bin/pip"\nchmod +x "$3/bin/pip"\n'
    )
    (bin_ / "python3").chmod(0o755)
    given = {"VERSION": "vaurien", "CONFIG": config, "PORT": str(port), "SEED": "7"}
    environment = {
        **os.environ,
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "RUNNER_TEMP": str(folder),
        **{f"GITHUB_{name.upper()}": str(folder / name) for name in ("path", "env", "output")},
        **{f"VAURIEN_ACTION_{name}": value for name, value in given.items()},
    }
    return subprocess.run(
        ["bash", ROOT / "action" / "start.sh"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
