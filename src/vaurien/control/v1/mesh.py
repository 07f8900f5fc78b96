"""Routes about the mesh: the nodes of a cluster, the edges between them, and the topologies in force."""

from __future__ import annotations

import msgspec

from vaurien.config import topologies
from vaurien.config.mesh import Mesh
from vaurien.control.responses import BadRequest
from vaurien.control.routes import RouteCall
from vaurien.errors import UnknownName


class Edge(msgspec.Struct):
    """The way from one node to another: where *source* dials to reach *target*, and the topologies on it."""

    source: str
    target: str
    proxy: str
    address: str
    topologies: list[str]


class TopologyAnswer(msgspec.Struct):
    """A topology in force: what its *edges* do, and for how many seconds from when it was set, if that has an end."""

    name: str
    behavior: str
    edges: list[str]
    ttl: float | None


class MeshAnswer(msgspec.Struct):
    """The nodes with their addresses, the edges between them, and the topologies in force."""

    nodes: dict[str, str]
    edges: list[Edge]
    topologies: list[TopologyAnswer]


class TopologyBody(msgspec.Struct, forbid_unknown_fields=True):
    """A topology as text, such as `isolate a ttl=30s`."""

    topology: str


async def get_mesh(call: RouteCall) -> object:
    """The nodes of the mesh, how each reaches each other, and the topologies in force. 404 where there is no mesh."""
    mesh = _mesh(call)
    there = topologies.in_force(call.hub.config, mesh.names)
    edges = []
    for source, target in mesh.edges:
        name = topologies.edge_name(source, target)
        proxy = call.hub.proxies.get(name)
        if proxy is not None:
            on_it = [topology for topology, faults in there.items() if name in faults]
            edges.append(Edge(source, target, name, str(proxy.address), on_it))
    nodes = {name: str(address) for name, address in mesh.nodes.items()}
    return MeshAnswer(nodes, edges, [_shown(call, name) for name in there])


async def add_topology(call: RouteCall) -> object:
    """Put a topology in force, on all its edges or on none. One of the same kind and groups is replaced."""
    topology = topologies.parse(call.body.topology, _mesh(call).names)
    await call.hub.edit(lambda config: topologies.with_topology(config, topology), revision=call.revision)
    return _shown(call, topology.name)


async def remove_topology(call: RouteCall) -> None:
    """End a topology: its edges are whole again."""
    names, name = _mesh(call).names, call.path["topology"]
    await call.hub.edit(lambda config: topologies.without_topology(config, names, name), revision=call.revision)


async def heal_mesh(call: RouteCall) -> None:
    """End all topologies."""
    names = _mesh(call).names
    await call.hub.edit(lambda config: topologies.without_topology(config, names, topologies.HEAL))


def _mesh(call: RouteCall) -> Mesh:
    if call.mesh is None:
        raise BadRequest(404, "there is no mesh; expected one of `vaurien mesh`, or of a file with a [mesh]")
    return call.mesh


def _shown(call: RouteCall, name: str) -> TopologyAnswer:
    there = topologies.in_force(call.hub.config, _mesh(call).names)
    if name not in there:  # its time to live was that short
        raise UnknownName("topology", name, there)
    faults = there[name]
    one = next(iter(faults.values()))
    return TopologyAnswer(name, one.behavior, list(faults), one.ttl)
