"""The options of ``vaurien`` itself, declared once: each surface derives its spelling of them from these fields."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from vaurien import platform
from vaurien.model import ProxyProtocol, TlsVersion
from vaurien.options import BufferSize, CInt, Count, Duration, Option, Ratio, SocketTimeout, Unit

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
MOST_WORKERS = 256
_WORKERS = Unit(
    f"auto, or a whole number from 1 to {MOST_WORKERS}",
    {"": 1},
    whole=True,
    words={"auto": min(platform.cores(), MOST_WORKERS)},
)
Workers = Annotated[int, msgspec.Meta(ge=1, le=MOST_WORKERS), _WORKERS]


class TrafficSection(msgspec.Struct, frozen=True):
    """What is proxied, and what is broken."""

    proxy: Annotated[str, Option("Where clients connect: host:port, :port, [ipv6]:port or unix:/path")] = (
        "localhost:8000"
    )
    backend: Annotated[
        str,
        Option("The server behind it: likewise, tls://host:port, or forward"),
    ] = "localhost:80"
    protocol: Annotated[str, Option("What the two speak: a name or a dotted path")] = "tcp"
    behavior: Annotated[
        tuple[str, ...], Option("Percent and name (or dotted path) of each behavior; the rest up to 100 is undisturbed")
    ] = ("100:dummy",)
    seed: Annotated[str | None, Option("Makes chance repeatable; if not given one is drawn, and printed at start")] = (
        None
    )
    name: Annotated[str, msgspec.Meta(min_length=1), Option("The proxy's name in logs and metrics")] = "vaurien"


class FaultsSection(msgspec.Struct, frozen=True):
    """Faults that act beside the mix, each drawn by itself. May be given several times."""

    fault: Annotated[
        tuple[str, ...], Option("A fault, such as 'latency latency=100 jitter=20 stream=downstream probability=0.3'")
    ] = ()
    preset: Annotated[
        tuple[str, ...],
        Option("The faults of a network or a backend, or a cause such as postgres.deadlock:0.1 (--help presets)"),
    ] = ()


class Connections(msgspec.Struct, frozen=True):
    """How connections are kept."""

    timeout: Annotated[SocketTimeout, Option("Seconds that reaching the backend, or a blocked socket, may take")] = 30.0
    route: Annotated[
        tuple[str, ...],
        Option("Another backend for clients whose TLS asks for a server name: *.example.test=10.0.0.1:443"),
    ] = ()
    upstream_proxy: Annotated[
        str | None, Option("The HTTP proxy that a forward proxy asks for its servers: host:port")
    ] = None
    accept_proxy_protocol: Annotated[
        bool, Option("Each client begins with a header of the PROXY protocol, version 1 or 2")
    ] = False
    send_proxy_protocol: Annotated[
        ProxyProtocol, Option("Begin each connection to a backend with a header of the PROXY protocol")
    ] = "no"
    stay_connected: Annotated[bool, Option("Keep the client when the backend went away")] = False
    drain_timeout: Annotated[
        Duration,
        Option(
            "Seconds that a side may take no byte while its connection is closed, before the rest is lost; 0: no limit"
        ),
    ] = 30.0
    max_connections: Annotated[
        CInt | None, Option("Clients served at once, others wait; without it there is no limit")
    ] = None
    backlog: Annotated[CInt, Option("Clients that may wait to be accepted")] = 8192
    bufsize: Annotated[BufferSize, Option("Bytes read at once while a behavior of an earlier release is in play")] = (
        8192
    )
    pool_max_size: Annotated[CInt, Option("Backend sockets that are kept for the next client")] = 100
    pool_timeout: Annotated[Duration, Option("Seconds that an idle backend socket is kept for the next client")] = 30.0
    grace: Annotated[Duration, Option("Seconds that live connections may take to end when the proxy is stopped")] = 10.0


class Tls(msgspec.Struct, frozen=True):
    """TLS with the clients. To the backend it is spoken where its address says so, tls://host:port."""

    tls: Annotated[
        tuple[str, ...],
        Option("Speak TLS with clients: auto, or PEM files, each with a certificate and its key, for several names"),
    ] = ()
    tls_key: Annotated[
        tuple[str, ...], Option("The files of their keys, in the same order, where these are apart")
    ] = ()
    tls_passphrase_file: Annotated[str | None, Option("A file with the passphrase of these keys")] = None
    tls_authority: Annotated[
        str | None, Option("The folder of the authority that signs for tls=auto; without it, that of vaurien ca")
    ] = None
    tls_client_ca: Annotated[
        str | None, Option("Ask clients for a certificate that one of this PEM file has signed")
    ] = None
    tls_client_certificate: Annotated[
        Literal["required", "optional"], Option("Whether a client without one is refused")
    ] = "required"
    tls_min_version: Annotated[TlsVersion, Option("The oldest version of TLS")] = "1.2"
    tls_max_version: Annotated[TlsVersion, Option("The newest version of TLS")] = "1.3"
    tls_ciphers: Annotated[str | None, Option("Ciphers up to TLS 1.2, as openssl-ciphers(1) takes them")] = None
    tls_alpn: Annotated[
        tuple[str, ...], Option("Application protocols, such as h2,http/1.1; the first that a client has is taken")
    ] = ()
    starttls: Annotated[
        bool, Option("Begin TLS as smtp, mysql and postgres do, in their own words; without, as soon as one connects")
    ] = True


