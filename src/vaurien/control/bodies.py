"""Proxies, faults and mixes as JSON: the fields of the model, flat, and addresses as text.

The bodies are made from the model's own fields, so that one added there is one of the interface, with its bounds.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Collection, Coroutine, Mapping, Sequence
from types import GenericAlias, MappingProxyType
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from vaurien import plugins
from vaurien.config.declared import Connections, Tls
from vaurien.config.fault import without_effect
from vaurien.control import checks
from vaurien.control.responses import BadRequest
from vaurien.errors import OptionError, VaurienError
from vaurien.model import Address, Config, Fault, Mix, Policy, ProxyConfig, Share, check_count
from vaurien.observers.hits import FaultHits
from vaurien.options import Option
from vaurien.proxies.hub import Hub
from vaurien.proxies.managed_proxy import ManagedProxy
from vaurien.proxies.proxy import own_faults

NAMEABLE = "1 to 200 characters without slashes and control characters, and neither . nor .."
_PATTERN = r"^(?!\.{1,2}$)[^/\x00-\x1f\x7f]+$"
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200, pattern=_PATTERN), Meta(description=NAMEABLE)]
"""A name that can be part of a path, and that clients do not take out of one (RFC 3986, section 5.2.4)."""

KeptName: TypeAlias = Annotated[str, Meta(min_length=1)]
"""Any name: a proxy of Toxiproxy's interface, or of a file, may have one that no path can hold."""

Revision: TypeAlias = Annotated[
    int, Meta(ge=0, le=2**53 - 1, description="Counts the edits of the configuration; passed over when sent")
]

JsonObject: TypeAlias = dict[str, Any]
Count: TypeAlias = Annotated[int, Meta(ge=0)]


def _body(
    name: str, model: type[msgspec.Struct], changes: Mapping[str, tuple[Any, ...]], without: Collection[str] = ()
) -> Any:
    """A struct called *name* with the fields of *model*, but for *changes*: types, with defaults, of other fields."""
    hints = typing.get_type_hints(model, include_extras=True)
    described = {
        name: hint
        for group in (Connections, Tls)
        for name, hint in typing.get_type_hints(group, include_extras=True).items()
    }
    fields: dict[str, tuple[Any, ...]] = {}
    for field in msgspec.structs.fields(model):
        hint = _described(described.get(field.name, hints[field.name]))
        if field.default is not msgspec.NODEFAULT:
            fields[field.name] = (hint, field.default)
        elif field.default_factory is not msgspec.NODEFAULT:
            fields[field.name] = (hint, msgspec.field(default_factory=field.default_factory))
        else:
            fields[field.name] = (hint,)
    fields = {name: field for name, field in {**fields, **changes}.items() if name not in without}
    return msgspec.defstruct(
        name, [(name, *field) for name, field in fields.items()], kw_only=True, forbid_unknown_fields=True
    )


def _described(hint: Any) -> Any:
    """*hint* with its `Option`'s help as the description that a schema shows."""
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Option):
            return Annotated[hint, Meta(description=extra.help)]
    return hint


class ShareBody(msgspec.Struct, forbid_unknown_fields=True):
    """A share of a mix: *percent* of the occasions go to *behavior*."""

    percent: Annotated[float, Meta(ge=0, le=100)]
    behavior: str
    options: JsonObject = {}


MixBody: TypeAlias = Annotated[
    str | list[ShareBody], Meta(description="Shares, or their text, such as 20:delay,10:error")
]

_OPTIONS: tuple[Any, ...] = (JsonObject, msgspec.field(default_factory=dict))
FaultBody = _body("Fault", Fault, {"behavior": (str,), "name": (Name | UnsetType, UNSET), "options": _OPTIONS})
"""A fault as it is sent: without a name it has its behavior's."""

_HITS: Mapping[str, tuple[Any, ...]] = {
    "hits": (
        Annotated[int, Meta(ge=0, description="Connections, exchanges or chunks that it acted on, by its scope")],
    ),
    "connections_hit": (Annotated[int, Meta(ge=0, description="Connections that it acted on")],),
    "exchanges_hit": (Annotated[int, Meta(ge=0, description="Exchanges that it acted on, if it acts on exchanges")],),
    "last_hit": (Annotated[float, Meta(description="When, in seconds since the epoch; null: not yet")] | None, None),
}
_WARNING = (Annotated[str, Meta(description="Why it changes nothing, whatever passes")] | None, None)
FaultAnswer = _body("FaultAnswer", Fault, {"behavior": (str,), "options": _OPTIONS, **_HITS, "warning": _WARNING})
"""A fault as it is shown: with its counts since it was added."""

