"""A policy made ready to run: names looked up, options checked, behaviors built, shares added up."""

from __future__ import annotations

import bisect
import itertools
import math
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import msgspec

from vaurien import hooks, options, plugins
from vaurien.engine.policy.matching import Matcher
from vaurien.errors import OptionError
from vaurien.framing import Head, Protocol, Turns
from vaurien.legacy import behaviors
from vaurien.legacy.protocol import Unframed
from vaurien.model import Direction, Fault, Policy, Scope, Share, Stream, Window

EXCHANGE_HOOKS = frozenset({"on_request", "on_response", "on_done"})
"""The hooks that are called for exchanges."""

_ALWAYS = Window()
_BEFORE_AND_AFTER = frozenset({"on_request", "on_response"})
_DATA_HOOKS = frozenset({"on_data", "on_eof"})
_OF_BYTES = _DATA_HOOKS | {"on_alarm", "on_stop"}
_WITH_BYTES = _DATA_HOOKS | EXCHANGE_HOOKS
"""The hooks that are called for bytes that come, and at no other time."""
_RESPONSE_HOOKS = frozenset({"on_response", "on_done", "on_control"}) | _DATA_HOOKS


class CompiledFault:
    """One behavior in use on a proxy: a fault, or a share of the mix.

    *key* tells it from the others of its proxy; one with the same key in the next plan is the same fault, changed.
    *instance* is the behavior, or for the blocking lane a legacy plugin.
    """

    # Asked at each chunk or exchange, so what can be known is computed once.
    __slots__ = (
        "answers",
        "blocking",
        "chunk_limit",
        "fault",
        "fixed_delay",
        "hooks",
        "instance",
        "key",
        "matcher",
        "may_wait",
        "name",
        "needs_task",
        "of_content",
        "of_mix",
        "one_way",
        "only_replies",
        "per_exchange",
        "plugin",
        "probabilistic",
        "reads_content",
        "says_hits",
    )

    def __init__(
        self, key: str, fault: Fault, plugin: plugins.Plugin, instance: Any, matcher: Matcher, *, of_mix: bool
    ) -> None:
        self.key, self.name, self.fault, self.of_mix = key, fault.name, fault, of_mix
        self.matcher = matcher
        self.plugin, self.instance = plugin, instance
        self.blocking = plugin.legacy
        """Whether it is a legacy plugin, which needs real blocking sockets."""
        self.hooks = frozenset() if plugin.legacy else _hooks(plugin.target, fault.stream)
        limit = None if plugin.legacy else instance.chunk_limit
        self.chunk_limit: int | None = None if limit is None else max(1, int(limit))
        """The most bytes that its `on_data` gets at once."""
        self.fixed_delay: float | None = instance.fixed_delay if plugin.built_in and not plugin.legacy else None
        """Seconds after which its `on_data` sends what it gets, if it does nothing else."""
        self.needs_task = bool(self.hooks) and not plugin.built_in
        """Whether its hooks may need a current task (as `asyncio.timeout` does): those of plugins, not of built-ins."""
        self.reads_content: bool = not plugin.legacy and plugin.target.reads_content
        """Whether it reads messages, which are not to be compressed."""
        self.one_way: bool = not plugin.legacy and plugin.target.one_way
        """Whether it is for messages without an answer alone."""
        at_once = plugin.built_in and not plugin.legacy and plugin.target.only_replies
        self.only_replies: bool = at_once and "on_request" in self.hooks and self.hooks <= _BEFORE_AND_AFTER
        """Whether it replies to a request without a wait, or lets it pass, and does nothing else to it."""
        self.answers: dict[Head, Any] = {}
        """What the engine keeps of its replies to requests that are recognized."""
        self.of_content = self.reads_content or self.one_way
        """Whether it acts on what messages say."""
        self.says_hits: bool = not plugin.legacy and plugin.target.says_hits
        """Whether it says itself what is a hit."""
        self.per_exchange = of_mix or self.of_content or fault.scope is Scope.EXCHANGE or matcher.by_exchange
        """Whether it is in play for some exchanges of a connection and not for others."""
        self.probabilistic = fault.probability < 1.0 or fault.window != _ALWAYS
        """Whether it takes only some of its occasions, so that each is a decision."""
        decides = self.probabilistic and fault.scope is Scope.CONNECTION and not of_mix
        hooks = self.hooks - {"on_stop"} if plugin.built_in else self.hooks
        self.may_wait = not (self.blocking or self.halts or decides or matcher.of_connections) and hooks <= _WITH_BYTES
        """Whether nothing comes of it on a connection of which it knows nothing before there are bytes. The built-in
        behaviors' `on_stop` lets go of what came before."""

    @property
    def label(self) -> str:
        """A share's behavior, with its ordinal when it is not the first share of that behavior."""
        return self.key.removeprefix("mix ").removesuffix(" 1")

    @property
    def closes_port(self) -> bool:
        """Whether the port is closed while it is set."""
        return not self.plugin.legacy and self.plugin.target.closes_port

    @property
    def below_tls(self) -> bool:
        """Whether it acts on records of TLS."""
        return not self.plugin.legacy and self.plugin.target.below_tls

    @property
    def of_messages(self) -> bool:
        """Whether it acts on the text of single messages where the protocol has streams."""
        return not self.plugin.legacy and self.plugin.target.of_messages

    @property
    def halts(self) -> bool:
        """Whether nothing moves on a connection that is hit."""
        return not self.plugin.legacy and self.plugin.target.halts

    def handles(self, *names: str) -> bool:
        """Whether it has one of the hooks *names*."""
        return not self.hooks.isdisjoint(names)

    def __repr__(self) -> str:
        return f"<{self.key} {self.plugin.name}>"


