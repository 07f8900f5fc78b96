"""What tests of all behaviors know of each."""

from __future__ import annotations

from typing import Any

from vaurien import plugins
from vaurien.hooks import overridden
from vaurien.model import Scope

NAMES = plugins.names("behavior")

# Options with which it acts, for those that do nothing, or nothing for long, by default.
ACTING: dict[str, dict[str, Any]] = {
    "bandwidth": {"rate": 2},
    "coalesce": {"size": 40, "wait": 23},
    "flap": {"up": 40, "down": 20},
    "inject": {"data": "x"},
    "latency": {"latency": 15, "jitter": 5},
    "limit_data": {"bytes": 100},
    "limit_time": {"after": 105},
    "packet_loss": {"loss_rate": 0.3, "correlation": 0.5},
    "replace": {"pattern": "0", "by": "1"},
    "reset_peer": {"timeout": 105},
    "slicer": {"average_size": 3, "size_variation": 2, "delay": "1ms"},
    "slow_close": {"delay": 105},
    "timeout": {"timeout": 105},
}
OF_CONTENT = {
    name
    for name, target in ((name, plugins.find(name, "behavior").target) for name in NAMES)
    if target.reads_content or target.one_way
}
"""Those that act on what messages say, where they are of the kind that each is for."""

HTTP2 = {name for name in NAMES if name.startswith(("h2_", "grpc_"))}
"""Those for HTTP/2 alone."""

GRPC = {name for name in HTTP2 if name.startswith("grpc_")}
NOT_FOR_TCP = {
    "header_faults",
    "duplicate_request",
    "http_headers",
    "http_status",
    "malformed_body",
    "rate_limited",
    "truncate_body",
    *HTTP2,
    "ws_refuse",
    *OF_CONTENT,
}
STARTTLS = {name for name in NAMES if name.startswith("starttls_")}
"""Those that act on what a protocol says about TLS."""

NOT_FOR_TCP |= STARTTLS
LOSSY = {"corrupt", "inject", "replace"}

TLS = {name for name in NAMES if name.startswith("tls_")}
"""Those that act on TLS, and leave other connections alone."""

# Those that every byte comes through, with options that keep the time short.
TRANSPARENT: dict[str, dict[str, Any]] = {
    "bandwidth": {"rate": 20_000},
    "coalesce": {},
    "corrupt": {"rate": 0},
    "delay": {"sleep": 0.01},
    "dummy": {},
    "flap": {"up": 3, "down": 3},
    "inject": {},
    "latency": {"latency": 3, "jitter": 3, "distribution": "pareto"},
    "limit_data": {"bytes": "1GB"},
    "limit_time": {"after": "1h"},
    "noop": {},
    "packet_loss": {"loss_rate": 0.01, "rto": 2},
    "replace": {"pattern": "there is no such thing"},
    "reset_peer": {"after_bytes": 2**40},
    "slicer": {"average_size": 500, "size_variation": 400},
    "slow_accept": {"delay": 5},
    "slow_close": {"delay": 5},
    "transient": {"agitate": 0},
    **{name: {} for name in TLS},
}

OF_CONNECTIONS = {"limit_time", "reset_peer", "slow_accept", "timeout", "h2_ping", "h2_settings", *TLS}
"""Those that act on whole connections, and are refused for single exchanges and chunks."""

OF_CHUNKS = {name for name in NAMES if "on_data" in overridden(plugins.find(name, "behavior").target)}
OF_CHUNKS -= OF_CONNECTIONS | OF_CONTENT | (HTTP2 - {"grpc_truncate"})
OF_NOTHING = {"dummy", "noop"}

DIALS_TOO = {"flap"}
"""Those with a hook on chunks that hold back the connection to the backend too, and are refused for single chunks."""


def protocol_for(name: str) -> str:
    """A protocol that the behavior *name* works with."""
    if name in GRPC:
        return "grpc"
    if name in STARTTLS:
        return "smtp"
    return "http" if name in NOT_FOR_TCP else "tcp"


def suits(name: str, scope: Scope) -> bool:
    """Whether dice for *scope* mean anything to the behavior *name*."""
    if scope is Scope.CONNECTION or name in OF_NOTHING:
        return True
    if scope is Scope.CHUNK:
        return name in OF_CHUNKS - DIALS_TOO
    return name not in {*OF_CONNECTIONS, "refuse"}