_ADDRESS = Annotated[str, Meta(description="host:port, :port, [ipv6]:port or unix:/path")]
_TLS = Annotated[str | list[str], Meta(description="Speak TLS with clients: auto, or PEM files with certificates")]
_FAULTS = GenericAlias(list, (FaultBody,))
_FLAT: Mapping[str, tuple[Any, ...]] = {
    "name": (Name,),
    "listen": (_ADDRESS, "127.0.0.1:0"),
    "backend": (_ADDRESS,),
    "protocol_options": _OPTIONS,
    "tls": (_TLS, msgspec.field(default_factory=list)),
    "seed": (Annotated[str, Meta(description="Makes chance repeatable")] | UnsetType, UNSET),
    "mix": (MixBody, ""),
    "faults": (_FAULTS, msgspec.field(default_factory=list)),
}
ProxyBody = _body("ProxyConfig", ProxyConfig, _FLAT, without=["policy"])
"""A proxy as it is sent."""

_ANY_NAME: Mapping[str, tuple[Any, ...]] = {"name": (KeptName | UnsetType, UNSET)}
_KeptFault = _body("KeptFault", Fault, {"behavior": (str,), "options": _OPTIONS, **_ANY_NAME})
_KEPT_BACKEND = Annotated[str, Meta(description="As of other proxies; or [text]:0, which cannot be dialled")]
_KEPT: Mapping[str, tuple[Any, ...]] = {
    "name": (KeptName,),
    "backend": (_KEPT_BACKEND,),
    "faults": (GenericAlias(list, (_KeptFault,)), msgspec.field(default_factory=list)),
}
KeptBody = _body("KeptProxyConfig", ProxyConfig, {**_FLAT, **_KEPT}, without=["policy"])
"""A proxy as a configuration has it: whatever was made in any way can be put back."""

_DIFFERS = Annotated[str, Meta(description="Why it does not run as it is configured; null when it does")] | None
_LEFT = Annotated[float, Meta(description="Seconds until it removes itself; null: it does not")] | None
FaultState = msgspec.defstruct(
    "FaultState",
    [(name, *declared) for name, declared in _HITS.items()] + [("seconds_left", _LEFT, None)],
    kw_only=True,
)
"""What a fault has done since it was added, and how long it will stay."""

_STATE: Mapping[str, tuple[Any, ...]] = {
    "address": (str,),
    "connections": (Count,),
    "accepted": (Count,),
    "differs": (_DIFFERS, None),
    "warning": (Annotated[str, Meta(description="What may surprise, though it was accepted")] | None, None),
    "mix_hits": (
        Annotated[dict[str, FaultHits], Meta(description="Hits of the mix, by behavior, since the proxy has it")],
        msgspec.field(default_factory=dict),
    ),
    "fault_states": (GenericAlias(dict, (str, FaultState)), msgspec.field(default_factory=dict)),
    "hits": (Annotated[int, Meta(ge=0, description="Of its mix and its faults, all together")],),
    "last_hit": _HITS["last_hit"],
}
ProxyAnswer = _body("Proxy", ProxyConfig, {**_FLAT, **_STATE}, without=["policy"])
"""A proxy as it is shown: with the *address* it listens on, and how many *connections* are open and were *accepted*."""


def _change(name: str, body: type[msgspec.Struct], changes: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """A struct called *name* for a change of a *body* (RFC 7396): nothing need be given, and ``null`` means default."""
    hints = {**typing.get_type_hints(body, include_extras=True), **changes}
    fields = []
    for field in msgspec.structs.fields(body):
        has_default = not field.required and field.name != "name"
        hint = hints[field.name] | None if has_default else hints[field.name]
        fields.append((field.name, hint | UnsetType, UNSET))
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)


ProxyChange = _change("ProxyChange", ProxyBody)
"""What of a proxy is to be another."""

