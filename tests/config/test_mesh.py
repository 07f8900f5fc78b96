"""The table [mesh]: nodes become proxies, and topologies steps of them."""

from __future__ import annotations

import pytest

from vaurien import config
from vaurien.config import Given
from vaurien.errors import VaurienError

NODES = """
[vaurien]
timeout = "5s"

[mesh]
nodes = {a = "127.0.0.1:2381", b = "127.0.0.1:2382", c = "127.0.0.1:2383"}
"""


@pytest.fixture
def load(tmp_path):
    def load(text, arguments=()):
        path = tmp_path / "mesh.toml"
        path.write_text(text)
        return config.load(dict(arguments), {}, Given(str(path), "--config"))

    return load


def test_each_pair_has_a_proxy_in_each_direction(load):
    found = load(NODES)
    assert {one.name: (str(one.listen), str(one.backend)) for one in found.proxies} == {
        "a:b": ("127.0.0.1:21000", "127.0.0.1:2382"),
        "a:c": ("127.0.0.1:21001", "127.0.0.1:2383"),
        "b:a": ("127.0.0.1:21002", "127.0.0.1:2381"),
        "b:c": ("127.0.0.1:21003", "127.0.0.1:2383"),
        "c:a": ("127.0.0.1:21004", "127.0.0.1:2381"),
        "c:b": ("127.0.0.1:21005", "127.0.0.1:2382"),
    }
    assert {one.timeout for one in found.proxies} == {5.0}
    assert found.mesh.addresses()["b"] == {"a": "127.0.0.1:21002", "c": "127.0.0.1:21003"}


def test_with_hosts_each_edge_has_an_address_and_the_port_of_its_node(load):
    found = load(NODES + 'edges = "hosts"\n')
    assert found.mesh.addresses()["b"] == {"a": "127.77.2.1:2381", "c": "127.77.2.3:2383"}
    found = load(NODES + 'edges = "hosts"\nlisten = "10.1.0.0"\n')
    assert found.mesh.addresses()["a"] == {"b": "10.1.1.2:2382", "c": "10.1.1.3:2383"}


def test_any_free_port(load):
    assert {one.listen.port for one in load(NODES + "first_port = 0\n").proxies} == {0}


def test_the_command_line_comes_first(load):
    given = {("mesh", "nodes"): Given("x=h:1,y=h:2", "--nodes"), ("mesh", "first_port"): Given("5000", "--first-port")}
    assert [(one.name, one.listen.port) for one in load(NODES, given).proxies] == [("x:y", 5000), ("y:x", 5001)]


def test_topologies_act_from_the_start(load):
    found = load(NODES + 'topology = ["isolate a ttl=9s", "gray b latency=5"]\n')
    assert {one.name: [fault.name for fault in one.policy.faults] for one in found.proxies} == {
        "a:b": ["isolate a", "gray b"],
        "a:c": ["isolate a"],
        "b:a": ["isolate a", "gray b"],
        "b:c": ["gray b"],
        "c:a": ["isolate a"],
        "c:b": ["gray b"],
    }


def test_steps_become_those_of_edges(load):
    steps = """
[[step]]
at = 1
topology = "isolate a how=reset"

[[step]]
at = 2
heal = "gray b"
topology = ["partition a b"]
mix = "10:delay"

[[step]]
at = 3
heal = "all"
"""
    found = load(NODES + 'topology = ["gray b latency=5"]\n' + steps).schedule.steps
    assert [(one.at, one.proxy, [fault.name for fault in one.add], one.remove) for one in found] == [
        (1.0, "a:b", ["isolate a"], ()),
        (1.0, "a:c", ["isolate a"], ()),
        (1.0, "b:a", ["isolate a"], ()),
        (1.0, "c:a", ["isolate a"], ()),
        (2.0, None, [], ()),
        (2.0, "a:b", ["partition a b"], ("gray b",)),
        (2.0, "b:a", ["partition a b"], ("gray b",)),
        (2.0, "b:c", [], ("gray b",)),
        (2.0, "c:b", [], ("gray b",)),
        (3.0, "a:b", [], ("isolate a", "partition a b")),
        (3.0, "a:c", [], ("isolate a",)),
        (3.0, "b:a", [], ("isolate a", "partition a b")),
        (3.0, "c:a", [], ("isolate a",)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mesh]\nfirst_port = 5\n", "the mesh has no nodes; expected nodes = {a = "),
        ("[mesh]\nnodes = {}\n", "mesh option nodes: '0 of them'"),
        ("[mesh]\nnodes = 5\n", "mesh option nodes: 5"),
        ('[mesh]\nnodes = {"a:b" = "h:1", b = "h:2"}\n', "mesh option nodes: 'a:b'"),
        ('[mesh]\nnodes = ["a=h:1", "a=h:2"]\n', "mesh option nodes: 'a'"),
        ('[mesh]\nnodes = {a = "h", b = "h:2"}\n', "node a: 'h'"),
        ('[mesh]\nnodes = {a = "h:0", b = "h:2"}\n', "node a: 'h:0'"),
        (NODES + "topolgy = 'ring'\n", "unknown key 'topolgy' of [mesh]"),
        (NODES + "topology = ['isolate a', 'isolate a ttl=5']\n", "mesh option topology: 'isolate a'"),
        (NODES + "first_port = 65535\n", "mesh option first_port: 65535"),
        (NODES + "first-port = 65535\n", "mesh option first_port: 65535"),
        (NODES + "edges = 'hosts'\nlisten = '127.0.0.1'\n", "mesh option listen: '127.0.0.1'"),
        (NODES + "[[step]]\nheal = 'isolate a'\n", "unknown topology 'isolate a' of the step at 0 s"),
        (NODES + "[[step]]\ntopology = 5\n", "step option topology: 5"),
        ("[[step]]\ntopology = 'isolate a'\n", "step option topology: 'isolate a'"),
        (NODES + "[[step]]\ntopology = 'ring'\n", "topology: 'ring'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(load, text, message):
    with pytest.raises(VaurienError) as raised:
        load(text)
    assert message in str(raised.value)
    assert "mesh.toml line" in str(raised.value)
