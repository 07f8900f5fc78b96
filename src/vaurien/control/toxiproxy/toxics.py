"""Faults as Toxiproxy's toxics, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from vaurien import plugins
from vaurien.control.toxiproxy import go_json
from vaurien.control.toxiproxy.go_json import ANY, FLOAT32, FLOAT64, INT, INT64, STRING, BadBody, Type
from vaurien.errors import VaurienError
from vaurien.model import Fault, Policy, Stream


class ToxicType(msgspec.Struct, frozen=True):
    """A type of toxic as clients know it: its Go struct, and the attributes that it shows, in order."""

    go_struct: str
    attributes: Mapping[str, Type] = {}


TOXICS: Mapping[str, ToxicType] = {
    "latency": ToxicType("LatencyToxic", {"latency": INT64, "jitter": INT64}),
    "bandwidth": ToxicType("BandwidthToxic", {"rate": INT64}),
    "slow_close": ToxicType("SlowCloseToxic", {"delay": INT64}),
    "timeout": ToxicType("TimeoutToxic", {"timeout": INT64}),
    "reset_peer": ToxicType("ResetToxic", {"timeout": INT64}),
    "slicer": ToxicType("SlicerToxic", {"average_size": INT, "size_variation": INT, "delay": INT}),
    "limit_data": ToxicType("LimitDataToxic", {"bytes": INT64}),
    "noop": ToxicType("NoopToxic"),
    "packet_loss": ToxicType("PacketLossToxic", {"loss_rate": FLOAT64, "correlation": FLOAT64}),
}
"""Toxiproxy's own. Every other behavior can be had as a toxic too, its options being the attributes."""

_OTHER = ToxicType("Toxic")

_NEVER_BELOW_ZERO = {"slicer": ("average_size", "size_variation")}
"""Attributes for which a number below zero is refused; all others take it, and it means zero, as in Toxiproxy."""

_FIELDS = {"name": STRING, "type": STRING, "stream": STRING, "toxicity": FLOAT32, "attributes": ANY}
_STREAMS = frozenset({"upstream", "downstream"})


class InvalidStream(Exception):
    """A stream that is neither upstream nor downstream."""


class InvalidType(Exception):
    """A type that is not a toxic's."""


class Draft(msgspec.Struct, frozen=True):
    """A new toxic whose stream and type are known to be good; its attributes are not read yet."""

    name: str
    behavior: str
    stream: str
    toxicity: float
    attributes: Any

    def toxic(self, *, strict: bool) -> Toxic:
        """The toxic it stands for. Raises `BadBody`."""
        options, below_zero = _options(self.behavior, self.attributes, strict)
        options = _zeros(self.behavior) | options
        fault = Fault(self.name, self.behavior, options, Stream(self.stream.lower()), _toxicity(self.toxicity))
        return Toxic(fault, self.stream, below_zero)


class Toxic(msgspec.Struct, frozen=True):
    """A *fault*, and what a client wrote that the fault cannot say, as Toxiproxy shows it to the client again.

    That is how the *stream* was written, such as ``UPSTREAM``, and attributes *below_zero*, which count as zero.
    """

    fault: Fault
    stream: str
    below_zero: Mapping[str, int] = {}

    @classmethod
    def of(cls, fault: Fault) -> Toxic:
        """The toxic that *fault* is by itself."""
        return cls(fault, str(fault.stream))

    def shown(self) -> dict[str, Any]:
        """The toxic as JSON."""
        return {
            "attributes": {**_zeros(self.fault.behavior), **_numbers(self.fault), **self.below_zero},
            "name": self.fault.name,
            "type": self.fault.behavior,
            "stream": self.stream,
            "toxicity": go_json.float32(self.fault.probability),
        }


class AsWritten:
    """The toxics that say more than their faults, for as long as the faults are what clients made them."""

    def __init__(self) -> None:
        self._toxics: dict[tuple[str, str], Toxic] = {}

    def keep(self, proxy: str, toxic: Toxic, known: Mapping[str, Policy]) -> None:
        """Remember *toxic* of *proxy*, and forget those whose proxies and faults are not *known* any more."""
        if toxic == Toxic.of(toxic.fault):
            self._toxics.pop((proxy, toxic.fault.name), None)
            return
        self._toxics[proxy, toxic.fault.name] = toxic
        live = {(name, fault.name) for name, policy in known.items() for fault in policy.faults}
        self._toxics = {key: one for key, one in self._toxics.items() if key in live and one != Toxic.of(one.fault)}

    def toxic(self, proxy: str, fault: Fault) -> Toxic:
        """The toxic that *fault* of *proxy* is."""
        kept = self._toxics.get((proxy, fault.name))
        return kept if kept is not None and kept.fault == fault else Toxic.of(fault)

    def listed(self, proxy: str, faults: Sequence[Fault]) -> list[dict[str, Any]]:
        """*faults* as Toxiproxy lists them: those of the upstream first, each group in order of creation."""
        ordered = sorted(faults, key=lambda fault: fault.stream is Stream.DOWNSTREAM)
        return [self.toxic(proxy, fault).shown() for fault in ordered]


