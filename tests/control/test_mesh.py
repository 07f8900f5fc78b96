"""The routes of a mesh."""

from __future__ import annotations

import pytest

from tests.control.interface import interface
from tests.hubs import COUNTS
from vaurien.config import Given, load
from vaurien.config.topologies import edge_name

NODES = {("mesh", "nodes"): Given("a=127.0.0.1:9,b=127.0.0.1:9,c=127.0.0.1:9", "--nodes")}
FREE = {**NODES, ("mesh", "first_port"): Given("0", "--first-port")}


@pytest.fixture(params=COUNTS)
def served(request):
    configuration = load(FREE, {})
    with interface(mesh=configuration.mesh, workers=request.param) as served:
        served.run(served.hub.replace(configuration.proxies))
        yield served


def topologies(served):
    """The topologies in force: those that the list has, and those of each edge that has some."""
    answer = served.get("/api/v1/mesh")
    on_edges = {edge["proxy"]: edge["topologies"] for edge in answer["edges"] if edge["topologies"]}
    return [one["name"] for one in answer["topologies"]], on_edges


def test_the_nodes_and_the_ways_between_them(served):
    answer = served.get("/api/v1/mesh")
    assert answer["nodes"] == dict.fromkeys("abc", "127.0.0.1:9")
    assert [(edge["source"], edge["target"]) for edge in answer["edges"]] == [
        *(("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b"))
    ]
    for edge in answer["edges"]:
        assert edge["proxy"] == edge_name(edge["source"], edge["target"])
        host, port = edge["address"].split(":")
        assert (host, int(port) in range(1, 65536)) == ("127.0.0.1", True)


def test_a_topology_comes_and_goes(served):
    added = served.ask("POST", "/api/v1/mesh/topologies", {"topology": "isolate a ttl=1h"})
    assert (added.status, added.json) == (
        201,
        {"name": "isolate a", "behavior": "freeze", "edges": ["a:b", "a:c", "b:a", "c:a"], "ttl": 3600.0},
    )
    served.ask("POST", "/api/v1/mesh/topologies", {"topology": "gray b latency=5ms"})
    both = ["isolate a", "gray b"]
    assert topologies(served) == (
        both,
        {"a:b": both, "b:a": both, "a:c": both[:1], "c:a": both[:1], "b:c": both[1:], "c:b": both[1:]},
    )
    assert served.ask("DELETE", "/api/v1/mesh/topologies/isolate%20a").status == 204
    assert topologies(served)[0] == ["gray b"]
    assert served.ask("POST", "/api/v1/mesh/heal").status == 204
    assert topologies(served) == ([], {})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "topologies", {"topology": "isolate d"}, 400, "unknown node 'd'; known are: a, b, c"),
        ("POST", "topologies", {"topology": "ring"}, 400, "topology: 'ring' is not valid"),
        ("POST", "topologies?revision=99", {"topology": "isolate a"}, 409, "has revision 1 now, not 99"),
        ("DELETE", "topologies/isolate%20a", None, 404, "unknown topology 'isolate a'; none is known"),
    ],
)
def test_what_is_refused_changes_nothing(served, method, path, body, status, message):
    answer = served.ask(method, f"/api/v1/mesh/{path}", body)
    assert (answer.status, message in answer.json["error"]["message"]) == (status, True), answer
    assert topologies(served) == ([], {})


def test_an_edge_that_is_gone_refuses_the_topology_as_a_whole(served):
    served.run(served.hub.delete("a:b"))
    answer = served.ask("POST", "/api/v1/mesh/topologies", {"topology": "isolate a"})
    assert (answer.status, answer.json["error"]["message"][:20]) == (404, "unknown proxy 'a:b';")
    assert topologies(served) == ([], {})
    assert served.ask("POST", "/api/v1/mesh/topologies", {"topology": "isolate c"}).status == 201


def test_without_a_mesh_there_is_none(shared_interface):
    for method, path in [
        ("GET", ""),
        ("POST", "/heal"),
        ("DELETE", "/topologies/x"),
        ("POST", "/topologies"),
    ]:
        body = {"topology": "isolate a"} if path == "/topologies" else None
        answer = shared_interface.ask(method, f"/api/v1/mesh{path}", body)
        assert answer.status == 404
        assert answer.json["error"]["message"].startswith("there is no mesh; expected")