class Process(msgspec.Struct, frozen=True):
    """How the program runs."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], Option("The least important lines to log")
    ] = "info"
    log_output: Annotated[str, Option("The file to log to; - is standard error")] = "-"
    log_format: Annotated[Literal["text", "json"], Option("Lines for people or for programs")] = "text"
    trace: Annotated[str | None, Option("Write each decision and each hit to this file, a JSON object a line")] = None
    otel: Annotated[
        bool, Option("Send spans and metrics to OpenTelemetry (the extra 'otel'); OTEL_ variables say where")
    ] = False
    workers: Annotated[
        Workers, Option("Processes that have the connections; auto: one for each core. With 1 there is no further one")
    ] = 1
    uvloop: Annotated[bool, Option("Use uvloop where it is installed (the extra 'fast')")] = False
    state: Annotated[
        str | None, Option("Keep the proxies in this file, with the changes that are made live, over a restart")
    ] = None
    state_wins: Annotated[
        bool, Option("Where the state file and the configuration contradict each other, take the proxies of the file")
    ] = False
    config_wins: Annotated[bool, Option("Where they contradict each other, take the configured proxies")] = False
    sync: Annotated[bool, Option("Accepted for old command lines; has no effect")] = False


class HttpSection(msgspec.Struct, frozen=True):
    """The HTTP interface."""

    http: Annotated[bool, Option("Offer the HTTP interface")] = False
    http_host: Annotated[str, Option("Where it listens")] = "localhost"
    http_port: Annotated[Port, Option("The port it listens on")] = 8080
    api: Annotated[str | None, Option("Offer it here instead: host:port, or unix:/path for this user alone")] = None
    http_names: Annotated[
        tuple[str, ...], Option("Further names by which it may be called; others are refused, for a web page's sake")
    ] = ()
    token_file: Annotated[
        str | None, Option("A file with the token that requests must bear (Authorization: Bearer TOKEN)")
    ] = None
    dashboard: Annotated[
        Literal["on", "read-only", "off"], Option("The page for people at / of the interface, and what it may do")
    ] = "on"
    allow_plugin: Annotated[
        tuple[str, ...],
        Option("Import paths of plugins that its callers may use besides those given here, such as pkg.faults.*"),
    ] = ()
    allow_tls_file: Annotated[
        tuple[str, ...],
        Option("Files that its callers may name for TLS besides those given here, such as /certs/*.pem"),
    ] = ()


class StatsdSection(msgspec.Struct, frozen=True):
    """Counters for a statsd server."""

    enabled: Annotated[bool, Option("Send counters to a statsd server")] = False
    host: Annotated[str, Option("The statsd server's host")] = "localhost"
    port: Annotated[Port, Option("The statsd server's port")] = 8125
    prefix: Annotated[str, Option("What the counters' names begin with")] = "vaurien"
    sample_rate: Annotated[Ratio, Option("The share of the counters that is sent")] = 1.0


class MeshSection(msgspec.Struct, frozen=True):
    """A cluster whose nodes reach each other through proxies."""

    nodes: Annotated[
        tuple[str, ...], Option("The nodes and where they listen: a table, or a list such as a=host:port,b=host:port")
    ] = ()
    edges: Annotated[
        Literal["ports", "hosts"],
        Option("What tells edges apart: a port of its own for each, or an address of its own with its node's port"),
    ] = "ports"
    listen: Annotated[
        str, Option("The host on which edges listen; with edges = hosts the first address of their network of /16")
    ] = "127.0.0.1"
    first_port: Annotated[Port, Option("The port of the first edge, the others follow; 0: any that is free")] = 21000
    topology: Annotated[tuple[str, ...], Option("Topologies that act from the start, such as 'isolate a ttl=30s'")] = ()


class ScheduleSection(msgspec.Struct, frozen=True):
    """How the steps of a schedule are played."""

    repeat: Annotated[Count, Option("How many rounds are played; 0: round after round until the end")] = 1
    length: Annotated[Duration | None, Option("How long a round lasts; if not given, up to the last step")] = None


class StepSection(msgspec.Struct, frozen=True):
    """What changes at a moment. A fault is text, as for --fault, or a table."""

    at: Annotated[Duration, Option("When, counted from the beginning of the round")] = 0.0
    proxy: Annotated[str | None, Option("The proxy that it is about; if not given, all of them")] = None
    remove: Annotated[tuple[str, ...], Option("Names of faults that end")] = ()
    change: Annotated[tuple[str, ...], Option("Faults that take the place of the ones of their names")] = ()
    add: Annotated[tuple[str, ...], Option("Faults that begin")] = ()
    heal: Annotated[
        tuple[str, ...], Option("Names of topologies of the mesh that end, such as 'isolate a'; or all")
    ] = ()
    topology: Annotated[
        tuple[str, ...], Option("Topologies of the mesh that begin, such as 'isolate a how=reset'")
    ] = ()
    mix: Annotated[str | None, Option("The mix from here on, as for --behavior; an empty one ends it")] = None


class CommandSection(msgspec.Struct, frozen=True):
    """What to do. These are of the command line alone, but for the file, which VAURIEN_CONFIG may name too."""

    config: Annotated[str | None, Option("Read this file, ini or TOML; the environment and flags come before it")] = (
        None
    )
    show_config: Annotated[bool, Option("Print every option, its value and where it came from, and exit")] = False
    json: Annotated[bool, Option("With --show-config: print it as JSON")] = False
    version: Annotated[bool, Option("Print the version and exit; -V too")] = False
    help: Annotated[bool, Option("Print this and exit")] = False


class MeshRun(msgspec.Struct, frozen=True):
    """What ``vaurien mesh`` can be told besides."""

    print_addresses: Annotated[bool, Option("Print, as JSON, where each node reaches each other one, and exit")] = False
    print_hosts: Annotated[
        str | None, Option("Print the lines of /etc/hosts for this node, and exit; for edges = hosts")
    ] = None


class RunSection(msgspec.Struct, frozen=True):
    """What ``vaurien run`` can be told besides."""

    report: Annotated[
        tuple[str, ...], Option("Write a report to this file; its ending, .json, .md, .xml (JUnit) or .html, says how")
    ] = ()
    exit_code_from: Annotated[Literal["command", "vaurien", "both"], Option("Whose end the exit status is about")] = (
        "both"
    )
    quiet: Annotated[bool, Option("Do not say what happens")] = False
    require_hits: Annotated[bool, Option("Fail when a fault has never hit, and say how near it came")] = False


class Group(msgspec.Struct, frozen=True):
    """Options that belong together: the *section* of the file that holds them, and the *struct* that declares them.

    *repeated*: a flag adds to those before it, instead of replacing them.
    """

    section: str
    struct: type[msgspec.Struct]
    repeated: bool = False


GROUPS = (
    Group("vaurien", TrafficSection),
    Group("vaurien", FaultsSection, repeated=True),
    Group("vaurien", Connections),
    Group("vaurien", Tls),
    Group("vaurien", Process),
    Group("vaurien", HttpSection),
    Group("statsd", StatsdSection),
)


def known(section: str) -> list[str]:
    """The names of the options that *section* (``vaurien`` or ``statsd``) may hold."""
    return [name for group in GROUPS if group.section == section for name in group.struct.__struct_fields__]


def of_program() -> frozenset[tuple[str, str]]:
    """The options, each with its section, that are about the program and not about its proxies."""
    structs = (Process, HttpSection, StatsdSection)
    return frozenset(
        (group.section, name) for group in GROUPS if group.struct in structs for name in group.struct.__struct_fields__
    )