Instantiate = Callable[[plugins.Plugin, Mapping[str, Any]], Any]
"""Makes the instance of a legacy plugin for this proxy."""


class CompiledPolicy:
    """A policy ready to run. Immutable; connections compare compiled faults by identity to see what changed.

    On a *forward* proxy, the server that a client names can be matched.
    """

    def __init__(
        self,
        policy: Policy,
        protocol: Protocol,
        instantiate: Instantiate,
        previous: CompiledPolicy | None = None,
        *,
        forward: bool = False,
    ) -> None:
        self.policy = policy
        self.protocol = protocol
        self._forward = forward
        known = {compiled.key: compiled for compiled in previous.compiled_faults} if previous else {}
        shares = tuple(share for share in policy.mix.shares if share.percent > 0)
        self.mix: tuple[CompiledFault, ...] = tuple(
            self._entry(key, _as_fault(share), known, instantiate, of_mix=True)
            for key, share in zip(_keys(shares), shares, strict=True)
        )
        checked = [
            self._entry(f"fault {fault.name} {fault.behavior}", fault, known, instantiate, of_mix=False)
            for fault in (*policy.faults, *_own_faults(policy, protocol))
        ]
        self.faults: tuple[CompiledFault, ...] = tuple(compiled for compiled in checked if compiled.fault.enabled)
        self.compiled_faults: tuple[CompiledFault, ...] = self.mix + self.faults
        self.blocking = any(compiled.blocking for compiled in self.compiled_faults)
        self.connects = any(compiled.handles("on_connect") for compiled in self.faults)
        self.answers_tls_requests = any(compiled.handles("on_tls_request") for compiled in self.faults)
        self.shakes = any(compiled.handles("on_client_hello") for compiled in self.faults)
        self._limits = tuple(itertools.accumulate(share.percent for share in shares))
        self._end = self._limits[-1] if self._limits else 0.0
        self._spared_from = _least_number(self._end)
        self.has_live_mix = any(compiled.hooks or compiled.blocking for compiled in self.mix)
        self.relevant = self.compiled_faults if self.has_live_mix else self.faults
        """Those that a connection has to know: shares of a mix that never does anything are not among them."""
        self.may_wait = all(compiled.may_wait for compiled in self.relevant)
        """Whether a connection on which nothing is under way may take it over with its next bytes."""
        self.hooked = any(compiled.hooks for compiled in self.faults)
        self.closed = any(compiled.closes_port for compiled in self.faults)
        """Whether a fault closes the port."""
        self.reads_hello = any(compiled.matcher.reads_hello for compiled in self.faults)
        """Whether a client's ClientHello is to be read before the connection's faults are chosen."""
        self.framed = self._needs_framing()
        self._on_data = tuple(tuple(self._with_hooks_on(direction)) for direction in Direction)
        self.on_any_data = tuple(
            dict.fromkeys(compiled for compiled_faults in self._on_data for compiled in compiled_faults)
        )
        """The compiled faults with a hook on the bytes of a direction."""
        self.direct = not (self.framed or self.on_any_data)
        """Whether nothing in it has to see the bytes."""

    def _needs_framing(self) -> bool:
        """Whether exchanges must be told apart.

        Always with a protocol that has a framing of its own: it could not be joined in the middle of a connection.
        """
        return (
            self.has_live_mix
            or not isinstance(self.protocol.framer(), Turns)
            or any(not compiled.hooks.isdisjoint(EXCHANGE_HOOKS) or compiled.per_exchange for compiled in self.faults)
            or not self.protocol.keep_alive
            or self.protocol.reuse_socket
        )

    def _entry(
        self, key: str, fault: Fault, known: Mapping[str, CompiledFault], instantiate: Instantiate, *, of_mix: bool
    ) -> CompiledFault:
        same = known.get(key)
        if same is not None and same.fault == fault:
            return same
        plugin = plugins.find(fault.behavior, "behavior", "handler")
        if plugin.legacy:
            instance = instantiate(plugin, fault.options)
        else:
            instance = options.build(plugin.target, fault.options, owner=f"behavior {fault.behavior!r}")
            instance.check(self.protocol)
            if plugin.built_in and plugin.name in behaviors.BUILT_IN and isinstance(self.protocol, Unframed):
                plugin, instance = self._in_thread(plugin, instance, instantiate)
        matcher = Matcher(fault.match, self.protocol, f"fault {fault.name!r}", forward=self._forward)
        compiled = CompiledFault(key, fault, plugin, instance, matcher, of_mix=of_mix)
        _check_scope(compiled)
        _check_parts(compiled, self.protocol)
        if compiled.closes_port:
            _check_choices(compiled)
        return compiled

    def _in_thread(self, plugin: plugins.Plugin, instance: Any, instantiate: Instantiate) -> tuple[plugins.Plugin, Any]:
        """The behavior that does to a legacy protocol what *instance* would do to the bytes in the loop."""
        legacy = plugins.Plugin(plugin.name, "behavior", behaviors.BUILT_IN[plugin.name])
        known = {one.name: getattr(instance, one.name) for one in legacy.declarations if hasattr(instance, one.name)}
        return legacy, instantiate(legacy, known)

    def draw(self, random: Random) -> CompiledFault | None:
        """The share of the mix that is hit this time; ``None`` for the undisturbed rest. One number is drawn."""
        number = random.random() * 100
        return self.mix[bisect.bisect_right(self._limits, number)] if number < self._end else None

    def drawing(self, random: Random) -> Callable[[], CompiledFault | None]:
        """As `draw`, each time it is called, for less: most exchanges are spared."""
        roll, spared_from, limits, mix = random.random, self._spared_from, self._limits, self.mix

        def draw() -> CompiledFault | None:
            number = roll()
            return None if number >= spared_from else mix[bisect.bisect_right(limits, number * 100)]

        return draw

    def draw_many(self, random: Random, count: int) -> list[tuple[int, CompiledFault]]:
        """What `draw` gives *count* times in a row: the shares that are hit, each with its place among the draws."""
        numbers = [*itertools.starmap(random.random, itertools.repeat((), count))]  # without bytecode for each
        hits = itertools.compress(range(count), map(operator.lt, numbers, itertools.repeat(self._spared_from)))
        if len(self.mix) == 1:
            return [(place, self.mix[0]) for place in hits]
        return [(place, self.mix[bisect.bisect_right(self._limits, numbers[place] * 100)]) for place in hits]

    def on_data(self, direction: Direction) -> tuple[CompiledFault, ...]:
        """The compiled faults with a hook on the bytes of this direction, in the order they act."""
        return self._on_data[direction]

    def _with_hooks_on(self, direction: Direction) -> Iterator[CompiledFault]:
        for compiled in self.compiled_faults:
            if compiled.hooks.isdisjoint(_DATA_HOOKS):
                continue
            if compiled.fault.stream.includes(direction) or compiled.plugin.target.both_ways:
                yield compiled


