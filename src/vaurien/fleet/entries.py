"""The values in the store: what is wanted, on which nodes, and its origin.

proxy.P      a proxy P, without its mix and faults
mix.P        the mix of the proxy P
fault.P.F    the fault F of the proxy P; with a time to live the store removes it
limits       what edits may do, and what ends all faults
stop         while it is there no node has a fault
alive        the heartbeat of a controller, for limits that ask for one
schedule     steps that the leader plays
    played       how far it is
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeAlias

import msgspec

from vaurien.errors import OptionError, VaurienError
from vaurien.fleet.store import Stored
from vaurien.model import Fault, Mix, ProxyConfig
from vaurien.options import Option, PositiveCount, Ratio


class Selector(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nodes: those whose labels fit *nodes*, of them a *share* by hash, and of these at most *max_nodes*.

    *nodes* is conditions joined by commas, all of which have to be true: ``role=payments``, ``zone!=b``, ``gpu`` (there
    is such a label), ``!gpu``; ``name`` is the node's name. *chosen* are the names that *max_nodes* left when it was
    set.
    """

    nodes: Annotated[str, Option("Conditions on labels, such as role=payments,zone!=b")] = ""
    share: Annotated[Ratio, Option("The share of these nodes, by hash")] = 1.0
    max_nodes: Annotated[PositiveCount | None, Option("At most so many of them")] = None
    chosen: tuple[str, ...] | None = None

    def check(self) -> None:
        """Raise `OptionError` for conditions that are none."""
        for condition in _conditions(self.nodes):
            if not _CONDITION.fullmatch(condition):
                raise OptionError("nodes", self.nodes, "conditions such as role=payments,zone!=b,gpu,!old")

    def fits(self, name: str, labels: Mapping[str, str], key: str) -> bool:
        """Whether the node *name* is meant by the entry *key*."""
        if self.chosen is not None and name not in self.chosen:
            return False
        known = {**labels, "name": name}
        return all(_holds(one, known) for one in _conditions(self.nodes)) and rank(name, key) < self.share


_CONDITION = re.compile(r"!?[\w.-]+|[\w.-]+!?=[^,=!]*")


def _conditions(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _holds(condition: str, labels: Mapping[str, str]) -> bool:
    if "!=" in condition:
        label, _, value = condition.partition("!=")
        return labels.get(label) != value
    if "=" in condition:
        label, _, value = condition.partition("=")
        return labels.get(label) == value
    return condition[1:] not in labels if condition.startswith("!") else condition in labels


def rank(name: str, key: str) -> float:
    """A number from 0 up to 1, always the same for a node and an entry, and independent for others."""
    digest = hashlib.sha256(f"{name}\0{key}".encode()).digest()
    return float(int.from_bytes(digest[:8], "big")) / 2.0**64


class Author(msgspec.Struct, frozen=True):
    """The origin of an entry: *by* is the caller, *via* the node that it asked, *at* when by the store's clock."""

    by: str = ""
    via: str = ""
    at: float = 0.0


class ProxyEntry(msgspec.Struct, frozen=True, tag="proxy"):
    """A proxy of the nodes that *on* selects."""

    proxy: ProxyConfig
    on: Selector = Selector()
    author: Author = Author()

    @property
    def key(self) -> str:
        """Where it belongs."""
        return Keys.proxy(self.proxy.name)


class MixEntry(msgspec.Struct, frozen=True, tag="mix"):
    """A mix of the proxy called *proxy*."""

    proxy: str
    mix: Mix
    on: Selector = Selector()
    author: Author = Author()

    @property
    def key(self) -> str:
        """Where it belongs."""
        return Keys.mix(self.proxy)


class FaultEntry(msgspec.Struct, frozen=True, tag="fault"):
    """A fault of the proxy called *proxy*; *order* is its place among the faults there."""

    proxy: str
    fault: Fault
    order: float = 0.0
    on: Selector = Selector()
    author: Author = Author()

    @property
    def key(self) -> str:
        """Where it belongs."""
        return Keys.fault(self.proxy, self.fault.name)


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """No node has a fault while this is there."""

    reason: str = ""
    author: Author = Author()


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """A controller is there."""

    author: Author = Author()


Entry: TypeAlias = ProxyEntry | MixEntry | FaultEntry | Stop | Alive


class Unreadable(VaurienError):
    """An entry that this version does not understand."""


def read(value: bytes, kind: Any) -> Any:
    """The *kind* that *value* is. Raises `Unreadable`: a program that may write to the store may write any bytes."""
    try:
        return msgspec.json.decode(value, type=kind)
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(_not_unicode(value) or str(error)) from None


def _not_unicode(value: bytes) -> str:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return f"byte 0x{value[error.start]:02x} at position {error.start} is not UTF-8; expected JSON in UTF-8"
    return ""


def decode(key: str, stored: Stored, kind: Any = Entry) -> Any:
    """The entry that is *stored* under *key*. Raises `Unreadable`, also for one of another key."""
    try:
        entry = read(stored.value, kind)
        if isinstance(entry, ProxyEntry | MixEntry | FaultEntry):
            if entry.key != key:
                raise Unreadable(f"it is that of {entry.key!r}")
            entry.on.check()
    except VaurienError as error:
        raise Unreadable(f"entry {key!r} of revision {stored.revision} is not understood here: {error}") from None
    return entry


def encode(entry: object) -> bytes:
    """*entry* as it is stored."""
    return msgspec.json.encode(entry)


class Keys:
    """The names of entries."""

    STOP: ClassVar = "stop"
    ALIVE: ClassVar = "alive"
    LIMITS: ClassVar = "limits"
    SCHEDULE: ClassVar = "schedule"
    PLAYED: ClassVar = "played"

    @staticmethod
    def proxy(name: str) -> str:
        """That of a proxy."""
        return f"proxy.{quoted(name)}"

    @staticmethod
    def mix(proxy: str) -> str:
        """That of a mix."""
        return f"mix.{quoted(proxy)}"

    @staticmethod
    def fault(proxy: str, name: str) -> str:
        """That of a fault."""
        return f"fault.{quoted(proxy)}.{quoted(name)}"

    @staticmethod
    def node(name: str) -> str:
        """The claim of a node."""
        return f"node.{quoted(name)}"

    LEADER: ClassVar = "leader"


def quoted(name: str) -> str:
    """*name* in letters that a key may have; different for different names."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda match: "=" + match[0].encode().hex() + "=", name) or "="
