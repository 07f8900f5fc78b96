"""Topologies: which edges they concern, and what is no topology."""

from __future__ import annotations

import itertools

import pytest

from vaurien.config import topologies
from vaurien.errors import OptionError, UnknownName, VaurienError
from vaurien.model import Address, Config, Fault, Policy, ProxyConfig, Stream

THREE, FIVE = ["a", "b", "c"], ["a", "b", "c", "d", "e"]


def pairs(text, nodes=FIVE):
    """The pairs of nodes of whose edges, in both directions of dialling, the topology cuts both streams."""
    found = topologies.parse(text, nodes)
    assert {one.stream for one in found.faults.values()} == {Stream.BOTH}
    edges = {tuple(edge.split(":")) for edge in found.faults}
    assert edges == {(other, one) for one, other in edges}
    return {"".join(sorted(edge)) for edge in edges}


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("partition a,b c", {"ac", "bc"}),
        ("partition a b c", {"ab", "ac", "bc"}),
        ("isolate a", {"ab", "ac", "ad", "ae"}),
        ("isolate a,b", {"ab", "ac", "ad", "ae", "bc", "bd", "be"}),
        ("minority a,b", {"ac", "ad", "ae", "bc", "bd", "be"}),
        ("bridge c", {"ad", "ae", "bd", "be"}),
        ("bridge a b,c,d e", {"ae"}),
        ("ring", {"ac", "ad", "bd", "be", "ce"}),
        ("ring a,b,c,d", {"ac", "bd"}),
        ("gray b", {"ab", "bc", "bd", "be"}),
        ("delay a,b c", {"ac", "bc"}),
    ],
)
def test_the_pairs_that_a_topology_concerns(text, cut):
    assert pairs(text) == cut


def test_in_a_ring_each_node_has_two_neighbours():
    cut = pairs("ring", [*FIVE, "f"])
    whole = {"".join(pair) for pair in itertools.combinations([*FIVE, "f"], 2)} - cut
    assert all(sum(node in pair for pair in whole) == 2 for node in [*FIVE, "f"])


def test_one_way_is_upstream_where_it_is_dialled_and_downstream_where_it_is_answered():
    found = topologies.parse("one-way a b,c", THREE).faults
    assert {edge: one.stream.value for edge, one in found.items()} == {
        "a:b": "upstream",
        "a:c": "upstream",
        "b:a": "downstream",
        "c:a": "downstream",
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("isolate a", Fault("isolate a", "freeze")),
        ("isolate a how=reset ttl=30s", Fault("isolate a", "reset_peer", ttl=30.0)),
        ("isolate a up=2s down=500ms", Fault("isolate a", "flap", {"up": 2000.0, "down": 500.0})),
        ("gray a latency=200ms probability=0.5", Fault("gray a", "latency", {"latency": 200.0}, probability=0.5)),
        ("delay b,a c latency=40", Fault("delay a,b c", "latency", {"latency": 40.0})),
    ],
)
def test_the_fault_of_an_edge(text, fault):
    found = topologies.parse(text, THREE)
    assert found.name == fault.name
    assert list(found.faults.values()) == [fault] * len(found.faults)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "topology: '' (from --topology) is not valid; expected a kind first, such as: isolate a ttl=30s"),
        ("isolate 'a", 'topology: "isolate \'a" (from --topology) is not valid; expected quotes that close'),
        ("isolat a", "unknown kind 'isolat' of topology (from --topology); did you mean 'isolate'?"),
        ("isolate d", "unknown node 'd' (from --topology); known are: a, b, c"),
        ("isolate a,a", "topology: 'isolate a,a' (from --topology) is not valid; expected node 'a' once"),
        (
            "isolate",
            "topology: 'isolate' (from --topology) is not valid; expected one group, such as: isolate a",
        ),
        (
            "partition a",
            (
                "topology: 'partition a' (from --topology) is not valid; "
                "expected two or more groups, such as: partition a,b c"
            ),
        ),
        (
            "minority a,b",
            (
                "topology: 'minority a,b' (from --topology) is not valid; "
                "expected one group, of less than half of the nodes, such as: minority a"
            ),
        ),
        (
            "ring",
            (
                "topology: 'ring' (from --topology) is not valid; "
                "expected at least 4 nodes, and no group or one; of fewer each is the neighbour of all others"
            ),
        ),
        (
            "bridge a,b",
            (
                "topology: 'bridge a,b' (from --topology) is not valid; expected the node between two halves, "
                "such as: bridge c; or left, bridge, right: bridge a,b c d,e"
            ),
        ),
        (
            "isolate a how=drop",
            "topology option how: 'drop' (from --topology) is not valid; expected freeze or reset",
        ),
        (
            "isolate a name=x",
            "topology option name: 'x' (from --topology) is not valid; expected it left out: the topology has it",
        ),
        ("isolate a ttl=soon", "fault 'freeze' option ttl: 'soon' (from --topology) is not valid; expected seconds"),
    ],
)
def test_what_is_no_topology(text, message):
    with pytest.raises(VaurienError) as raised:
        topologies.parse(text, THREE, "--topology")
    assert str(raised.value).startswith(message)


