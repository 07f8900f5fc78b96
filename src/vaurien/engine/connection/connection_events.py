"""What happened on one connection, for the observers."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from traceback import walk_tb
from types import FrameType

from vaurien import events
from vaurien.engine.connection.proxy_state import ProxyState
from vaurien.engine.policy.compiled_policy import EXCHANGE_HOOKS, CompiledPolicy
from vaurien.engine.policy.place import NOWHERE, Place
from vaurien.engine.policy.replay import Drawn
from vaurien.engine.relay.traffic import Meter
from vaurien.framing import Protocol
from vaurien.model import TO_BACKEND, TO_CLIENT


class ConnectionEvents:
    """Tells the observers of a proxy what happens on its connection *number*, and counts the hits of each fault."""

    __slots__ = ("_began", "_hits", "_number", "_peer", "_service")

    def __init__(self, service: ProxyState, number: int, peer: str, began: float) -> None:
        self._service, self._number, self._peer, self._began = service, number, peer, began
        self._hits: dict[str, int] = {}

    @property
    def _age(self) -> float:
        """Seconds since it began."""
        return self._service.clock.now() - self._began

    def _moment(self, when: float | None) -> tuple[float, float]:
        """The time of day at *when* of the engine's clock, or now, and the seconds since the connection began."""
        now = self._service.clock.now()
        return time.time() - (0.0 if when is None else now - when), (now if when is None else when) - self._began

    def accepted(self) -> None:
        """It began."""
        self._service.events.emit(events.Accepted, connection=self._number, peer=self._peer)

    def chosen(self, exchange: int, name: str, when: float | None = None) -> None:
        """The mix was drawn, and the share *name* was hit."""
        if self._service.events.subscribers[events.MixHit]:
            at, _ = self._moment(when)
            self._service.events.emit(events.MixHit, at=at, connection=self._number, exchange=exchange, behavior=name)

    def decided(
        self,
        name: str,
        drawn: Drawn,
        exchange: int | None = None,
        place: Place = NOWHERE,
        *,
        when: float | None = None,
    ) -> None:
        """A draw for the fault *name*, or ``mix``, said *drawn*."""
        if self._service.events.detailed:
            at, elapsed = self._moment(when)
            self._service.events.detail(
                events.Decided,
                at=at,
                connection=self._number,
                fault=name,
                drawn=drawn,
                exchange=exchange,
                stream=place[0],
                offset=place[1],
                elapsed=elapsed,
            )

    def delayed(self, name: str, seconds: float) -> None:
        """The fault *name* made something late."""
        if self._service.events.may_detail:  # for each late chunk
            self._service.events.detail(events.Delayed, connection=self._number, fault=name, seconds=seconds)

    def exchanged(
        self, number: int, request: Mapping[str, str], status: str, answered: bool, seconds: float, hits: Sequence[str]
    ) -> None:
        """The exchange *number* has ended, *seconds* after its *request*."""
        self._service.events.detail(
            events.Exchanged,
            connection=self._number,
            exchange=number,
            request=request,
            status=status,
            answered=answered,
            seconds=seconds,
            hits=tuple(hits),
        )

    def hit(self, name: str, exchange: int | None, place: Place = NOWHERE, *, when: float | None = None) -> None:
        """The fault *name* acted."""
        self._hits[name] = self._hits.get(name, 0) + 1
        if not self._service.events.subscribers[events.Injected]:
            return
        at, elapsed = self._moment(when)
        self._service.events.emit(
            events.Injected,
            at=at,
            connection=self._number,
            fault=name,
            exchange=exchange,
            stream=place[0],
            offset=place[1],
            elapsed=elapsed,
        )

    def hits(self, name: str) -> int:
        """How often the fault *name* has acted."""
        return self._hits.get(name, 0)

    def count(self, name: str, hits: int) -> None:
        """The fault *name* acted *hits* times, of which no observer wants to know."""
        self._hits[name] = self._hits.get(name, 0) + hits

    def called(self, name: str, turn: int, *, when: float | None = None) -> None:
        """The mix was drawn for a turn, and the share *name*, a legacy plugin, was hit, which counts as a hit."""
        self.chosen(turn, name, when)
        self.hit(name, turn, when=when)

    def lost(self, reason: str) -> None:
        """The protocol cannot make sense of the bytes."""
        protocol = self._service.config.protocol
        self._service.traffic.lose(reason)
        self._service.events.emit(events.ProtocolLost, connection=self._number, protocol=protocol, reason=reason)

    def encrypted(self) -> None:
        """Both sides speak TLS that the proxy cannot read: told once for the proxy."""
        traffic, service = self._service.traffic, self._service
        traffic.encrypted += 1
        if traffic.encrypted == 1:
            text = encrypted_text(service.plan, service.protocol)
            reason = f"connection {self._number} is encrypted: {text}"
            service.events.emit(events.Encrypted, connection=self._number, reason=reason)

    def failed(self, where: str, error: str, *, once: str = "") -> None:
        """Something went wrong that is not a fault in play; *once* names what is told once for the proxy."""
        self._service.events.emit(events.Failed, connection=self._number, where=where, error=error, once=once)

    def closed(self, end: str, meter: Meter) -> None:
        """It is over; *meter* has counted its bytes."""
        self._service.events.tell(
            events.Closed(
                proxy=self._service.config.name,
                at=time.time(),
                connection=self._number,
                peer=self._peer,
                sent=meter.bytes(TO_BACKEND).written,
                received=meter.bytes(TO_CLIENT).written,
                end=end,
                duration=self._age,
                hits=self._hits,
            )
        )


def encrypted_text(plan: CompiledPolicy, protocol: Protocol) -> str:
    """What it means for the faults of *plan* that requests of *protocol* are encrypted, and what would help."""
    blind = [str(plan.policy.mix)] if plan.has_live_mix else []
    blind += [compiled.name for compiled in plan.faults if compiled.per_exchange or compiled.handles(*EXCHANGE_HOOKS)]
    affected = f"the {', '.join(blind)} of this proxy" if blind else "this proxy"
    advice = f", or {protocol.plain_hint}" if protocol.plain_hint else ""
    return f"{affected} cannot see its requests; give the proxy a certificate (tls){advice}"


def describe(error: BaseException) -> str:
    """An exception in one line, with its place: the last line of the plugin that was running, else where it began."""
    frames = [(_package(frame), frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    plugin = next((package for package, _, _ in frames if package not in _NO_PLUGINS), None)
    places = [f" ({file}:{line})" for package, file, line in frames if plugin in (None, package)]
    return f"{type(error).__name__}: {error}{places[-1] if places else ''}"


_NO_PLUGINS = sys.stdlib_module_names | {"vaurien"}


def _package(frame: FrameType) -> str:
    """The top package of the code that runs in *frame*."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