def _least_number(percent: float) -> float:
    """The least number that is not below *percent* once it is multiplied by 100, which rounds."""
    number = percent / 100
    while number and number * 100 >= percent:
        number = math.nextafter(number, 0.0)
    while number * 100 < percent:
        number = math.nextafter(number, 1.0)
    return number


def _own_faults(policy: Policy, protocol: Protocol) -> tuple[Fault, ...]:
    given = {fault.name for fault in policy.faults}
    return tuple(fault for fault in protocol.own_faults if fault.name not in given)


def _check_scope(compiled: CompiledFault) -> None:
    """Refuse a fault that is for exchanges, or for chunks, if it does not act on these. Raises `OptionError`."""
    if compiled.of_mix:
        return
    fault = compiled.fault
    if fault.scope is Scope.CHUNK and not _acts_on_chunks(compiled):
        acts = "exchanges" if compiled.of_content or compiled.handles(*EXCHANGE_HOOKS) else "whole connections"
        wanted = f"no choice of chunks: {fault.behavior!r} acts on {acts}"
        raise OptionError(f"fault {fault.name!r} scope", "chunk", wanted)
    if compiled.per_exchange and not _acts_on_exchanges(compiled):
        option, value = ("match", dict(fault.match)) if compiled.matcher.by_exchange else ("scope", "exchange")
        wanted = f"no choice of exchanges: {fault.behavior!r} acts on whole connections"
        raise OptionError(f"fault {fault.name!r} {option}", value, wanted)
    if compiled.matcher.late and compiled.hooks and not compiled.handles(*_RESPONSE_HOOKS):
        wanted = f"no field of the response: {fault.behavior!r} acts before there is one"
        raise OptionError(f"fault {fault.name!r} match", dict(fault.match), wanted)


