"""Frozen values: the configuration of proxies, as data that can be compared, printed and sent.

`Config` holds all of it. Its methods, and those of `Policy`, are the pure edits that every interface is made of: each
returns another value and checks the names it is given; none changes anything.
"""

from __future__ import annotations

import enum
import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from vaurien.errors import Conflict, OptionError, UnknownName
from vaurien.options import BufferSize, CInt, Count, Duration, Option, PositiveCount, Ratio, Size, SocketTimeout

_PORTS = range(65536)

_TOO_LONG = 64
"""Bytes that a label of a name may not have."""


LONGEST_HOST = 253
"""Characters of a name in DNS (RFC 1035, section 2.3.4, without the root's dot)."""

MOST_FAULTS = 1000
"""Faults of a proxy, and shares of its mix: each connection looks at all of them."""


class BackendTls(msgspec.Struct, frozen=True):
    """How TLS is spoken to a backend: the options behind the ``?`` of ``tls://host:port?ca=FILE&verify=no``.

    *ca* is a file of certificates to trust instead of the system's, *verify* false trusts any; *server_name* is asked
    for and verified instead of the host. *alpn* are application protocols; *certificate* and *key* are files for a
    backend that asks for a client's certificate (the key may be in the same file).
    """

    ca: str | None = None
    verify: bool = True
    server_name: str | None = None
    alpn: tuple[str, ...] = ()
    certificate: str | None = None
    key: str | None = None

    @classmethod
    def parse(cls, query: str, text: str, *, option: str, source: str | None) -> BackendTls:
        """What *query*, of the address *text*, says. Raises `OptionError` and `UnknownName`."""
        values: dict[str, Any] = {}
        for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
            if name not in cls.__struct_fields__:
                raise UnknownName("option of a tls:// address", name, cls.__struct_fields__, source)
            if name == "verify":
                if value not in ("yes", "no"):
                    raise OptionError(option, text, "verify=yes or verify=no", source)
                values[name] = value == "yes"
            else:
                values[name] = tuple(value.split(",")) if name == "alpn" else value
        if values.get("key") and not values.get("certificate"):
            raise OptionError(option, text, "certificate=FILE beside key=FILE, which is its key", source)
        return cls(**values)

    def __str__(self) -> str:
        told = {"ca": self.ca, "verify": None if self.verify else "no", "server_name": self.server_name}
        told |= {"alpn": ",".join(self.alpn), "certificate": self.certificate, "key": self.key}
        return urllib.parse.urlencode({name: value for name, value in told.items() if value}, safe="/,:")


_FORWARD = "forward"

TlsVersion: TypeAlias = Literal["1.0", "1.1", "1.2", "1.3"]

AUTO = "auto"
"""In the place of a certificate's file: one is made for each name that a client asks for."""


class ClientTls(msgspec.Struct, frozen=True):
    """How TLS is spoken to clients: the options of a proxy that begin with ``tls``.

    *certificates* are PEM files, or `AUTO`; *keys* are the files of their keys, in the same order, for those that do
    not hold them too. *authority* is the folder of the authority that signs for `AUTO`. Clients are asked for a
    certificate that *client_ca* has signed, if that is given; with *client_certificate* ``refused``, whatever they show
    is not good enough.
    """

    certificates: tuple[str, ...]
    keys: tuple[str, ...] = ()
    passphrase_file: str | None = None
    authority: str | None = None
    client_ca: str | None = None
    client_certificate: Literal["required", "optional", "refused"] = "required"
    min_version: TlsVersion = "1.2"
    max_version: TlsVersion = "1.3"
    ciphers: str | None = None
    alpn: tuple[str, ...] = ()


_TLS_SCHEMES = {"tls": "", "https": "443"}
"""What an address of a backend that speaks TLS begins with, and the port that it has if none is given."""


