"""Why did nothing happen? The reason why a fault has not hit, from what it and its proxy have seen.

The causes are asked for in the order in which a byte meets them: is the proxy on, does anything arrive, is it
understood, is it meant, does the window take it, does chance::

    off ─► without effect ─► not tls, handshake failed, dial failed ─► no connection ─► other clients
        ─► encrypted ─► not recognized ─► other exchanges ─► window ─► spared
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from vaurien import plugins
from vaurien.config.fault import without_effect
from vaurien.console import counted
from vaurien.engine.policy.matching import CLIENT, FORWARD, HELLO, is_literal
from vaurien.engine.policy.near_misses import NearMisses
from vaurien.engine.relay.traffic import Figures
from vaurien.errors import UnknownName
from vaurien.hooks import overridden
from vaurien.model import Fault, ProxyConfig, Scope, Share, Window
from vaurien.proxies.proxy import own_faults

_ON_EXCHANGES = frozenset({"on_request", "on_response"})

_DISTRUST = re.compile("alert (unknown_ca|bad_certificate|certificate_unknown)$")
"""The alerts by which clients refuse a certificate of an authority that they do not know (RFC 8446, section 6.2)."""


class Diagnosis(msgspec.Struct, frozen=True):
    """What a *fault* has seen, and the *cause* of its not having hit, as a word and as a sentence, *text*.

    *cause* is ``acted`` once it has hit. *connections* and *exchanges* are those of the proxy that could be hit. Of the
    connections that the fault is for, clients *without_tls* spoke none where they had to, *handshakes_failed* ended in
    the client's TLS handshake, and *undialled* ones came to no backend. *unmatched*, *outside_window* and *spared*
    count occasions that were not, *seen* has some values of matched fields.
    """

    fault: str
    cause: str
    text: str
    hits: int = 0
    connections: int = 0
    without_tls: int = 0
    handshakes_failed: int = 0
    undialled: int = 0
    exchanges: int = 0
    unmatched: int = 0
    outside_window: int = 0
    spared: int = 0
    seen: Mapping[str, Sequence[str]] = {}


def key_of(fault: Fault) -> str:
    """What the engine calls *fault* in its figures."""
    return f"fault {fault.name} {fault.behavior}"


def diagnose(config: ProxyConfig, name: str, hits: int, figures: Figures, address: str) -> Diagnosis:
    """Why the fault called *name* of the proxy of *config* has no *hits*, by the proxy's *figures*.

    A behavior of the mix is one, too, and a fault that an option of the protocol sets. The proxy listens on *address*.
    Raises `UnknownName`.
    """
    faults = {one.name: one for one in (*own_faults(config), *config.policy.faults)}
    shares = {share.behavior: share for share in config.policy.mix.shares}
    if name in faults:
        seen = figures.near_misses.get(key_of(faults[name])) or NearMisses()
        causes = _causes(config, faults[name], seen, figures, address)
    elif name in shares:
        seen = _seen_by_mix(figures)
        causes = _causes_of_share(config, shares[name], seen, figures, address)
    else:
        raise UnknownName("fault", name, faults.keys() | shares.keys())
    cause, text = ("acted", f"it has acted {counted(hits, 'time')}") if hits else next(causes)
    return Diagnosis(
        fault=name,
        cause=cause,
        text=text,
        hits=hits,
        connections=seen.connections,
        without_tls=seen.without_tls,
        handshakes_failed=seen.handshakes_failed,
        undialled=seen.undialled,
        exchanges=figures.exchanges,
        unmatched=seen.unmatched,
        outside_window=seen.outside_window,
        spared=seen.spared,
        seen=seen.seen,
    )


def reasons(config: ProxyConfig, figures: Figures, address: str) -> dict[str, str]:
    """Why each fault, and each share of the mix, has not hit, by its name; as if none of them had."""
    faults = (*config.policy.faults, *own_faults(config))
    names = [*(share.behavior for share in config.policy.mix.shares), *(one.name for one in faults)]
    return {name: diagnose(config, name, 0, figures, address).text for name in names}


def _seen_by_mix(figures: Figures) -> NearMisses:
    return NearMisses(
        connections=figures.accepted,
        without_tls=figures.without_tls,
        handshakes_failed=figures.handshakes_failed,
        undialled=figures.undialled,
        spared=figures.exchanges,
    )


def _causes_of_share(
    config: ProxyConfig, share: Share, seen: NearMisses, figures: Figures, address: str
) -> Iterator[tuple[str, str]]:
    """Why *share* has not been drawn, as for a fault that is drawn for each exchange."""
    if figures.exchanges:
        yield "spared", f"{share.percent:g} % spared all of {counted(figures.exchanges, 'exchange')}, so far by chance"
    fault = Fault(share.behavior, share.behavior, share.options, scope=Scope.EXCHANGE)
    yield from _causes(config, fault, seen, figures, address)


def _causes(
    config: ProxyConfig, fault: Fault, seen: NearMisses, figures: Figures, address: str
) -> Iterator[tuple[str, str]]:
    """Each reason that applies, the first one first."""
    if not config.enabled:
        yield "off", f"proxy {config.name!r} is switched off"
    if idle := without_effect(fault):
        yield "without_effect", f"it changes nothing: {idle}"
    yield from _ended_early(seen, figures)
    if not seen.connections:
        wanted = f"clients have to connect to {address}, not to {config.backend}"
        if config.backend.forward:
            wanted = f"clients have to be told of the proxy {address}"
        yield "no_connection", f"no connection has come since it was set; {wanted}"
    if seen.connections == seen.other_clients:
        asked = [name for name in fault.match if name in _of_connections(config)]
        wanted = " ".join(f"match.{name}={fault.match[name]}" for name in asked)
        found = "; ".join(", ".join(map(_printable, filter(None, seen.seen.get(name, [])))) or "none" for name in asked)
        yield "other_clients", f"{wanted} fits none of {counted(seen.connections, 'connection')}; seen: {found}"
    if _needs_exchanges(config, fault) and figures.encrypted and figures.encrypted >= figures.accepted:
        yield "encrypted", _encrypted(config, figures)
    if _needs_exchanges(config, fault) and not figures.exchanges:
        yield "not_recognized", _not_recognized(config, seen, figures)
    if seen.unmatched and not (seen.spared or seen.outside_window):
        yield "other_exchanges", _other_exchanges(config, fault, seen)
    if seen.outside_window and not seen.spared:
        yield (
            "outside_window",
            f"its window ({_shown(fault.window)}) took none of {counted(seen.outside_window, 'occasion')}",
        )
    if seen.spared:
        chance = f"a probability of {fault.probability:g}"
        yield "spared", f"{chance} spared all of {counted(seen.spared, 'occasion')}, so far by chance"
    yield "no_occasion", _no_occasion(fault, seen, figures)


def _ended_early(seen: NearMisses, figures: Figures) -> Iterator[tuple[str, str]]:
    """The most frequent reason why connections ended before they had a server, if all of them did."""
    counts = {
        "not_tls": seen.without_tls,
        "handshake_failed": seen.handshakes_failed,
        "dial_failed": seen.undialled,
    }
    meant = seen.connections - seen.other_clients
    if meant and sum(counts.values()) == meant:
        cause = max(counts, key=counts.__getitem__)
        count = counts[cause]
        those = counted(count, "connection") if count == meant else f"{count} of {counted(meant, 'connection')}"
        text = {
            "not_tls": "sent plain text where the proxy speaks TLS; let clients speak it too, or leave out tls",
            "handshake_failed": f"failed in the client's TLS handshake: {_handshake_error(figures)}",
            "dial_failed": f"failed to reach its server: {_printable(figures.dial_error.removeprefix('backend '))}",
        }
        yield cause, f"{those}, {'which' if count == 1 else 'each'} {text[cause]}"


def _handshake_error(figures: Figures) -> str:
    error = _printable(figures.handshake_error)
    trust = "; the client has to trust the authority of the proxy's certificate" if _DISTRUST.search(error) else ""
    return error + trust


def _printable(value: str) -> str:
    """*value*, which a client chose, without anything that a terminal would obey."""
    return value if value.isprintable() else repr(value)


def _of_connections(config: ProxyConfig) -> frozenset[str]:
    """What a match may ask about connections: on a forward proxy, of the server that the client names too."""
    return frozenset({CLIENT, *HELLO, *(FORWARD if config.backend.forward else ())})


def _needs_exchanges(config: ProxyConfig, fault: Fault) -> bool:
    plugin = plugins.find(fault.behavior, "behavior", "handler")
    on_exchanges = not plugin.legacy and overridden(plugin.target) & _ON_EXCHANGES
    return bool(on_exchanges or fault.match.keys() - _of_connections(config))


def _encrypted(config: ProxyConfig, figures: Figures) -> str:
    hint = getattr(plugins.find(config.protocol, "protocol").target, "plain_hint", "")
    advice = f", or {hint}" if hint else ""
    connections = counted(figures.encrypted, "connection")
    return f"{connections} encrypted, which hides the requests; give the proxy a certificate (tls){advice}"


def _not_recognized(config: ProxyConfig, seen: NearMisses, figures: Figures) -> str:
    connections = counted(seen.connections, "connection")
    if figures.lost:
        return f"{connections}, but no request was recognized as {config.protocol}: {figures.lost_because}"
    return f"{connections}, but no request yet that {config.protocol} recognizes"


def _other_exchanges(config: ProxyConfig, fault: Fault, seen: NearMisses) -> str:
    others = _of_connections(config)
    asked = " ".join(f"match.{name}={pattern}" for name, pattern in fault.match.items() if name not in others)
    found = "; ".join(
        f"{name} {', '.join(map(repr, values))}" for name, values in seen.seen.items() if name not in others
    )
    stars = [name for name, pattern in fault.match.items() if "*" in pattern and is_literal(name, pattern)]
    hint = "".join(f"; for any text at the *: match.{name}=glob:{fault.match[name]}" for name in stars)
    return f"{asked} fits none of {counted(seen.unmatched, 'exchange')}; seen: {found}{hint}"


def _no_occasion(fault: Fault, seen: NearMisses, figures: Figures) -> str:
    plugin = plugins.find(fault.behavior, "behavior", "handler")
    acts = {
        "on_response": "a response",
        "on_eof": "the end of a stream",
        "on_data": f"bytes in its direction ({fault.stream})",
        "on_request": "a request",
        "on_connect": "a new connection",
        "on_start": "the time that it waits for",
    }
    hooks = overridden(plugin.target) if not plugin.legacy else frozenset()
    if figures.exchanges:
        acts["on_request"] = "a request that it acts on"
    wanted = getattr(plugin.target, "occasion", "") or next(
        (text for hook, text in acts.items() if hook in hooks), "its occasion"
    )
    connections = counted(seen.connections, "connection")
    return f"{connections}, {counted(figures.exchanges, 'request')}, and {wanted} has not come yet"


def _shown(window: Window) -> str:
    plain = Window()
    names = {"seconds": "for"}
    told = {name: getattr(window, name) for name in Window.__struct_fields__}
    given = (f"{names.get(name, name)}={value:g}" for name, value in told.items() if value != getattr(plain, name))
    return " ".join(given)
