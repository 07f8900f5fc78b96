"""Limits that protect people: what an edit of the fleet may do, and what ends its faults."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import urllib.parse
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from vaurien.control.fleet import LimitsBody, ProbeBody
from vaurien.errors import OptionError
from vaurien.fleet.entries import FaultEntry, MixEntry, Selector, rank
from vaurien.model import Fault

_MOST = 2**20
"""Bytes of an answer: a longer one says nothing."""


class Probe(ProbeBody, frozen=True, forbid_unknown_fields=True):
    """A probe that can be asked."""

    def check(self) -> None:
        """Raise `OptionError` for a URL that cannot be asked, and for times that leave no room for an answer."""
        if not self._can_be_asked():
            raise OptionError("probe url", self.url, "http://…, https://…, or tcp://host:port without a query")
        if self.every < 0.1:
            raise OptionError("probe every", self.every, "at least 0.1 seconds")
        if not self.timeout:
            raise OptionError("probe timeout", self.timeout, "more than 0 seconds")

    def _can_be_asked(self) -> bool:
        try:
            parts = urllib.parse.urlsplit(self.url)
            port = parts.port
        except ValueError:  # a port that is none, brackets that do not close
            return False
        to_host = parts.scheme in ("http", "https") or (parts.scheme == "tcp" and bool(port) and not self.query)
        return to_host and bool(parts.hostname)


class Limits(LimitsBody, frozen=True, forbid_unknown_fields=True):
    """Limits that edits are checked by."""

    probe: Probe | None = None

    def check(self) -> None:
        """Raise `OptionError` for a probe that cannot be."""
        if self.probe is not None:
            self.probe.check()

    @property
    def counts(self) -> bool:
        """Whether they limit what several entries make together."""
        return self.max_nodes is not None or self.max_share < 1.0

    def check_disabled(self, proxy: str) -> None:
        """Raise `OptionError` for *proxy* that is to be disabled: a fault without an end that is not counted."""
        if self.counts or self.require_ttl:
            wanted = "a fault in its place, such as refuse with a ttl: the limits of the fleet count those"
            raise OptionError(f"proxy {proxy!r} option enabled", False, wanted)

    def check_fault(self, proxy: str, fault: Fault, others: Iterable[FaultEntry], mix: MixEntry | None) -> None:
        """Raise `OptionError` if *fault* of *proxy* breaks a limit, together with its *others* and its *mix*."""
        if self.require_ttl and fault.ttl is None:
            raise OptionError(f"fault {fault.name!r} option ttl", None, "a time to live: the fleet requires one")
        share = fault.probability + sum(one.fault.probability for one in others) + _share(mix)
        self._check_share(f"fault {fault.name!r} option probability", fault.probability, proxy, share)

    def check_mix(self, mix: MixEntry, faults: Iterable[FaultEntry]) -> None:
        """Raise `OptionError` if *mix* breaks a limit, together with *faults* of its proxy."""
        if self.require_ttl and mix.mix.shares:
            raise OptionError("mix", str(mix.mix), "faults with a ttl in its place: the fleet requires a time to live")
        self._check_share("mix", str(mix.mix), mix.proxy, _share(mix) + sum(one.fault.probability for one in faults))

    def _check_share(self, option: str, value: object, proxy: str, share: float) -> None:
        if self.max_share < 1.0 and share > self.max_share + 1e-9:
            wanted = f"at most {self.max_share:g} of the exchanges of proxy {proxy!r} in total, these make {share:g}"
            raise OptionError(option, value, wanted)


def _share(mix: MixEntry | None) -> float:
    return sum(share.percent for share in mix.mix.shares) / 100 if mix is not None else 0.0


def chosen(selector: Selector, fitting: Collection[str], key: str, limits: Limits, hit: Collection[str]) -> Selector:
    """*selector* with the names of the nodes that its own limit, and that of the fleet, leave of those *fitting*.

    *hit* are the nodes that have faults already: they come first where the fleet's limit counts.
    """
    names = sorted(fitting, key=lambda name: rank(name, key))
    if selector.max_nodes is not None:
        names = names[: selector.max_nodes]
    if limits.max_nodes is not None:
        free = max(0, limits.max_nodes - len(set(hit)))
        fresh = [name for name in names if name not in hit][:free]
        names = [name for name in names if name in hit or name in fresh]
    elif selector.max_nodes is None:
        return selector
    return msgspec.structs.replace(selector, chosen=tuple(names))


async def succeeds(probe: Probe) -> bool:
    """Whether *probe* finds that all is well.

    No thread waits for the server: however slowly that sends, nothing of the question is left after its timeout.
    """
    parts = urllib.parse.urlsplit(probe.url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        async with asyncio.timeout(probe.timeout):
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure or None, limit=_MOST)
            with contextlib.closing(writer):
                return parts.scheme == "tcp" or await _answers(probe, parts, reader, writer)
    except (OSError, ValueError, EOFError, asyncio.LimitOverrunError, http.client.HTTPException):
        return False


async def _answers(
    probe: Probe, parts: urllib.parse.SplitResult, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Whether the answer to a GET of *probe*, at *parts*, says that all is well."""
    path, query = parts.path or "/", parts.query
    if probe.query:
        path, query = f"{path.rstrip('/')}/api/v1/query", urllib.parse.urlencode({"query": probe.query})
    target = urllib.parse.quote(f"{path}?{query}" if query else path, safe="/?%:@!$&'()*+,;=~")
    host = parts.netloc.rpartition("@")[2].encode("idna").decode()
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    received = bytearray(await reader.readuntil(b"\r\n\r\n"))
    while probe.query and (piece := await reader.read(_MOST)):
        received += piece
        if len(received) > _MOST:
            return False
    answer = http.client.HTTPResponse(_Received(received))  # type: ignore[arg-type]  # it reads from nothing else
    answer.begin()
    return answer.status < 400 and (not probe.query or _holds(answer.read()))


class _Received:
    """In the place of a socket: what was received from one."""

    def __init__(self, received: bytes | bytearray) -> None:
        self._received = received

    def makefile(self, _: str) -> io.BytesIO:
        """To read from."""
        return io.BytesIO(self._received)


def _holds(answer: bytes) -> bool:
    """Whether the result of a Prometheus query says that all is well (its HTTP API, "Expression queries").

    What is no such result says the contrary: a probe that cannot tell protects nothing.
    """
    try:
        data: Any = msgspec.json.decode(answer)["data"]
        result = data["result"]
        if data["resultType"] == "scalar":
            return float(result[1]) != 0
        return bool(result) and all(float(one["value"][1]) != 0 for one in result)
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        return False
