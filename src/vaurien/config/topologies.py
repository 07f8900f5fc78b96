"""Topologies of a mesh as text: ``partition a,b c``, ``isolate a how=reset ttl=30s``, ``delay a,b c latency=40ms``.

A mesh has a proxy for each pair of nodes and direction of dialling, its *edges*: what node ``a`` dials to reach ``b``
is the proxy ``a:b``. A topology is a kind, groups of nodes (names joined by commas, a word for each group), and what
the fault on its edges is told. It stands for faults on some edges, all of the same name: its kind and its groups. So
what is in force can be read from the faults, whatever set them.

| kind | groups | what is cut or slowed |
|---|---|---|
| ``partition`` | two or more | every group from every other |
| ``one-way`` | two | what the first group sends to the second |
| ``bridge`` | the one node, or left, bridge, right | two halves that have only the bridge in common |
| ``ring`` | none, or one | all but the neighbours in the order of the nodes |
| ``minority`` | one, of less than half of the nodes | it from the others |
| ``isolate`` | one | each of its nodes from all others |
| ``gray`` | one | nothing; each of its nodes is slow for all others |
| ``delay`` | two | nothing; each group is far from the other |

Those that cut take ``how=freeze`` (the default: silence, nothing is lost when it heals, as when packets are dropped),
``how=reset`` (connections are reset, old and new), or ``up=`` and ``down=``: cut for *down*, whole for *up*, again and
again. ``gray`` and ``delay`` take the options of `latency`. All take ``ttl``, ``probability``, ``match.client``, and
what else a [fault](faults.md) is told, but for ``name`` and ``stream``.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from vaurien.config import fault
from vaurien.errors import OptionError, UnknownName, VaurienError
from vaurien.model import Config, Fault, Policy, ProxyConfig, Stream

Edge: TypeAlias = tuple[str, str]
"""The node that dials, and the one that it reaches."""

Groups: TypeAlias = Sequence[Sequence[str]]

HEAL = "all"
"""In the place of a topology's name: all of them."""


class Topology(msgspec.Struct, frozen=True):
    """A named topology: the fault of each edge that it concerns, by the name of the edge's proxy."""

    name: str
    faults: Mapping[str, Fault]


def edge_name(one: str, other: str) -> str:
    """The name of the proxy by which node *one* reaches node *other*."""
    return f"{one}:{other}"


def edges(nodes: Iterable[str]) -> Iterator[Edge]:
    """Every edge between *nodes*."""
    return itertools.permutations(nodes, 2)