NONE = Policy()


def mesh(nodes=THREE, policy=NONE):
    any_port = Address("127.0.0.1", 0)
    names = [topologies.edge_name(*edge) for edge in topologies.edges(nodes)]
    return Config.of(
        ProxyConfig(name=name, listen=any_port, backend=Address("127.0.0.1", 1), policy=policy) for name in names
    )


OWN = Policy(faults=(Fault("own", "freeze"),))


@pytest.mark.parametrize("text", ["isolate a", "one-way a b", "gray b latency=5", "partition a,b c how=reset ttl=3"])
def test_after_the_end_of_a_topology_all_is_as_before(text):
    before = mesh(policy=OWN)
    topology = topologies.parse(text, THREE)
    during = topologies.with_topology(before, topology)
    assert set(topologies.in_force(during, THREE)) == {topology.name}
    assert during.changed_names(before) == set(topology.faults)
    assert topologies.without_topology(during, THREE, topology.name) == before
    assert topologies.without_topology(during, THREE, topologies.HEAL) == before


def test_topologies_add_up_and_end_one_by_one():
    config = mesh()
    for text in ("isolate a", "gray a latency=5", "partition a,b c"):
        config = topologies.with_topology(config, topologies.parse(text, THREE))
    assert list(topologies.in_force(config, THREE)) == ["isolate a", "gray a", "partition a,b c"]
    config = topologies.without_topology(config, THREE, "gray a")
    assert list(topologies.in_force(config, THREE)) == ["isolate a", "partition a,b c"]


def test_one_of_the_same_name_is_replaced():
    config = topologies.with_topology(mesh(), topologies.parse("isolate a", THREE))
    config = topologies.with_topology(config, topologies.parse("isolate a how=reset", THREE))
    assert {one.behavior for one in topologies.in_force(config, THREE)["isolate a"].values()} == {"reset_peer"}


def test_only_what_is_in_force_can_end():
    with pytest.raises(UnknownName, match="unknown topology 'isolate b'; did you mean 'isolate a'"):
        topologies.without_topology(
            topologies.with_topology(mesh(), topologies.parse("isolate a", THREE)), THREE, "isolate b"
        )
    assert topologies.without_topology(mesh(), THREE, topologies.HEAL) == mesh()


@pytest.mark.parametrize(
    "name", ["own", "delay", "isolate", "isolate z", "isolate a a", "partition b a x=1", "isolate a "]
)
def test_a_fault_that_is_no_topology_is_none_and_stays(name):
    config = mesh(policy=Policy(faults=(Fault(name, "freeze"),)))
    assert topologies.in_force(config, THREE) == {}
    assert topologies.without_topology(config, THREE, topologies.HEAL) == config


def test_an_option_error_is_one():
    with pytest.raises(OptionError):
        topologies.parse("isolate a stream=upstream", THREE)
