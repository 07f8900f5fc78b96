"""``[mesh]``: the nodes of a cluster, and with them a proxy for each pair and direction of dialling.

The edges become ``[[proxy]]`` tables, so all that a proxy can be told in ``[vaurien]`` holds for each of them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from vaurien.config import declared, topologies
from vaurien.config.layers import Given, Layer, Section, Tables, converted
from vaurien.config.proxies import ProxyTable
from vaurien.config.schedule import Schedule, ScheduleStep
from vaurien.errors import ConfigError, OptionError, UnknownName
from vaurien.model import Address, Fault
from vaurien.options import describe

MOST_NODES = 100
"""Nodes of a mesh: n (n - 1) listeners, 9900 then."""


class Mesh(msgspec.Struct, frozen=True):
    """The nodes, by name in the order in which they were given, and where each one reaches each other."""

    nodes: Mapping[str, Address]
    edges: Mapping[topologies.Edge, Address]
    topologies: tuple[str, ...] = ()
    """The names of those that act from the start."""

    @property
    def names(self) -> list[str]:
        """The names of the nodes."""
        return list(self.nodes)

    def addresses(self) -> dict[str, dict[str, str]]:
        """For each node the address of each other one, as that node has to dial it."""
        found: dict[str, dict[str, str]] = {name: {} for name in self.nodes}
        for (one, other), address in self.edges.items():
            found[one][other] = str(address)
        return found


def take(tables: Tables, arguments: Layer) -> tuple[Mesh | None, list[ProxyTable]]:
    """The mesh of a file, which is taken out of its *tables*, or of *arguments*, which come first; and its edges.

    Raises `UnknownName`, `OptionError` and `ConfigError`.
    """
    given = dict(tables.pop("mesh", Section("", {})).values)
    given |= {option: value for (section, option), value in arguments.items() if section == "mesh"}
    if not given:
        return None, []
    known = {option.name: option for option in describe(declared.MeshSection)}
    for key, value in given.items():
        if key.replace("-", "_") not in known:
            raise UnknownName("key of [mesh]", key, known, value.source)
    given = {key.replace("-", "_"): value for key, value in given.items()}
    plain = {key: value for key, value in given.items() if key not in ("nodes", "topology")}
    options = declared.MeshSection(**{name: converted(known[name], value, "mesh") for name, value in plain.items()})
    if "nodes" not in given:
        source = next(iter(given.values())).source
        raise ConfigError(f'{source}: the mesh has no nodes; expected nodes = {{a = "host:port", b = "host:port"}}')
    nodes = _nodes(given["nodes"])
    edges = dict(_edges(nodes, options, given))
    initial = _initial(list(nodes), given["topology"]) if "topology" in given else {}
    mesh = Mesh(nodes, edges, tuple(initial))
    source = given["nodes"].source
    return mesh, [_table(mesh, edge, source, initial.values()) for edge in edges]


def _nodes(given: Given) -> dict[str, Address]:
    """The nodes of a table, or of text such as ``a=host:port,b=host:port``."""
    value = given.value
    if isinstance(value, str):
        value = [part for part in re.split(r"[,\s]+", value) if part]
    if isinstance(value, list | tuple):
        pairs = [str(part).partition("=") for part in value]
        listed: list[tuple[str, Any]] = [(name, address) for name, _, address in pairs]
    elif isinstance(value, Mapping):
        listed = list(value.items())
    else:
        raise OptionError("mesh option nodes", value, 'a table such as {a = "host:port"}', given.source)
    nodes: dict[str, Address] = {}
    for name, address in listed:
        if not address:
            wanted = "a node and where it listens, such as a=127.0.0.1:2381"
            raise OptionError("mesh option nodes", name, wanted, given.source)
        if not re.fullmatch(r"[\w.-]+", name):
            wanted = "NAME=host:port, the name of letters, digits, dots, dashes and underscores"
            raise OptionError("mesh option nodes", name, wanted, given.source)
        if name in nodes:
            raise OptionError("mesh option nodes", name, "another name for the second node", given.source)
        nodes[name] = Address.parse(str(address), option=f"node {name}", source=given.source)
        nodes[name].check(str(address), option=f"node {name}", source=given.source, dialled=True)
    if not 2 <= len(nodes) <= MOST_NODES:
        raise OptionError("mesh option nodes", f"{len(nodes)} of them", f"2 to {MOST_NODES}", given.source)
    return nodes


def _edges(
    nodes: Mapping[str, Address], options: declared.MeshSection, given: Mapping[str, Given]
) -> Iterator[tuple[topologies.Edge, Address]]:
    """Where each edge listens."""
    numbers = {name: number for number, name in enumerate(nodes, 1)}
    count = len(nodes) * (len(nodes) - 1)
    if options.first_port and options.first_port + count > 65536:
        wanted = f"at most {65536 - count}, for the ports of {count} edges"
        raise OptionError("mesh option first_port", options.first_port, wanted, given["first_port"].source)
    base = _network(options, given) if options.edges == "hosts" else None
    for place, (one, other) in enumerate(topologies.edges(nodes)):
        if base is not None:
            host = ipaddress.ip_address(int(base) + 256 * numbers[one] + numbers[other])
            yield (one, other), Address(str(host), nodes[other].port)
        else:
            yield (one, other), Address(options.listen, options.first_port and options.first_port + place)


def _network(options: declared.MeshSection, given: Mapping[str, Given]) -> ipaddress.IPv4Address:
    """The first address of the network of /16 in which each edge has an address."""
    text = options.listen if "listen" in given else "127.77.0.0"
    try:
        return ipaddress.IPv4Network(f"{text}/16").network_address
    except ValueError:
        wanted = "the first address of an IPv4 network of /16, such as 127.77.0.0, with edges = hosts"
        raise OptionError("mesh option listen", text, wanted, given["listen"].source) from None


def _initial(nodes: Sequence[str], given: Given) -> dict[str, tuple[topologies.Topology, str]]:
    """The topologies that act from the start, by name, and where they were given."""
    found: dict[str, tuple[topologies.Topology, str]] = {}
    for text in given.value if isinstance(given.value, list | tuple) else str(given.value).splitlines():
        topology = topologies.parse(str(text), nodes, given.source)
        if topology.name in found:
            raise OptionError("mesh option topology", topology.name, "it once", given.source)
        found[topology.name] = topology, given.source
    return found


def _table(
    mesh: Mesh, edge: topologies.Edge, source: str, initial: Iterable[tuple[topologies.Topology, str]]
) -> ProxyTable:
    name = topologies.edge_name(*edge)
    values = {"name": name, "proxy": str(mesh.edges[edge]), "backend": str(mesh.nodes[edge[1]])}
    layer = {("vaurien", option): Given(value, source) for option, value in values.items()}
    faults = tuple((one.faults[name], where) for one, where in initial if name in one.faults)
    return ProxyTable(layer, faults, enabled=True)


def with_edges(schedule: Schedule, mesh: Mesh | None) -> Schedule:
    """*schedule* with a step for each edge in the place of a step's topologies.

    Raises `OptionError` for topologies without a *mesh*, and `UnknownName` for one that ends and is not there.
    """
    steps: list[ScheduleStep] = []
    there = dict.fromkeys(mesh.topologies if mesh is not None else ())
    for step in schedule.steps:
        if not (step.topology or step.heal):
            steps.append(step)
            continue
        if mesh is None:
            text = next(iter((*step.topology, *step.heal)))
            raise OptionError("step option topology", text, "a [mesh] in the file beside it", step.source)
        steps += _of_step(step, mesh, there)
    return msgspec.structs.replace(schedule, steps=tuple(steps))


def _of_step(step: ScheduleStep, mesh: Mesh, there: dict[str, None]) -> Iterator[ScheduleStep]:
    removed: dict[str, list[str]] = {}
    for name in step.heal:
        if name != topologies.HEAL and name not in there:
            raise UnknownName(f"topology of the step at {step.at:g} s", name, [topologies.HEAL, *there], step.source)
        for gone in list(there) if name == topologies.HEAL else [name]:
            del there[gone]
            for edge in topologies.parse(gone, mesh.names, step.source).faults:
                removed.setdefault(edge, []).append(gone)
    begun: dict[str, list[Fault]] = {}
    for text in step.topology:
        topology = topologies.parse(text, mesh.names, step.source)
        there[topology.name] = None
        for edge, fault in topology.faults.items():
            begun.setdefault(edge, []).append(fault)
    others = msgspec.structs.replace(step, topology=(), heal=())
    if others.remove or others.change or others.add or others.mix is not None:
        yield others
    for edge in sorted(removed.keys() | begun.keys()):
        yield ScheduleStep(
            at=step.at,
            proxy=edge,
            remove=tuple(removed.get(edge, ())),
            add=tuple(begun.get(edge, ())),
            source=step.source,
        )
