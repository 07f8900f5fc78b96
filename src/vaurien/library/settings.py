"""The arguments of a proxy of the library: the options of the command line, as keywords.

They mean what they mean there, in the same units, and go through the same checks: a duration is a number of seconds or
text such as ``"500ms"``, a fault is text as for ``--fault``, or a table. An address may be a pair of host and port too,
or anything that has both. What is spelled otherwise than on the command line is spelled as in ``[[proxy]]``: *listen*
for ``--proxy``, *mix* for ``--behavior``. No file is read, and no variable of the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, TypedDict

from vaurien import config
from vaurien.config import Configuration, Given, Key
from vaurien.errors import OptionError, UnknownName
from vaurien.model import Address, ProxyProtocol, TlsVersion


class HasHostAndPort(Protocol):
    """What says where it is: an `Address`, or a server of pytest-redis or pytest-postgresql."""

    @property
    def host(self) -> str:
        """The host."""

    @property
    def port(self) -> int:
        """The port."""


AddressLike: TypeAlias = str | HasHostAndPort | tuple[str, int] | tuple[str, int, int, int]
"""``host:port``, ``[ipv6]:port``, ``unix:/path``, what ``getsockname()`` says, or anything with a host and a port."""


class Settings(TypedDict, total=False):
    """The keywords of `Proxy` and `AsyncProxy`, besides *backend*."""

    listen: AddressLike
    route: str | Sequence[str]
    protocol: str
    protocol_options: Mapping[str, object]
    mix: str | Sequence[str]
    mix_options: Mapping[str, Mapping[str, object]]
    faults: str | Sequence[str | Mapping[str, object]]
    preset: str | Sequence[str]
    seed: int | str | None
    name: str
    timeout: float | str
    upstream_proxy: str | None
    accept_proxy_protocol: bool
    send_proxy_protocol: ProxyProtocol
    stay_connected: bool
    drain_timeout: float | str
    max_connections: int | None
    backlog: int
    bufsize: int
    pool_max_size: int
    pool_timeout: float | str
    tls: str | Sequence[str]
    tls_key: str | Sequence[str]
    tls_passphrase_file: str
    tls_authority: str | None
    tls_client_ca: str
    tls_client_certificate: Literal["required", "optional"]
    tls_min_version: TlsVersion
    tls_max_version: TlsVersion
    tls_ciphers: str
    tls_alpn: str | Sequence[str]
    starttls: bool


class MarkerSettings(Settings, total=False):
    """The keywords of the marker ``vaurien``: *backend* may be a fixture's name, or a callable that returns one.

    *expect_hits* says how often faults are to hit, by name, or in one text for all of them.
    """

    backend: AddressLike | Callable[[], AddressLike]
    expect_hits: str | Mapping[str, str]


SPELLINGS: Mapping[str, str] = {"listen": "proxy", "mix": "behavior", "faults": "fault"}
"""Keywords that are options of another name on the command line."""

APART: Mapping[str, str] = {
    "protocol_options": "The protocol's options, by name",
    "mix_options": "The options of behaviors in the mix, by the behavior's name",
}
"""Keywords that are whole sections of a file, and what they mean."""

DEFAULTS: Settings = {"listen": "127.0.0.1:0", "mix": "", "name": "vaurien"}
"""Any port that is free, no fault, and a name, because random draws depend on it."""


def configure(backend: AddressLike, given: Settings, owner: str = "Proxy") -> Configuration:
    """The checked configuration of one proxy; *owner* is the name of the class, for messages.

    Raises `UnknownName` for a keyword, a protocol, a behavior or an option that does not exist, and `OptionError` for a
    value that does not fit.
    """
    check_keywords(given, owner)
    settings: Settings = {**DEFAULTS, **given}
    layer = dict(_layer(settings))
    layer["vaurien", "backend"] = _said("backend", _address("backend", backend))
    return config.load(layer, {})


KEYWORDS = ("backend", *Settings.__annotations__)
"""All keywords of `Proxy`."""


def check_keywords(given: Iterable[str], owner: str = "Proxy") -> None:
    """Refuse a keyword that *owner* does not have. Raises `UnknownName`."""
    for keyword in given:
        if keyword not in KEYWORDS:
            raise UnknownName(f"argument of {owner}", keyword, KEYWORDS)


def _layer(settings: Settings) -> Iterator[tuple[Key, Given]]:
    for keyword, value in settings.items():
        if value is None or keyword in APART:
            continue
        if keyword == "listen":
            value = _address(keyword, value)
        yield ("vaurien", SPELLINGS.get(keyword, keyword)), _said(keyword, value)
    protocol = settings.get("protocol", "tcp")
    yield from _section("protocol_options", f"protocol:{protocol}", settings.get("protocol_options") or {})
    for behavior, options in (settings.get("mix_options") or {}).items():
        yield from _section("mix_options", f"behavior:{behavior}", options)


def _section(keyword: str, section: str, options: Mapping[str, object]) -> Iterator[tuple[Key, Given]]:
    for option, value in options.items():
        yield (section, option), _said(f"{keyword} {option}", value, value)


def _said(keyword: str, value: object, typed: object = None) -> Given:
    return Given(value, f"keyword {keyword}", typed)


def _address(keyword: str, where: object) -> str:
    """*where* as the command line takes it. Raises `OptionError`."""
    match where:
        case str():
            return where
        case Address():
            return str(where)
        case (str(host), int(port), *_):
            return str(Address(host, port))
    parts = (getattr(where, "host", None), getattr(where, "port", None))
    if isinstance(parts[0], str) and isinstance(parts[1], int):
        return str(Address(parts[0], parts[1]))
    expected = "host:port, [ipv6]:port, unix:/path, or a pair of host and port"
    raise OptionError(f"option {keyword}", where, expected, f"keyword {keyword}")
