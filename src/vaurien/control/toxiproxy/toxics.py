"""Faults as Toxiproxy's toxics, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from vaurien import plugins
from vaurien.control.toxiproxy import go_json
from vaurien.control.toxiproxy.go_json import ANY, FLOAT32, FLOAT64, INT, INT64, STRING, BadBody, Type
from vaurien.model import Fault, Stream


class Toxic(msgspec.Struct, frozen=True):
    """A type of toxic as clients know it: its Go struct, and the attributes that it shows, in order."""

    go_struct: str
    attributes: Mapping[str, Type] = {}


TOXICS: Mapping[str, Toxic] = {
    "latency": Toxic("LatencyToxic", {"latency": INT64, "jitter": INT64}),
    "bandwidth": Toxic("BandwidthToxic", {"rate": INT64}),
    "slow_close": Toxic("SlowCloseToxic", {"delay": INT64}),
    "timeout": Toxic("TimeoutToxic", {"timeout": INT64}),
    "reset_peer": Toxic("ResetToxic", {"timeout": INT64}),
    "slicer": Toxic("SlicerToxic", {"average_size": INT, "size_variation": INT, "delay": INT}),
    "limit_data": Toxic("LimitDataToxic", {"bytes": INT64}),
    "noop": Toxic("NoopToxic"),
    "packet_loss": Toxic("PacketLossToxic", {"loss_rate": FLOAT64, "correlation": FLOAT64}),
}
"""Toxiproxy's own. Every other behavior can be had as a toxic too, its options being the attributes."""

_OTHER = Toxic("Toxic")

_FIELDS = {"name": STRING, "type": STRING, "stream": STRING, "toxicity": FLOAT32, "attributes": ANY}
_STREAMS = {"upstream": Stream.UPSTREAM, "downstream": Stream.DOWNSTREAM}


class InvalidStream(Exception):
    """A stream that is neither upstream nor downstream."""


class InvalidType(Exception):
    """A type that is not a toxic's."""


class Draft(msgspec.Struct, frozen=True):
    """A new toxic whose stream and type are known to be good; its attributes are not read yet."""

    name: str
    behavior: str
    stream: Stream
    toxicity: float
    attributes: Any

    def fault(self, *, strict: bool) -> Fault:
        """The fault it stands for. Raises `BadBody`."""
        options = _options(self.behavior, self.attributes, strict)
        return Fault(self.name, self.behavior, _zeros(self.behavior) | options, self.stream, _toxicity(self.toxicity))


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
    return Draft(name, behavior, _STREAMS[stream.lower()], given.get("toxicity", 1.0), attributes)


def updated(fault: Fault, value: Any, *, strict: bool) -> Fault:
    """*fault* with the attributes and the toxicity that *value*, a body, gives. Raises `BadBody`."""
    given, unknown = go_json.members(value, go_json.ANONYMOUS, {"attributes": ANY, "toxicity": FLOAT32})
    _check_unknown([name for name in unknown if name.casefold() not in _FIELDS], strict)
    attributes = given.get("attributes")
    if attributes is not None and not isinstance(attributes, go_json.Object):
        toxic = TOXICS.get(fault.behavior, _OTHER)
        raise go_json.mismatch(attributes, f"struct field .attributes of type toxics.{toxic.go_struct}")
    options = {**fault.options, **_options(fault.behavior, attributes, strict)}
    toxicity = _toxicity(given["toxicity"]) if "toxicity" in given else fault.probability
    return msgspec.structs.replace(fault, options=options, probability=toxicity)


def shown(fault: Fault) -> dict[str, Any]:
    """*fault* as a toxic."""
    return {
        "attributes": {**_zeros(fault.behavior), **_numbers(fault)},
        "name": fault.name,
        "type": fault.behavior,
        "stream": str(fault.stream),
        "toxicity": go_json.float32(fault.probability),
    }


def listed(faults: tuple[Fault, ...]) -> list[dict[str, Any]]:
    """*faults* as Toxiproxy lists them: those of the upstream first, each group in order of creation."""
    return [shown(fault) for fault in sorted(faults, key=lambda fault: fault.stream is Stream.DOWNSTREAM)]


def _options(behavior: str, attributes: Any, strict: bool) -> dict[str, Any]:
    """The options that *attributes* give: Toxiproxy's, as Go reads them, and those that only this program has."""
    toxic = TOXICS.get(behavior, _OTHER)
    fields = {**_further(behavior), **toxic.attributes}
    given, unknown = go_json.members(attributes, toxic.go_struct, fields, "attributes.")
    _check_unknown(unknown, strict)
    return {name: go_json.plain(value) for name, value in given.items()}


def _further(behavior: str) -> dict[str, Type]:
    return {declaration.name: ANY for declaration in plugins.find(behavior, "behavior").declarations}


def _numbers(fault: Fault) -> dict[str, Any]:
    """The options of *fault*; those that are Toxiproxy's as numbers, whole if they can be: no client knows ``1s``."""
    fields = TOXICS[fault.behavior].attributes if fault.behavior in TOXICS else {}
    declared = {one.name: one for one in plugins.find(fault.behavior, "behavior").declarations} if fields else {}
    shown = {}
    for name, value in fault.options.items():
        number = declared[name].convert(value) if name in fields else value
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
    """Whether *name* is a behavior's; import paths are not: whoever reaches this interface must not run code."""
    return name in plugins.names("behavior") and plugins.find(name, "behavior").style == "modern"


def _check_unknown(names: list[str], strict: bool) -> None:
    if strict and names:
        raise BadBody(f"json: unknown field {go_json.encode(names[0]).decode()}")
