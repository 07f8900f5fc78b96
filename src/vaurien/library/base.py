"""The part of `Proxy` and `AsyncProxy` that waits for nothing: changes and questions, from any thread."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, overload

import msgspec

from vaurien.config.policy import Preset
from vaurien.console import counted
from vaurien.engine.relay.traffic import ConnectionInfo
from vaurien.errors import OptionError, VaurienError
from vaurien.events import Event
from vaurien.library import faults
from vaurien.library.changes import LiveChange
from vaurien.library.errors_at_caller import errors_at_caller
from vaurien.library.hits import Hits, NotHit
from vaurien.library.proxy_host import ProxyHost
from vaurien.library.settings import AddressLike, Settings, configure
from vaurien.model import AUTO, Address, Fault, HitRange, Mix, Policy, PolicyEdit, Scope, Stream, Window
from vaurien.proxies.diagnosis import Diagnosis, diagnose, reasons

if TYPE_CHECKING:
    import ssl

    from vaurien.library.overloads import AddFault

TIMEOUT = 10.0
"""Seconds that a test waits for a fact, if it does not say how long."""

_OUTAGE = Fault(name="down", behavior="refuse")

StreamName: TypeAlias = Stream | Literal["upstream", "downstream", "both"]
ScopeName: TypeAlias = Scope | Literal["connection", "exchange", "chunk"]
Options: TypeAlias = Mapping[str, object]


class BaseProxy:
    """A proxy that is changed from any thread. A change is in force for the next byte when the call returns.

    An error is raised in the caller, and then nothing has changed. Before the proxy is started, after it is closed, and
    in a process forked meanwhile, calls raise `VaurienError`; `events` and `hits` stay.
    """

    def __init__(self, backend: AddressLike, given: Settings) -> None:
        made = configure(backend, given, type(self).__name__)
        for text in made.warnings:
            warnings.warn(text, stacklevel=5)  # behind the subclass, and what checks and ends its errors there
        self._given = given
        self._proxy_host = ProxyHost(made.proxies[0], made.schedule)
        self._first_mix = made.proxies[0].policy.mix
        self._mixes: list[LiveChange[Mix]] = []
        self._reasons: dict[str, str] = {}  # why a fault had not hit when it was last looked at

    # Where it is.

    @property
    def name(self) -> str:
        """Its name, in events; its random draws depend on it."""
        return self._proxy_host.proxy.config.name

    @property
    def seed(self) -> str:
        """The seed of its random draws, given or drawn."""
        return self._proxy_host.proxy.config.seed

    @property
    def backend(self) -> Address:
        """The address that it dials for each connection."""
        return self._proxy_host.proxy.backend

    @property
    def address(self) -> Address:
        """The address that clients connect to; its ``str()`` is ``host:port``."""
        self._proxy_host.require_running()
        return self._proxy_host.proxy.address

    @property
    def host(self) -> str:
        """The host of `address`."""
        return self.address.host

    @property
    def port(self) -> int:
        """The port of `address`."""
        return self.address.port

    @property
    def policy(self) -> Policy:
        """The mix and the faults of this moment."""
        return self._proxy_host.proxy.policy

    def url(self, scheme: str) -> str:
        """``scheme://host:port``. Raises `VaurienError` when it listens on a Unix socket."""
        address = self.address
        if address.path is not None:
            raise VaurienError(
                f"{self._proxy_host.label} listens on {address}, which has no URL; expected a host and a port"
            )
        return f"{scheme}://{address}"

    @property
    def ca_file(self) -> Path:
        """The certificate that clients have to trust, as a PEM file; for ``tls="auto"`` alone.

        Raises `VaurienError` for a proxy with other certificates, or without TLS.
        """
        folder = self._authority_folder()
        if folder is not None:
            from vaurien.tls.authority import CERTIFICATE  # imported only where TLS is used

            return folder / CERTIFICATE
        from vaurien.library.session_authority import session_authority  # and so is the module ssl

        return session_authority().file

    @property
    def crl_file(self) -> Path:
        """The list of revoked certificates, as a PEM file, by which clients refuse ``tls_certificate flaw=revoked``.

        Raises `VaurienError` as `ca_file` does.
        """
        folder = self._authority_folder()
        if folder is not None:
            from vaurien.tls.authority import REVOKED_LIST

            return folder / REVOKED_LIST
        from vaurien.library.session_authority import session_authority

        return session_authority().crl_file

    def _authority_folder(self) -> Path | None:
        """Where the authority is that makes this proxy's certificates; ``None``: in memory."""
        settings = self._proxy_host.proxy.config.client_tls
        if settings is None or settings.certificates != (AUTO,):
            raise VaurienError(f"{self._proxy_host.label} makes no certificates; expected tls='auto'")
        return Path(settings.authority) if settings.authority is not None else None

    def ssl_context(self) -> ssl.SSLContext:
        """A context for clients of this proxy: it trusts `ca_file`, and nothing else. Raises `VaurienError`."""
        import ssl  # imported only where TLS is used

        return ssl.create_default_context(cafile=str(self.ca_file))

    # What happened.

    @property
    def events(self) -> list[Event]:
        """What happened so far, oldest first: the last 10,000 of `vaurien.events`."""
        return self._proxy_host.record.events

    @overload
    def hits(self) -> Mapping[str, Hits]: ...

    @overload
    def hits(self, fault: str) -> Hits: ...

    @errors_at_caller
    def hits(self, fault: str | None = None) -> Hits | Mapping[str, Hits]:
        """How often *fault* has acted: a fault's name, or a behavior of the mix. Without one: of each, by its name.

        It is a number that also knows *connections_hit*, *exchanges_hit* and *last_hit* (`vaurien.library.hits.Hits`).
        Raises `UnknownName` when the proxy never had it, so that a misspelled name does not look like no hits.
        """
        record = self._proxy_host.record
        return record.all_hits() if fault is None else record.hits(fault)

    @errors_at_caller
    def expect(self, fault: str, at_least: int = 1, at_most: int | None = None) -> Hits:
        """Raise `NotHit`, an AssertionError, unless *fault* has hit so often by now; returns its `hits`.

        The message says how near it came: the connections and requests that were seen, and the condition that kept it
        from hitting. Raises `UnknownName` when the proxy never had it.
        """
        hits, wanted = self.hits(fault), HitRange(at_least, at_most)
        if hits not in wanted:
            raise NotHit(self._missed(fault, wanted))
        return hits

    @errors_at_caller
    def check_expected_hits(self) -> None:
        """Raise `NotHit` for the faults that have not hit as often as their `expect_hits` says.

        The end of a ``with`` block, and of a test with the fixtures, calls it when nothing else went wrong.
        """
        missed = self._proxy_host.record.missed()
        if missed:
            raise NotHit("\n".join(self._missed(fault, wanted) for fault, wanted in missed.items()))

    def require_hits(self, fault: str, hits: str) -> None:
        """Have `check_expected_hits` ask for *hits* (``"1.."``) of *fault*, which may be a behavior of the mix.

        Raises `UnknownName`, and `OptionError` for another text than `Fault.expect_hits` takes.
        """
        self._proxy_host.record.require(fault, HitRange.parse(hits))

    def _missed(self, fault: str, wanted: HitRange) -> str:
        hits = self.hits(fault)
        reason = (
            self.idle_faults().get(fault) or f"it hit {hits.connections_hit} of {counted(self.accepted, 'connection')}"
        )
        return f"fault {fault!r} of proxy {self.name!r} hit {counted(hits, 'time')}, expected {wanted}: {reason}"

    def idle_faults(self) -> Mapping[str, str]:
        """Why each fault that the proxy has, or had, has not hit, by its name; those that have hit are not there."""
        if self._proxy_host.open:
            self._proxy_host.call(self._note_reasons)
        return {name: text for name, text in self._reasons.items() if not self.hits().get(name)}

    def _note_reasons(self) -> None:
        host = self._proxy_host
        figures, address = host.proxy.figures, str(host.proxy.address)
        self._reasons |= reasons(host.proxy.config, figures, address)

    @errors_at_caller
    def why(self, fault: str) -> Diagnosis:
        """Why *fault*, a fault's name or a behavior of the mix, has not hit: `text` is a sentence, `cause` a word.

        Raises `UnknownName` for a name that no fault of this moment has.
        """
        host = self._proxy_host
        figures, hits = host.call(lambda: (host.proxy.figures, host.record.all_hits().get(fault, 0)))
        return diagnose(host.proxy.config, fault, hits, figures, str(host.proxy.address))

    def faults(self) -> tuple[Fault, ...]:
        """The faults of this moment, in their order, without the mix."""
        return self.policy.faults

    @property
    def accepted(self) -> int:
        """How many connections there were so far."""
        return self._proxy_host.record.accepted

    @property
    def connections(self) -> list[ConnectionInfo]:
        """The connections that are open, oldest first."""
        return self._proxy_host.call(lambda: self._proxy_host.proxy.connections)

    # Changes.

    @property
    def fault(self) -> AddFault:
        """Add a fault behind the others: ``proxy.fault("latency", latency=100, probability=0.3)``.

        Besides the options of the behavior it takes the fields of a `Fault`: *name*, *stream*, *probability*, *scope*,
        *window* (with the keys of a `Window`), *match*, *ttl*, *expect_hits*, and *options* for an option that is
        called as one of these. The behavior alone may be all of it, as text for ``--fault``. Use it in a ``with``
        block, or `LiveChange.remove` it by hand. Editors know the built-in behaviors and their options.

        Raises `UnknownName` and `OptionError` for what the behavior does not have, or cannot use with this protocol,
        and `Conflict` when there is a fault of that *name*, which is the behavior's if none is given.
        """
        return cast("AddFault", self._fault)

    @errors_at_caller
    def _fault(
        self,
        behavior: str,
        /,
        *,
        name: str | None = None,
        stream: StreamName | None = None,
        probability: float | None = None,
        scope: ScopeName | None = None,
        window: Window | Options | None = None,
        match: Mapping[str, str] | None = None,
        ttl: float | str | None = None,
        expect_hits: str | None = None,
        options: Options | None = None,
        **more: object,
    ) -> LiveChange[Fault]:
        fields = {"name": name, "stream": stream, "probability": probability, "scope": scope, "ttl": ttl}
        fields["expect_hits"] = expect_hits
        made = faults.read(behavior, {**fields, "window": window, "match": match, "options": options}, more)
        self._proxy_host.call(lambda: self._edit(lambda policy: policy.with_fault(made)))
        self._proxy_host.record.expect(Mix(), made)
        return LiveChange(made, self._remove)

    @errors_at_caller
    def preset(self, name: str) -> LiveChange[tuple[Fault, ...]]:
        """Add the faults of the preset *name*, such as ``postgres.deadlock:0.1``, behind the others.

        They are called as the preset says. Raises `UnknownName`, `Conflict` where one of that name is there, and
        `OptionError` for a preset of another protocol, and for one that has a schedule, which is for the arguments of
        `Proxy`.
        """
        made = Preset.parse(name)
        made.check(self._proxy_host.proxy.config.protocol)
        if made.schedule is not None:
            wanted = "one without a schedule; a proxy with that is made by Proxy(…, preset=…)"
            raise OptionError("preset", made.name, wanted)
        faults = tuple(msgspec.structs.replace(one) for one, _ in made.faults)

        def add(policy: Policy) -> Policy:
            for one in faults:
                policy = policy.with_fault(one)
            return policy

        self._proxy_host.call(lambda: self._edit(add))
        self._proxy_host.record.expect(Mix(), *faults)

        def remove(_: LiveChange[tuple[Fault, ...]]) -> None:
            for one in faults:
                self._remove(LiveChange(one, self._remove))

        return LiveChange(faults, remove)

    def _remove(self, change: LiveChange[Fault]) -> None:
        """Remove a fault, but not another one that was given its name since."""

        def remove() -> None:
            self._note_reasons()
            if any(one is change.value for one in self.policy.faults):
                self._edit(lambda policy: policy.without_fault(change.value.name))

        if not self._proxy_host.closed:
            self._proxy_host.call(remove)

    @errors_at_caller
    def mix(self, mix: str, /, **options: Options) -> LiveChange[Mix]:
        """Replace the mix: ``proxy.mix("20:error,10:delay", delay={"sleep": 2})``; an empty one is no mix.

        *options* are those of behaviors, by name; what they do not say, *mix_options* of the beginning does. When it is
        removed the mix of before is back. Raises `UnknownName` and `OptionError`.
        """
        first = self._given.get("mix_options") or {}
        both = {name: {**first.get(name, {}), **options.get(name, {})} for name in {**first, **options}}
        made = configure(self.backend, {**self._given, "mix": mix, "mix_options": both})
        for text in made.warnings:
            warnings.warn(text, stacklevel=3)
        change = LiveChange(made.proxies[0].policy.mix, self._restore)
        self._proxy_host.call(lambda: self._push(change))
        return change

    def _push(self, change: LiveChange[Mix]) -> None:
        self._edit(lambda policy: policy.with_mix(change.value))
        self._proxy_host.record.expect(change.value)
        self._mixes.append(change)

    def _restore(self, change: LiveChange[Mix]) -> None:
        """The last mix that was set and not removed is in force, and without one that of the beginning."""

        def restore() -> None:
            if change in self._mixes:
                self._mixes.remove(change)
                mix = self._mixes[-1].value if self._mixes else self._first_mix
                self._edit(lambda policy: policy.with_mix(mix))

        if not self._proxy_host.closed:
            self._proxy_host.call(restore)

    def _edit(self, edit: PolicyEdit) -> None:
        self._proxy_host.proxy.edit_policy(edit)

    @errors_at_caller
    def down(self) -> LiveChange[Fault]:
        """Be gone, as a server that was stopped: clients are refused, open connections end, the port stays ours.

        Open connections see FIN, or RST where they have sent what was not read. It is the fault ``refuse`` under the
        name ``down``; use it in a ``with`` block, or call `up`. Does no more when it is down already.

        Raises `Conflict` when there is another fault of that name.
        """
        return LiveChange(self._proxy_host.call(self._go_down), self._remove)

    def _go_down(self) -> Fault:
        outage = next((one for one in self.policy.faults if one == _OUTAGE), None)
        if outage is None:
            outage = own = msgspec.structs.replace(_OUTAGE)  # one of its own: faults are taken back by identity
            self._edit(lambda policy: policy.with_fault(own))
        self._proxy_host.proxy.drop_connections()
        return outage

    @errors_at_caller
    def up(self) -> None:
        """End what `down` began: listen again, on the same port. Does nothing when it is up."""
        self._proxy_host.call(self._go_up)

    def _go_up(self) -> None:
        if _OUTAGE in self.policy.faults:
            self._edit(lambda policy: policy.without_fault(_OUTAGE.name))

    def close_connections(self) -> int:
        """End every open connection in order: what was sent is delivered, then both sides see FIN. Says how many."""
        return self._proxy_host.call(lambda: self._end(self._proxy_host.proxy.close_connection))

    def reset_connections(self) -> int:
        """End every open connection at once: both sides see RST. Says how many."""
        return self._proxy_host.call(lambda: self._end(self._proxy_host.proxy.reset_connection))

    def _end(self, end: Callable[[int], None]) -> int:
        numbers = [connection.number for connection in self._proxy_host.proxy.connections]
        for number in numbers:
            end(number)
        return len(numbers)

    def __del__(self) -> None:
        if hasattr(self, "_proxy_host") and self._proxy_host.open:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        host: ProxyHost | None = getattr(self, "_proxy_host", None)
        if host is None:  # its arguments were refused
            return f"<{type(self).__name__} that was not made>"
        state = "closed" if host.closed else host.proxy.address if host.started else "not started"
        return f"<{type(self).__name__} {self.name!r} {state} -> {self.backend}>"