class Address(msgspec.Struct, frozen=True):
    """Where to listen or dial: ``host:port``, ``:port``, ``[ipv6]:port`` or ``unix:/path``.

    An empty host means every interface when listening and the local machine when dialling. *path* is set for Unix
    sockets only. *tls* is set for a backend to which TLS is spoken, ``tls://host:port`` or ``https://host``.

    *forward* is set for ``forward``: each client names its own backend, as the clients of a forward proxy do. What may
    stand behind a ``?`` there is about servers to which TLS is spoken.
    """

    host: str = ""
    port: int = 0
    path: str | None = None
    tls: BackendTls | None = None
    forward: bool = False

    @classmethod
    def parse(cls, text: str, *, option: str = "address", source: str | None = None) -> Address:
        """The address that *text* stands for. Raises `OptionError` naming *option* and *source*."""
        if text.startswith("unix:"):
            if len(text) == len("unix:"):
                raise OptionError(option, text, "a path after unix:, such as unix:/run/app.sock", source)
            return cls(path=text.removeprefix("unix:"))
        word, _, query = text.partition("?")
        if "@" in word:  # what stands before it may be a password
            shown = f"...@{word.rpartition('@')[2]}"
            raise OptionError(option, shown, "an address without a user or a password", source)
        if word == _FORWARD:
            tls = BackendTls.parse(query, text, option=option, source=source)
            return cls(forward=True, tls=tls if query else None)
        scheme, separator, rest = text.partition("://")
        if separator:
            return cls._parse_tls(scheme, rest, text, option=option, source=source)
        match = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^\[\]:]*)):([^:]*)", text.strip())
        if match is None:
            raise OptionError(option, text, "host:port, [ipv6]:port or unix:/path" + _complete(text), source)
        bracketed, plain, port = match.groups()
        if not (port.isascii() and port.isdigit()) or int(port) not in _PORTS:
            raise OptionError(option, text, "a port from 0 to 65535 after the last colon", source)
        return cls(bracketed if bracketed is not None else plain, int(port))

    @classmethod
    def _parse_tls(cls, scheme: str, rest: str, text: str, *, option: str, source: str | None) -> Address:
        if scheme not in _TLS_SCHEMES:
            raise OptionError(option, text, "host:port, or tls://host:port for a backend that speaks TLS", source)
        where, _, query = rest.partition("?")
        where = where.removesuffix("/")
        if not where.rpartition("]")[2].count(":") and _TLS_SCHEMES[scheme]:
            where = f"{where}:{_TLS_SCHEMES[scheme]}"
        tls = BackendTls.parse(query, text, option=option, source=source)
        return msgspec.structs.replace(cls.parse(where, option=option, source=source), tls=tls)

    def check(self, text: str, *, option: str = "address", source: str | None = None, dialled: bool = False) -> None:
        """Raise `OptionError`, as `parse` of *text* does, for an address that cannot be; *dialled* it needs a port."""
        if self.forward:
            if not dialled:
                raise OptionError(option, text, "an address; 'forward' is for a backend", source)
            return
        if self.tls is not None and not dialled:
            raise OptionError(option, text, "an address without tls://, which is for backends", source)
        if self.port not in _PORTS or (dialled and self.path is None and not self.port):
            least = 1 if dialled else 0
            raise OptionError(option, text, f"a port from {least} to 65535 after the last colon", source)
        if not (self.path or self.host or "-").isprintable() or " " in self.host:
            raise OptionError(option, text, "an address without control characters or spaces", source)
        if len(self.host) > LONGEST_HOST:  # the next step takes seconds for a long one
            raise OptionError(option, text, f"a host of at most {LONGEST_HOST} characters", source)
        if not _has_labels(self.host):
            raise OptionError(option, text, "a host with 1 to 63 characters between dots", source)

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        if self.forward:
            return _FORWARD + (f"?{self.tls}" if self.tls is not None else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.tls is None:
            return f"{host}:{self.port}"
        options = str(self.tls)
        return f"tls://{host}:{self.port}" + (f"?{options}" if options else "")


def _has_labels(host: str) -> bool:
    """Whether Python can prepare *host* for the resolver (RFC 3490, section 4)."""
    if host.isascii():  # as the codec does, which takes 2 ms to import
        *labels, last = host.split(".")
        return all(0 < len(label) < _TOO_LONG for label in labels) and len(last) < _TOO_LONG
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _complete(text: str) -> str:
    """What is said of *text* that lacks its host, or its port."""
    if text.isascii() and text.isdigit() and int(text) in _PORTS:
        return f", such as localhost:{text}"
    return f", such as {text}:80" if re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", text) else ""


def parse_route(text: str, *, option: str = "route", source: str | None = None) -> tuple[str, Address]:
    """The pattern of server names, and the backend, of a route such as ``*.example.test=10.0.0.1:443``.

    Raises `OptionError` naming *option* and *source*.
    """
    pattern, equals, where = text.partition("=")
    if not (pattern and equals):
        raise OptionError(option, text, "NAME=HOST:PORT, such as *.example.test=10.0.0.1:443", source)
    address = Address.parse(where, option=option, source=source)
    address.check(where, option=option, source=source, dialled=True)
    return pattern, address


def parse_upstream(text: str, *, option: str = "upstream_proxy", source: str | None = None) -> Address:
    """The address of another proxy, ``host:port`` or ``http://host:port``. Raises `OptionError`."""
    where = text.removeprefix("http://").removesuffix("/")
    if "@" in where:
        wanted = "host:port alone: what clients send as Proxy-Authorization is passed on to this proxy"
        raise OptionError(option, f"...@{where.rpartition('@')[2]}", wanted, source)
    address = Address.parse(where, option=option, source=source)
    if address.forward or address.tls is not None:
        raise OptionError(option, text, "host:port of a proxy that speaks HTTP", source)
    address.check(where, option=option, source=source, dialled=True)
    return address


class Stream(enum.StrEnum):
    """The direction a fault works on: upstream is towards the backend."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"
    BOTH = "both"

    def includes(self, direction: Direction) -> bool:
        """Whether the link in *direction* is meant."""
        return self is Stream.BOTH or (self is Stream.UPSTREAM) == (direction is Direction.TO_BACKEND)


class Direction(enum.IntEnum):
    """The way that bytes go through a connection. It is an index of pairs that have something for each direction."""

    TO_CLIENT = 0
    TO_BACKEND = 1

    back: Direction
    """The other direction."""


TO_CLIENT, TO_BACKEND = Direction.TO_CLIENT, Direction.TO_BACKEND
TO_CLIENT.back, TO_BACKEND.back = TO_BACKEND, TO_CLIENT


class Scope(enum.StrEnum):
    """The occasions of a fault: its probability is drawn once for each."""

    CONNECTION = "connection"
    EXCHANGE = "exchange"
    CHUNK = "chunk"


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which occasions count: after *skip* of them every *every*-th, at most *count* hits, within *seconds*.

    An occasion is a connection, an exchange or a chunk, by the fault's scope. They are counted over the whole proxy,
    and the time from when the fault was set.
    """

    skip: Annotated[Count, Option("Occasions that pass before the fault begins")] = 0
    count: Annotated[
        Count | None, Option("How many occasions are hit at most: connections, unless scope says exchange or chunk")
    ] = None
    every: Annotated[PositiveCount, Option("Only every n-th occasion")] = 1
    seconds: Annotated[Duration | None, Option("How long the fault works")] = None


class HitRange(msgspec.Struct, frozen=True):
    """How often a fault is to hit: *at_least* times, and *at_most* so often; without it there is no upper bound."""

    at_least: int
    at_most: int | None = None

    @classmethod
    def parse(cls, text: str, *, option: str = "expect_hits", source: str | None = None) -> HitRange:
        """What *text* stands for: ``1..``, ``2..5``, ``..3`` or ``3``. Raises `OptionError`."""
        match = re.fullmatch(HIT_RANGE, text)
        if match is None:
            raise OptionError(option, text, "a number of hits such as 1.., 2..5, ..3 or 3", source)
        low, dots, high = match.groups()
        made = cls(int(low or 0), int(high) if high else None if dots else int(low))
        if made.at_most is not None and made.at_most < made.at_least:
            raise OptionError(option, text, f"a second number that is at least the first, {made.at_least}", source)
        return made

    def __contains__(self, hits: int) -> bool:
        return self.at_least <= hits and (self.at_most is None or hits <= self.at_most)

    def __str__(self) -> str:
        if self.at_most is None:
            return f"{self.at_least} or more"
        return str(self.at_least) if self.at_least == self.at_most else f"{self.at_least} to {self.at_most}"


HIT_RANGE = r"(?=\d|\.\.\d)(\d{0,18})(?:(\.\.)(\d{0,18}))?"
"""A `HitRange` as text."""


def _with_lists(struct: msgspec.Struct, name: str) -> None:
    """Turn tuples among the options *name* of *struct* into lists, so that those of files and of JSON are equal."""
    options: Mapping[str, Any] = getattr(struct, name)
    if any(isinstance(value, tuple) for value in options.values()):
        lists = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
        msgspec.structs.force_setattr(struct, name, lists)


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A behavior in use on a proxy.

    *behavior* is its name or dotted path, *options* its options as they were given. *match* says which clients and
    exchanges are meant: ``{"client": "10.0.0.0/8", "path": "glob:/api/*"}``. It removes itself after *ttl* seconds.
    """

    name: Annotated[str, Option("What it is called, in logs and in changes of it")]
    behavior: str
    options: Mapping[str, Any] = {}
    stream: Annotated[Stream, Option("The direction of the bytes that it acts on")] = Stream.BOTH
    probability: Annotated[Ratio, Option("How likely each of its occasions is hit")] = 1.0
    scope: Annotated[Scope, Option("What an occasion is: its probability is drawn once for each")] = Scope.CONNECTION
    window: Window = Window()
    match: Mapping[str, str] = {}
    ttl: Annotated[Duration | None, Option("When it removes itself, counted from when it was set")] = None
    expect_hits: Annotated[
        Annotated[str, msgspec.Meta(pattern=f"^{HIT_RANGE}$", examples=["1..", "2..5", "3"])] | None,
        Option("How often it is to hit, such as 1.., 2..5 or 3; a run, or a test, in which it does not, fails"),
    ] = None
    enabled: Annotated[bool, Option("Whether it acts; one that is switched off keeps its place and its options")] = True

    def __post_init__(self) -> None:
        """Turn tuples into lists. Raises `OptionError` for a name, or hits to expect, that cannot be."""
        _check_name("fault", self.name)
        _with_lists(self, "options")
        if self.expect_hits is not None:
            HitRange.parse(self.expect_hits, option=f"fault {self.name!r} option expect_hits")

    @property
    def expected_hits(self) -> HitRange | None:
        """How often it is to hit, if that was said."""
        return HitRange.parse(self.expect_hits) if self.expect_hits is not None else None


class Share(msgspec.Struct, frozen=True):
    """One entry of a mix: *percent* of the occasions go to *behavior* (a name, an alias, or a dotted path)."""

    percent: float
    behavior: str
    options: Mapping[str, Any] = {}

    def __post_init__(self) -> None:
        """Turn tuples into lists."""
        _with_lists(self, "options")


class Mix(msgspec.Struct, frozen=True):
    """As Mozilla's Vaurien writes it, ``20:error,10:delay``: at each occasion one of the shares, or none, is drawn."""

    shares: tuple[Share, ...] = ()

    @classmethod
    def parse(cls, text: str, *, source: str | None = None) -> Mix:
        """The mix that *text* stands for. Raises `OptionError` for a share that is not 0..100 or a sum over 100."""
        parts = [part.strip() for part in text.split(",") if part.strip()]
        check_count("mix", len(parts), source)
        shares = tuple(_share(part, text, source) for part in parts)
        total = sum(share.percent for share in shares)
        if total > 100:
            raise OptionError("behavior", text, f"shares of at most 100 in total, these add up to {total:g}", source)
        return cls(shares)

    def __str__(self) -> str:
        return ",".join(f"{share.percent:g}:{share.behavior}" for share in self.shares)


def _share(part: str, text: str, source: str | None) -> Share:
    percent, colon, behavior = part.partition(":")
    if not colon and not part.isdecimal():  # a bare name is all of it, as in Mozilla's Vaurien
        percent, behavior = "100", part
    if not re.fullmatch(r"\d+(\.\d+)?", percent.strip()) or float(percent) > 100 or not behavior.strip():
        which = "" if part == text else f", not {part!r}"
        raise OptionError("behavior", text, f"shares such as 20:error with 0 to 100 percent{which}", source)
    return Share(float(percent), behavior.strip())


def check_count(option: str, count: int, source: str | None = None) -> None:
    """Raise `OptionError` for more faults or shares, as *option* says, than a proxy may have."""
    if count > MOST_FAULTS:
        raise OptionError(option, f"{count} of them", f"at most {MOST_FAULTS}", source)


def _check_name(kind: Literal["proxy", "fault"], name: str) -> None:
    """Refuse a name that clients take out of the path of a URL (RFC 3986, section 5.2.4). Raises `OptionError`."""
    if name in (".", ".."):
        raise OptionError(f"{kind} name", name, "another name: a client cannot ask for this one in a URL")


def _check_unique(kind: Literal["proxy", "fault"], named: tuple[Any, ...]) -> None:
    names = {one.name for one in named}
    if len(names) < len(named):
        for one in named:
            if one.name not in names:
                raise Conflict(kind, one.name)
            names.remove(one.name)


def _index_of(kind: Literal["proxy", "fault"], name: str, named: tuple[Any, ...]) -> int:
    for index, one in enumerate(named):
        if one.name == name:
            return index
    raise UnknownName(kind, name, [one.name for one in named])


class Policy(msgspec.Struct, frozen=True):
    """The mix and the faults of a proxy: one immutable value, replaced as a whole. No two faults have the same name."""

    mix: Mix = Mix()
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        """Raise `Conflict` for a name that two faults have, and `OptionError` for too many faults or shares."""
        check_count("mix", len(self.mix.shares))
        check_count("faults", len(self.faults))
        _check_unique("fault", self.faults)

    def fault(self, name: str) -> Fault:
        """The fault called *name*. Raises `UnknownName`."""
        return self.faults[self._index(name)]

    def with_mix(self, mix: Mix) -> Policy:
        """This policy with *mix* in the place of its own."""
        return Policy(mix, self.faults)

    def with_fault(self, fault: Fault) -> Policy:
        """This policy with *fault* behind the others. Raises `Conflict` when its name is taken."""
        return Policy(self.mix, (*self.faults, fault))

    def with_changed_fault(self, name: str, edit: Callable[[Fault], Fault]) -> Policy:
        """This policy with what *edit* makes of the fault *name*, in its place. Raises `UnknownName`."""
        index = self._index(name)
        return Policy(self.mix, (*self.faults[:index], edit(self.faults[index]), *self.faults[index + 1 :]))

    def without_fault(self, name: str) -> Policy:
        """This policy without the fault *name*. Raises `UnknownName`."""
        index = self._index(name)
        return Policy(self.mix, (*self.faults[:index], *self.faults[index + 1 :]))

    def _index(self, name: str) -> int:
        return _index_of("fault", name, self.faults)


DialFailure: TypeAlias = Literal["reset", "close"]
"""How a client's connection ends when its backend cannot be reached: with RST, or with FIN."""


ProxyProtocol: TypeAlias = Literal["no", "v1", "v2"]
"""Which version of the PROXY protocol a backend gets."""


class ProxyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that defines one proxy. Durations are seconds, sizes bytes."""

    name: str
    listen: Address
    backend: Address
    protocol: str = "tcp"
    protocol_options: Mapping[str, Any] = {}
    policy: Policy = Policy()
    seed: str = "0"
    timeout: SocketTimeout = 30.0
    stay_connected: bool = False
    drain_timeout: Duration = 30.0
    backlog: CInt = 8192
    bufsize: BufferSize = 8192
    max_connections: CInt | None = None
    pool_max_size: CInt = 100
    pool_timeout: Duration = 30.0
    delay_line: Size = 32 * 2**20
    dial_failure: Annotated[
        DialFailure, msgspec.Meta(description="How a client ends whose backend is not reached: RST, or FIN")
    ] = "reset"
    route: tuple[str, ...] = ()
    upstream_proxy: str | None = None
    accept_proxy_protocol: bool = False
    send_proxy_protocol: ProxyProtocol = "no"
    tls: tuple[str, ...] = ()
    tls_key: tuple[str, ...] = ()
    tls_passphrase_file: str | None = None
    tls_authority: str | None = None
    tls_client_ca: str | None = None
    tls_client_certificate: Literal["required", "optional"] = "required"
    tls_min_version: TlsVersion = "1.2"
    tls_max_version: TlsVersion = "1.3"
    tls_ciphers: str | None = None
    tls_alpn: tuple[str, ...] = ()
    starttls: bool = True
    enabled: bool = True

    def __post_init__(self) -> None:
        """Turn tuples into lists. Raises `OptionError` for a name that cannot be."""
        _check_name("proxy", self.name)
        _with_lists(self, "protocol_options")

    @property
    def client_tls(self) -> ClientTls | None:
        """How TLS is spoken to clients; ``None`` where it is not."""
        if not self.tls:
            return None
        return ClientTls(
            certificates=self.tls,
            keys=self.tls_key,
            passphrase_file=self.tls_passphrase_file,
            authority=self.tls_authority,
            client_ca=self.tls_client_ca,
            client_certificate=self.tls_client_certificate,
            min_version=self.tls_min_version,
            max_version=self.tls_max_version,
            ciphers=self.tls_ciphers,
            alpn=self.tls_alpn,
        )

    @property
    def upstream(self) -> Address | None:
        """The proxy that a forward proxy asks for its servers."""
        return None if self.upstream_proxy is None else parse_upstream(self.upstream_proxy)


class Config(msgspec.Struct, frozen=True):
    """The configuration of all proxies, by name, in order of creation: one immutable value.

    *revision* counts the edits that were stored; an edit itself leaves it alone. `of` makes one of a list.
    """

    by_name: Mapping[str, ProxyConfig] = {}
    revision: int = 0

    @classmethod
    def of(cls, proxies: Iterable[ProxyConfig], revision: int = 0) -> Config:
        """The configuration of *proxies*. Raises `Conflict` for a name that two of them have."""
        proxies = tuple(proxies)
        _check_unique("proxy", proxies)
        return cls({proxy.name: proxy for proxy in proxies}, revision)

    @property
    def proxies(self) -> tuple[ProxyConfig, ...]:
        """The proxies."""
        return tuple(self.by_name.values())

    @property
    def names(self) -> list[str]:
        """The names of the proxies."""
        return list(self.by_name)

    def proxy(self, name: str) -> ProxyConfig:
        """The proxy called *name*. Raises `UnknownName`."""
        if name not in self.by_name:
            raise UnknownName("proxy", name, self.by_name)
        return self.by_name[name]

    def with_proxies(self, proxies: Iterable[ProxyConfig]) -> Config:
        """Exactly *proxies*: those that exist keep their order, and new ones come behind them.

        Raises `Conflict` for a name that two have.
        """
        places = {name: place for place, name in enumerate(self.by_name)}
        return Config.of(sorted(proxies, key=lambda proxy: places.get(proxy.name, len(places))), self.revision)

    def with_proxy(self, proxy: ProxyConfig) -> Config:
        """This configuration with *proxy* behind the others. Raises `Conflict` when its name is taken."""
        if proxy.name in self.by_name:
            raise Conflict("proxy", proxy.name)
        return Config({**self.by_name, proxy.name: proxy}, self.revision)

    def with_changed_proxy(self, name: str, edit: ProxyEdit) -> Config:
        """This configuration with the proxy that *edit* makes of the proxy *name*, in its place.

        Raises `UnknownName`, and `Conflict` when *edit* gives it a name that another one has.
        """
        changed = edit(self.proxy(name))
        if changed.name == name:
            return Config({**self.by_name, name: changed}, self.revision)
        return Config.of((changed if one.name == name else one for one in self.proxies), self.revision)

    def without_proxy(self, name: str) -> Config:
        """This configuration without the proxy *name*. Raises `UnknownName`."""
        self.proxy(name)
        return Config({other: proxy for other, proxy in self.by_name.items() if other != name}, self.revision)

    def changed_names(self, other: Config) -> set[str]:
        """The names of the proxies that are not the same in *other*, or are missing in one of the two."""
        names = self.by_name.keys() | other.by_name.keys()
        return {name for name in names if self.by_name.get(name) != other.by_name.get(name)}


Edit: TypeAlias = Callable[[Config], Config]
ProxyEdit: TypeAlias = Callable[[ProxyConfig], ProxyConfig]
PolicyEdit: TypeAlias = Callable[[Policy], Policy]
