"""The chart, rendered by Helm's own code: what it makes is what Kubernetes and the program take."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Echo, free_port
from tests.waiting import until
from vaurien.cli.serve.daemon import OUR_FLAGS
from vaurien.cli.serve.go_flags import parse
from vaurien.client import Client

CHART = Path(__file__).parents[2] / "examples" / "helm" / "vaurien"
VERSIONS = ("1.29", "1.33")

FULL: dict[str, Any] = {
    "fleet": {
        "url": "tls://nats-1:4222,nats-2:4222/chaos?replicas=3",
        "labels": {"role": "payments", "zone": "a"},
        "required": True,
        "credentialsSecret": "nats-chaos",
        "caSecret": "nats-ca",
    },
    "proxies": [
        {"name": "redis", "port": 6379, "upstream": "redis:6379"},
        {"name": "db", "port": 5432, "upstream": "postgres.shop:5432"},
    ],
    "image": {"repository": "registry.example/vaurien", "tag": "3.1"},
    "args": ["-seed=7"],
    "tolerations": [{"key": "chaos", "operator": "Exists"}],
    "nodeSelector": {"disk": "fast"},
    "networkPolicy": {"from": []},
}

_HELM = """
import json, sys
import helm_python as helm
chart, values = sys.argv[1], json.loads(sys.argv[2])
found = {"lint": helm.lint(chart, values, strict=True)}
try:
    with helm.Chart.load(chart) as loaded:
        loaded.validate_schema(values)
        found["made"] = loaded.render(values, name="demo", namespace="shop")
except helm.HelmError as error:
    found["error"] = str(error)
print(json.dumps(found))
"""


def helm(values: dict[str, Any]) -> Any:
    """What Helm says of the chart with *values*, in a process of its own: its code is that of Go."""
    if importlib.util.find_spec("helm_python") is None:
        pytest.skip("helm-python-sdk is not installed (the group 'clients')")
    command = [sys.executable, "-c", _HELM, str(CHART), json.dumps(values)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


def manifests(values: dict[str, Any]) -> dict[str, Any]:
    """What the chart makes of *values*, by kind and name."""
    yaml = pytest.importorskip("ruamel.yaml").YAML(typ="safe")
    made = helm(values)["made"]
    texts = [text for path, text in made.items() if path.endswith(".yaml")]
    documents = [one for text in texts for one in yaml.load_all(text) if one]
    return {f"{one['kind']} {one['metadata']['name']}": one for one in documents}


@pytest.mark.parametrize("values", [{}, FULL], ids=["as it is", "with everything"])
def test_helm_and_the_schemas_of_kubernetes_take_it(values: dict[str, Any]) -> None:
    said = helm(values)["lint"]
    assert said["errors"] == []
    assert [one["error"] for one in said["messages"]] == ["icon is recommended"]
    validator = pytest.importorskip("kubernetes_validate")
    found = manifests(values)
    names = ["ConfigMap demo-vaurien", "Deployment demo-vaurien", "NetworkPolicy demo-vaurien"]
    assert sorted(found) == [*names, "Service demo-vaurien", "Service demo-vaurien-api"]
    for version in VERSIONS:
        for document in found.values():
            validator.validate(document, version, strict=True)


def test_what_belongs_together_has_the_same_names() -> None:
    found = manifests(FULL)
    deployment = found["Deployment demo-vaurien"]["spec"]
    pod = deployment["template"]
    for selector in (
        deployment["selector"]["matchLabels"],
        found["Service demo-vaurien"]["spec"]["selector"],
        found["Service demo-vaurien-api"]["spec"]["selector"],
        found["NetworkPolicy demo-vaurien"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= pod["metadata"]["labels"].items()
    [container] = pod["spec"]["containers"]
    assert container["image"] == "registry.example/vaurien:3.1"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"redis": 6379, "db": 5432, "http-api": 8474}
    for name in ("Service demo-vaurien", "Service demo-vaurien-api"):
        assert {port["targetPort"] for port in found[name]["spec"]["ports"]} <= ports.keys()
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_the_program_takes_the_flags() -> None:
    [container] = manifests(FULL)["Deployment demo-vaurien"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["vaurien", "serve"]
    values, rest = parse(container["args"], OUR_FLAGS)
    assert not rest
    assert (values["fleet"], values["label"]) == (FULL["fleet"]["url"], ("role=payments", "zone=a"))
    assert (values["require-ttl"], values["fleet-required"], values["seed"]) == (True, True, 7)
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    for flag in ("config", "token-file", "fleet-credentials", "fleet-ca"):
        assert str(Path(str(values[flag])).parent) in mounts


def test_the_program_runs_with_what_it_makes(tmp_path: Path) -> None:
    echo, port, interface = Echo(), free_port(), free_port()
    found = manifests({"proxies": [{"name": "echo", "port": port, "upstream": echo.address}]})
    [container] = found["Deployment demo-vaurien"]["spec"]["template"]["spec"]["containers"]
    (tmp_path / "token").write_text("a-token-of-24-characters")
    (tmp_path / "proxies.json").write_text(found["ConfigMap demo-vaurien"]["data"]["proxies.json"])
    places = {"/etc/vaurien": str(tmp_path), "/run/secrets/vaurien": str(tmp_path)}
    arguments = []
    for one in container["args"]:
        for inside, here in places.items():
            one = one.replace(inside, here)
        arguments.append(one)
    command = [sys.executable, "-m", *container["command"], *arguments, f"-port={interface}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            client = Client(port=interface, token="a-token-of-24-characters")
            until(lambda: process.poll() is not None or _lists(client))
            with socket.create_connection(("127.0.0.1", port), 60) as caller:
                caller.sendall(b"hello")
                assert caller.recv(5) == b"hello"
        finally:
            process.terminate()
            process.communicate(timeout=60)
            echo.close()


def _lists(client: Client) -> bool:
    try:
        return len(client.list_proxies()) == 1
    except Exception:  # nothing listens yet
        return False


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"proxies": []}, "proxies"),
        ({"proxies": [{"name": "Redis", "port": 1, "upstream": "a:1"}]}, "name"),
        ({"proxies": [{"name": "a", "port": 8474, "upstream": "a:1"}]}, "port"),
        ({"proxies": [{"name": "a", "port": 1, "upstream": "a"}]}, "upstream"),
        ({"fleet": {"url": "redis://h"}}, "url"),
        ({"fleet": {"ur1": "nats://h"}}, "ur1"),
        ({"tokenSecret": ""}, "tokenSecret"),
        ({"replica": 2}, "replica"),
    ],
)
def test_values_that_cannot_be_are_named(values: dict[str, Any], named: str) -> None:
    assert named in helm(values)["error"]