FaultChange = _change("FaultChange", FaultBody, {"window": JsonObject, "match": JsonObject})
"""What of a fault is to be another; of its window and its match too."""


def fault(body: Any, pointer: str = "") -> Fault:
    """The fault that *body*, a `FaultBody` at *pointer*, stands for. Raises `BadRequest`."""
    checks.plugin(body.behavior, body.options, pointer, "behavior", "handler", names=("behavior", "options"))
    fields = msgspec.structs.asdict(body)
    if body.name is UNSET:
        fields["name"] = checks.convert(body.behavior.rpartition(".")[2], Name, f"{pointer}/behavior")
    with checks.at(f"{pointer}/expect_hits"):
        return Fault(**fields)


def mix(body: str | list[ShareBody], pointer: str = "/mix") -> Mix:
    """The mix that *body* stands for. Raises `BadRequest`."""
    with checks.at(pointer):
        check_count("mix", 0 if isinstance(body, str) else len(body))
        made = Mix.parse(body) if isinstance(body, str) else Mix(tuple(map(_share, body)))
        total = sum(share.percent for share in made.shares)
        if total > 100:
            raise OptionError("mix", str(made), f"shares of at most 100 in total, these add up to {total:g}")
    for number, share in enumerate(made.shares):
        where = f"{pointer}/{number}"
        try:
            checks.plugin(share.behavior, share.options, where, "behavior", "handler", names=("behavior", "options"))
        except BadRequest as error:
            raise BadRequest(error.status, str(error), pointer if isinstance(body, str) else error.pointer) from None
    return made


def _share(body: ShareBody) -> Share:
    return Share(body.percent, body.behavior, body.options)


def config(body: Any, seed: str, pointer: str = "") -> ProxyConfig:
    """The configuration that *body*, a `ProxyBody` or `KeptBody` at *pointer*, stands for.

    *seed* is for one that has none. Raises `BadRequest`.
    """
    fields = msgspec.structs.asdict(body)
    fields["seed"] = seed if body.seed is UNSET else body.seed
    fields["tls"] = (body.tls,) if isinstance(body.tls, str) else tuple(body.tls)
    kept = isinstance(body, KeptBody)
    checked = body.enabled or not kept  # Toxiproxy looks at the address of a proxy when it is enabled
    fields["listen"] = checks.address(body.listen, f"{pointer}/listen", host=checked)
    fields["backend"] = (kept and _undialled(body.backend)) or checks.address(
        body.backend, f"{pointer}/backend", dialled=True
    )
    names = ("protocol", "protocol_options")
    checks.plugin(body.protocol, body.protocol_options, pointer, "protocol", names=names)
    with checks.at(f"{pointer}/faults"):
        check_count("faults", len(fields["faults"]))
    faults = [fault(one, f"{pointer}/faults/{number}") for number, one in enumerate(fields.pop("faults"))]
    _check_names([one.name for one in faults], f"{pointer}/faults")
    return ProxyConfig(policy=Policy(mix(fields.pop("mix"), f"{pointer}/mix"), tuple(faults)), **fields)


def revised(before: ProxyConfig, change: Any, seed: str) -> ProxyConfig:
    """*before* with what *change*, a `ProxyChange`, says; nothing else of it is looked at. Raises `BadRequest`.

    Another protocol begins with its own options, those that are given.
    """
    patch: JsonObject = msgspec.to_builtins(change)
    old: JsonObject = msgspec.to_builtins(flat(before), enc_hook=str)
    if patch.get("protocol", before.protocol) != before.protocol:
        old["protocol_options"] = {}
        patch.setdefault("protocol_options", {})
    if patch.get("name", before.name) != before.name:
        raise BadRequest(400, f"a proxy keeps its name; expected {before.name!r}, or no name", "/name")
    asked = {**patch, "protocol": None} if "protocol_options" in patch else patch
    whole: JsonObject = {"name": "p", "backend": "localhost:1"} | {key: old[key] for key in asked}
    made = config(checks.convert(checks.merged(whole, patch), ProxyBody), seed)
    changes = {key: getattr(made, key) for key in patch if key not in ("name", "mix", "faults")}
    parts = {key: getattr(made.policy, key) for key in ("mix", "faults") if key in patch}
    return msgspec.structs.replace(before, policy=msgspec.structs.replace(before.policy, **parts), **changes)