def draft(value: Any, *, strict: bool) -> Draft:
    """What *value*, a body, asks for. Raises `BadBody`, `InvalidStream`, `InvalidType`, in this order."""
    given, unknown = go_json.members(value, "toxics.ToxicWrapper", _FIELDS)
    _check_unknown(unknown, strict)
    attributes = given.get("attributes")
    if attributes is not None and not isinstance(attributes, go_json.Object):
        raise go_json.mismatch(attributes, "struct field ToxicWrapper.attributes of type toxics.NoopToxic")
    stream = given.get("stream", "downstream")
    if stream.lower() not in _STREAMS:
        raise InvalidStream
    behavior = given.get("type", "")
    if behavior not in TOXICS and (strict or not _is_behavior(behavior)):
        raise InvalidType
    name = given.get("name") or f"{behavior}_{stream}"
    return Draft(name, behavior, stream, given.get("toxicity", 1.0), attributes)


def updated(before: Toxic, value: Any, *, strict: bool) -> Toxic:
    """*before* with the attributes and the toxicity that *value*, a body, gives. Raises `BadBody`."""
    fault = before.fault
    given, unknown = go_json.members(value, go_json.ANONYMOUS, {"attributes": ANY, "toxicity": FLOAT32})
    _check_unknown([name for name in unknown if name.casefold() not in _FIELDS], strict)
    attributes = given.get("attributes")
    if attributes is not None and not isinstance(attributes, go_json.Object):
        known = TOXICS.get(fault.behavior, _OTHER)
        raise go_json.mismatch(attributes, f"struct field .attributes of type toxics.{known.go_struct}")
    options, below_zero = _options(fault.behavior, attributes, strict)
    toxicity = _toxicity(given["toxicity"]) if "toxicity" in given else fault.probability
    still_below = {name: number for name, number in before.below_zero.items() if name not in options}
    changed = msgspec.structs.replace(fault, options={**fault.options, **options}, probability=toxicity)
    return Toxic(changed, before.stream, still_below | below_zero)


def _options(behavior: str, attributes: Any, strict: bool) -> tuple[dict[str, Any], dict[str, int]]:
    """The options that *attributes* give, and the numbers below zero among them, which are options of zero.

    Options are Toxiproxy's, as Go reads them, and those that only this program has.
    """
    toxic = TOXICS.get(behavior, _OTHER)
    fields = {**_further(behavior), **toxic.attributes}
    given, unknown = go_json.members(attributes, toxic.go_struct, fields, "attributes.")
    _check_unknown(unknown, strict)
    options = {name: go_json.plain(value) for name, value in given.items()}
    whole = {name for name, type_ in toxic.attributes.items() if type_ in (INT, INT64)}
    takes_any = set() if strict else whole - {*_NEVER_BELOW_ZERO.get(behavior, ())}
    below_zero = {name: options[name] for name in takes_any & options.keys() if options[name] < 0}
    return options | dict.fromkeys(below_zero, 0), below_zero


def _further(behavior: str) -> dict[str, Type]:
    return {declaration.name: ANY for declaration in plugins.find_for_caller(behavior, "behavior").declarations}


def _numbers(fault: Fault) -> dict[str, Any]:
    """The options of *fault*; those that are Toxiproxy's as numbers, whole if they can be: no client knows ``1s``."""
    fields = TOXICS[fault.behavior].attributes if fault.behavior in TOXICS else {}
    declared = (
        {one.name: one for one in plugins.find_for_caller(fault.behavior, "behavior").declarations} if fields else {}
    )
    shown = {}
    for name, value in fault.options.items():
        number = value
        if name in fields and not isinstance(value, int):
            with contextlib.suppress(VaurienError):  # the store of a fleet may have any value
                number = declared[name].convert(value)
        shown[name] = int(number) if isinstance(number, float) and number.is_integer() else number
    return shown


def _zeros(behavior: str) -> dict[str, Any]:
    """The attributes that are shown even when they were not given."""
    return dict.fromkeys(TOXICS[behavior].attributes, 0) if behavior in TOXICS else {}


def _toxicity(value: float) -> float:
    if not 0 <= value <= 1:
        raise BadBody(f"toxicity {value:g} is not valid; expected a share from 0 to 1")
    return value


def _is_behavior(name: str) -> bool:
    """Whether callers may use the behavior *name* as a toxic; handlers and legacy plugins are none."""
    try:
        return not plugins.find_for_caller(name, "behavior").legacy
    except VaurienError:
        return False


def _check_unknown(names: list[str], strict: bool) -> None:
    if strict and names:
        raise BadBody(f"json: unknown field {go_json.encode(names[0]).decode()}")