def parse(text: str, nodes: Sequence[str], source: str | None = None) -> Topology:
    """The topology that *text* stands for among *nodes*.

    Raises `UnknownName` and `OptionError`, which name *source*.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        raise OptionError("topology", text, "quotes that close", source) from None
    if not words:
        raise OptionError("topology", text, "a kind first, such as: isolate a ttl=30s", source)
    kind, told = words[0], [word for word in words[1:] if "=" in word]
    if kind not in _KINDS:
        raise UnknownName("kind of topology", kind, _KINDS, source)
    groups = _groups(text, [word for word in words[1:] if "=" not in word], nodes, source)
    wanted, streams_of = _KINDS[kind]
    streams = streams_of(groups, nodes)
    if streams is None:
        raise OptionError("topology", text, wanted, source)
    name = " ".join([kind, *(",".join(group) for group in groups)])
    one = _fault(kind, name, told, source)
    return Topology(
        name,
        {edge_name(*edge): msgspec.structs.replace(one, stream=stream) for edge, stream in streams.items()},
    )


def _groups(text: str, words: Iterable[str], nodes: Sequence[str], source: str | None) -> list[list[str]]:
    """The groups, each in the order of *nodes*, that *words* name."""
    groups: list[list[str]] = []
    seen: set[str] = set()
    for word in words:
        names = word.split(",")
        for name in names:
            if name not in nodes:
                raise UnknownName("node", name, nodes, source)
            if name in seen:
                raise OptionError("topology", text, f"node {name!r} once", source)
            seen.add(name)
        groups.append(sorted(names, key=nodes.index))
    return groups


def _fault(kind: str, name: str, told: Sequence[str], source: str | None) -> Fault:
    """The fault that the edges of a topology of *kind* get, called *name*, with what it is *told*."""
    options = dict(word.split("=", 1) for word in told)
    for taken in ("name", "stream"):
        if taken in options:
            raise OptionError(f"topology option {taken}", options[taken], "it left out: the topology has it", source)
    if kind in _SLOW:
        behavior = "latency"
    else:
        how = options.pop("how", "freeze")
        if how not in _HOW:
            raise OptionError("topology option how", how, " or ".join(_HOW), source)
        behavior = "flap" if {"up", "down"} & options.keys() else _HOW[how]
    words = [behavior, f"name={name}", *(f"{option}={value}" for option, value in options.items())]
    return fault.parse(" ".join(map(shlex.quote, words)), source)


_HOW: Mapping[str, str] = {"freeze": "freeze", "reset": "reset_peer"}
"""How an edge is cut, and the behavior that does it."""

_SLOW = ("gray", "delay")
"""Kinds that cut nothing."""

Streams: TypeAlias = Mapping[Edge, Stream]
"""The edges of a topology, and the direction of their bytes that it concerns."""


def _between(groups: Groups) -> Streams:
    """Every edge between nodes of different groups, in both directions."""
    return {
        edge: Stream.BOTH for one, other in itertools.permutations(groups, 2) for edge in itertools.product(one, other)
    }


def _partition(groups: Groups, _: Sequence[str]) -> Streams | None:
    return _between(groups) if len(groups) > 1 else None


def _one_way(groups: Groups, _: Sequence[str]) -> Streams | None:
    """What the first group sends: on the edges that it dials upstream, on the others downstream."""
    if len(groups) != 2:
        return None
    dialled = dict.fromkeys(itertools.product(groups[0], groups[1]), Stream.UPSTREAM)
    return dialled | dict.fromkeys(itertools.product(groups[1], groups[0]), Stream.DOWNSTREAM)


def _bridge(groups: Groups, nodes: Sequence[str]) -> Streams | None:
    if len(groups) == 3:
        return _between([groups[0], groups[2]])
    if len(groups) != 1 or len(groups[0]) != 1:
        return None
    others = [node for node in nodes if node not in groups[0]]
    half = (len(others) + 1) // 2
    return _between([others[:half], others[half:]]) if len(others) > 1 else None


def _ring(groups: Groups, nodes: Sequence[str]) -> Streams | None:
    members = groups[0] if len(groups) == 1 else nodes
    if len(groups) > 1 or len(members) < 4:
        return None
    size = len(members)
    return {
        (members[one], members[other]): Stream.BOTH
        for one, other in itertools.permutations(range(size), 2)
        if (one - other) % size not in (1, size - 1)
    }


def _minority(groups: Groups, nodes: Sequence[str]) -> Streams | None:
    if len(groups) != 1 or 2 * len(groups[0]) >= len(nodes):
        return None
    return _between([groups[0], [node for node in nodes if node not in groups[0]]])


def _isolate(groups: Groups, nodes: Sequence[str]) -> Streams | None:
    if len(groups) != 1:
        return None
    return {edge: Stream.BOTH for edge in edges(nodes) if set(edge) & set(groups[0])}


def _delay(groups: Groups, _: Sequence[str]) -> Streams | None:
    return _between(groups) if len(groups) == 2 else None


_KINDS: Mapping[str, tuple[str, Callable[[Groups, Sequence[str]], Streams | None]]] = {
    "partition": ("two or more groups, such as: partition a,b c", _partition),
    "one-way": ("two groups, such as: one-way a b,c", _one_way),
    "bridge": ("the node between two halves, such as: bridge c; or left, bridge, right: bridge a,b c d,e", _bridge),
    "ring": ("at least 4 nodes, and no group or one; of fewer each is the neighbour of all others", _ring),
    "minority": ("one group, of less than half of the nodes, such as: minority a", _minority),
    "isolate": ("one group, such as: isolate a", _isolate),
    "gray": ("one group, such as: gray a latency=200ms", _isolate),
    "delay": ("two groups, such as: delay a,b c latency=40ms", _delay),
}
"""What each kind wants, and the edges that it concerns; ``None`` for groups that it cannot have."""


def with_topology(config: Config, topology: Topology) -> Config:
    """*config* with the faults of *topology*, in the place of those of its name. Raises `UnknownName` for an edge."""
    changed = {}
    for edge, one in topology.faults.items():
        proxy = config.proxy(edge)
        changed[edge] = _with_policy(proxy, _without(proxy.policy, [topology.name]).with_fault(one))
    return Config({**config.by_name, **changed}, config.revision)


def without_topology(config: Config, nodes: Sequence[str], name: str) -> Config:
    """*config* without the topology *name*, or with `HEAL` without any. Raises `UnknownName`."""
    there = in_force(config, nodes)
    if name != HEAL and name not in there:
        raise UnknownName("topology", name, there)
    gone = list(there) if name == HEAL else [name]
    changed = {}
    for edge in {edge for one in gone for edge in there[one]}:
        proxy = config.proxy(edge)
        changed[edge] = _with_policy(proxy, _without(proxy.policy, gone))
    return Config({**config.by_name, **changed}, config.revision)


def in_force(config: Config, nodes: Sequence[str]) -> dict[str, dict[str, Fault]]:
    """The topologies among the faults of *config*: their faults by edge, by their name."""
    found: dict[str, dict[str, Fault]] = {}
    known: dict[str, bool] = {}
    for edge in (edge_name(*pair) for pair in edges(nodes)):
        proxy = config.by_name.get(edge)
        for one in proxy.policy.faults if proxy else ():
            if one.name not in known:
                known[one.name] = _is_topology(one.name, nodes)
            if known[one.name]:
                found.setdefault(one.name, {})[edge] = one
    return found


def _is_topology(name: str, nodes: Sequence[str]) -> bool:
    """Whether a fault called *name* is of a topology of *nodes*; one that is only called `delay` is not."""
    try:
        return name.partition(" ")[0] in _KINDS and parse(name, nodes).name == name
    except VaurienError:
        return False


def _with_policy(proxy: ProxyConfig, policy: Policy) -> ProxyConfig:
    return msgspec.structs.replace(proxy, policy=policy)


def _without(policy: Policy, names: Collection[str]) -> Policy:
    return Policy(policy.mix, tuple(one for one in policy.faults if one.name not in names))