def configs(bodies: list[Any], seed: str, pointer: str) -> list[ProxyConfig]:
    """Those that *bodies*, a list of `KeptBody` at *pointer*, stand for, as for `config`. Raises `BadRequest`."""
    _check_names([body.name for body in bodies], pointer)
    return [config(body, seed, f"{pointer}/{number}") for number, body in enumerate(bodies)]


_UNDIALLED = re.compile(r"\[(?P<text>.*)\]:0", re.DOTALL)


def _undialled(text: str) -> Address | None:
    """The backend that *text* stands for, if it is one that cannot be dialled, as `_backend` writes it."""
    match = _UNDIALLED.fullmatch(text)
    return Address(match["text"]) if match else None


def _backend(address: Address) -> str:
    return str(address) if address.port or address.path or address.forward else f"[{address.host}]:0"


def _check_names(names: list[str], pointer: str) -> None:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            raise BadRequest(400, f"the name {name!r} is given twice", f"{pointer}/{number}/name")
        seen.add(name)


def flat(config: ProxyConfig) -> JsonObject:
    """*config* as a `ProxyBody` has it."""
    fields = msgspec.structs.asdict(config)
    policy = fields.pop("policy")
    fields |= {"listen": str(config.listen), "backend": _backend(config.backend)}
    return fields | {"mix": policy.mix.shares, "faults": policy.faults}


def shown_fault(hub: Hub, proxy: str, fault: Fault) -> JsonObject:
    """*fault* of *proxy* as a `FaultAnswer` has it."""
    done = msgspec.structs.asdict(hub.hits.of(proxy, fault.name))
    return msgspec.structs.asdict(fault) | done | {"warning": _warning(fault)}


def _warning(fault: Fault) -> str | None:
    """Why *fault* changes nothing; one that the fleet wants may be of a plugin that this node has not."""
    try:
        with plugins.for_callers():
            return without_effect(fault) or None
    except VaurienError as error:
        return str(error)


def _fault_state(hub: Hub, proxy: ManagedProxy, name: str, fault: str) -> JsonObject:
    return msgspec.structs.asdict(hub.hits.of(name, fault)) | {"seconds_left": proxy.seconds_left(fault)}


def all_proxies(config: Config) -> JsonObject:
    """*config* as the interface shows it."""
    return {"proxies": [flat(proxy) for proxy in config.proxies], "revision": config.revision}


def shown(
    hub: Hub, name: str, sharing: Mapping[str, Sequence[str]] | None = None
) -> Coroutine[object, object, JsonObject]:
    """The proxy *name* of *hub* as a `ProxyAnswer` has it; *sharing* is that of the hub, which one call may find out.

    Raises `UnknownName` at once, and nothing once awaited.
    """
    proxy, config = hub.get(name), hub.config.proxy(name)
    others = (hub.sharing() if sharing is None else sharing).get(name, ())
    return _shown(hub, proxy, config, hub.difference(name), _shared(hub, others))


def _shared(hub: Hub, others: Sequence[str]) -> str | None:
    """The warning of a proxy whose address *others* have too."""
    if not others:
        return None
    off = ", which is switched off," if not hub.config.proxy(others[0]).enabled else ""
    return f"proxy {others[0]!r}{off} has this address too: only one of them can be on"


async def _shown(
    hub: Hub, proxy: ManagedProxy, config: ProxyConfig, reason: VaurienError | None, warning: str | None
) -> JsonObject:
    name, figures = config.name, await proxy.figures()  # it may be deleted meanwhile
    shares = [share.behavior for share in config.policy.mix.shares]
    faults = [fault.name for fault in (*config.policy.faults, *own_faults(config))]
    hits = [hub.hits.of(name, one) for one in {*shares, *faults}]
    state = {
        "address": str(proxy.address),
        "connections": figures.open,
        "accepted": figures.accepted,
        "differs": None if reason is None else str(reason),
        "warning": warning,
        "mix_hits": {share: hub.hits.of(name, share) for share in shares},
        "fault_states": {fault: _fault_state(hub, proxy, name, fault) for fault in faults},
        "hits": sum(one.hits for one in hits),
        "last_hit": max((one.last_hit for one in hits if one.last_hit is not None), default=None),
    }
    return flat(config) | state