def _check_parts(compiled: CompiledFault, protocol: Protocol) -> None:
    """Refuse a match of single messages for a fault that acts on more, or later. Raises `OptionError`."""
    if not compiled.matcher.by_part:
        return
    fault, names = compiled.fault, " and ".join(protocol.part_fields)
    if compiled.matcher.late:
        wanted = f"{names} of a message, or what the response says ({', '.join(protocol.response_fields)}), not both"
    elif compiled.hooks and not _fits_parts(compiled):
        wanted = f"no {names} of a message: {fault.behavior!r}, with these options, acts on whole exchanges"
    else:
        return
    raise OptionError(f"fault {fault.name!r} match", dict(fault.match), wanted)


def _fits_parts(compiled: CompiledFault) -> bool:
    """Whether it acts on bytes alone, or says itself that it may act on a single message."""
    whole = compiled.of_content or (compiled.of_messages and not compiled.instance.text_only)
    of_bytes = "on_data" in compiled.hooks and compiled.hooks <= _OF_BYTES and not whole
    return of_bytes or bool(compiled.instance.acts_on_parts)


def _acts_on_chunks(compiled: CompiledFault) -> bool:
    """Whether its acts are for chunks alone; what does nothing may be for anything."""
    whole = compiled.handles("on_client_hello", "on_connect", "on_start", *EXCHANGE_HOOKS)
    whole = whole or compiled.of_content
    return not compiled.blocking and (not compiled.hooks or (compiled.handles("on_data") and not whole))


def _acts_on_exchanges(compiled: CompiledFault) -> bool:
    acts = compiled.handles(*EXCHANGE_HOOKS, *_DATA_HOOKS) and not compiled.handles("on_start")
    return not compiled.blocking and (not compiled.hooks or acts)


def _check_choices(compiled: CompiledFault) -> None:
    """Refuse a choice for a fault that closes the port, which it does for every client. Raises `OptionError`."""
    fault, plain = compiled.fault, Fault(name="", behavior="")
    if compiled.of_mix:
        wanted = (
            f"a fault of its own: {fault.behavior!r} closes the port for every client, not for a share of exchanges"
        )
        raise OptionError("behavior", fault.behavior, wanted)
    for field in ("probability", "scope", "window", "match"):
        value = getattr(fault, field)
        if value != getattr(plain, field):
            shown = msgspec.to_builtins(value)
            wanted = f"none: {fault.behavior!r} takes no {field}, it closes the port for every client"
            raise OptionError(f"fault {fault.name!r} {field}", shown, wanted)


def _hooks(behavior: type[hooks.Behavior], stream: Stream) -> frozenset[str]:
    """The hooks of *behavior* that are in play in *stream*."""
    found = hooks.overridden(behavior)
    if not behavior.by_stream or stream is Stream.BOTH:
        return found
    return found - {"on_response" if stream is Stream.UPSTREAM else "on_request"}


def _keys(shares: tuple[Share, ...]) -> list[str]:
    """A key for each share that stays the same when others come and go; a behavior may have several shares."""
    seen: Counter[str] = Counter()
    keys = []
    for share in shares:
        seen[share.behavior] += 1
        keys.append(f"mix {share.behavior} {seen[share.behavior]}")
    return keys


def _as_fault(share: Share) -> Fault:
    return Fault(name=share.behavior, behavior=share.behavior, options=share.options, stream=Stream.BOTH)
