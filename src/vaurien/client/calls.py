"""Every operation of the HTTP interface, declared once: `Client` and `AsyncClient` are made from this table."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, overload
from urllib.parse import quote

_SCOPED = re.compile(r"/api/v1/(proxies(?!.*/(connections|diagnosis))|config|reset)")


class Call:
    """An operation: *method* and *path*, and *about*, what it does. Of its answer the caller gets the field *key*."""

    def __init__(self, method: str, path: str, about: str, key: str | None = None) -> None:
        self.method, self.path, self.about, self.key = method, path, about, key
        self.scoped = bool(_SCOPED.match(path))
        """Whether it can be about a fleet instead of one program."""
        self.name = ""
        self._positional = re.findall(r"{(\w+)}", path)
        self.__doc__ = f"{about}\n\nThis is ``{method} {path}``."

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    @overload
    def __get__(self, client: None, owner: type | None = None) -> Call: ...

    @overload
    def __get__(self, client: Any, owner: type | None = None) -> Callable[..., Any]: ...

    def __get__(self, client: Any, owner: type | None = None) -> Call | Callable[..., Any]:
        if client is None:
            return self

        def do(*names: object, **fields: Any) -> Any:
            return client._do(self, names, fields)

        do.__name__, do.__doc__ = self.name, self.__doc__
        return do

    def __repr__(self) -> str:
        fields = ["**fields"] if self.method in ("POST", "PUT", "PATCH") else []
        return f"{self.name}({', '.join([*self._positional, *fields])})"

    def target(self, names: tuple[object, ...]) -> str:
        """The path with *names* in it. Raises TypeError when there are too many or too few."""
        wanted = self._positional
        if len(names) != len(wanted):
            raise TypeError(f"{self.name}() takes by position {', '.join(wanted) or 'nothing'}, not {names!r}")
        return self.path.format(**{key: quote(str(name), safe="") for key, name in zip(wanted, names, strict=True)})


_PROXY = "/api/v1/proxies/{proxy}"
_FAULT = f"{_PROXY}/faults/{{fault}}"
_CONNECTION = f"{_PROXY}/connections/{{connection}}"


class Calls:
    """Every operation."""

    get_health = Call("GET", "/healthz", "Whether the program answers.", "status")
    get_version = Call("GET", "/api/v1/version", "The version of the program.", "version")
    get_config = Call("GET", "/api/v1/config", "All proxies with their mixes and faults: what can be put back later.")
    set_config = Call("PUT", "/api/v1/config", "Have exactly these proxies.")
    get_config_text = Call(
        "GET",
        "/api/v1/config/text",
        "All proxies with their mixes and faults, as files of `vaurien --config`, and as those of Toxiproxy.",
    )
    read_config_text = Call(
        "POST", "/api/v1/config/text", "What a text in TOML says of proxies, for `set_config`. It changes nothing."
    )
    reset = Call("POST", "/api/v1/reset", "Switch all proxies on, and take all mixes and faults away.")
    get_settings = Call(
        "GET", "/api/v1/settings", "How the program was started: each option, and where its value came from."
    )
    show_schedule = Call("GET", "/api/v1/schedule", "The schedule of the program: its steps, and where it is.")
    start_schedule = Call("POST", "/api/v1/schedule/start", "Play the schedule from its beginning.")
    stop_schedule = Call("POST", "/api/v1/schedule/stop", "Play no more of the schedule. What it has changed stays.")
    get_figures = Call(
        "GET",
        "/api/v1/figures",
        "Figures over time, in steps of a second: at most those of the last 15 minutes.",
        "steps",
    )
    list_proxies = Call("GET", "/api/v1/proxies", "All proxies, in order of creation.", "proxies")
    create_proxy = Call("POST", "/api/v1/proxies", "Add a proxy, with its mix and its faults.")
    get_proxy = Call("GET", _PROXY, "One proxy, and whether it runs as it is configured.")
    change_proxy = Call("PATCH", _PROXY, "Change what is given of a proxy, and leave the rest as it is.")
    delete_proxy = Call("DELETE", _PROXY, "Stop a proxy, drop its connections and forget it.")
    get_mix = Call("GET", f"{_PROXY}/mix", "A proxy's mix.")
    set_mix = Call("PUT", f"{_PROXY}/mix", "Give a proxy another mix, from the next exchange on.")
    list_faults = Call(
        "GET",
        f"{_PROXY}/faults",
        "A proxy's faults, in the order in which they act, each with what it has done.",
        "faults",
    )
    add_fault = Call("POST", f"{_PROXY}/faults", "Put a behavior in use on a proxy, behind its other faults.")
    add_preset = Call("POST", f"{_PROXY}/presets", "Add the faults of a preset, behind the others.", "faults")
    get_fault = Call("GET", _FAULT, "One fault, and what it has done since it was added.")
    diagnose_fault = Call(
        "GET",
        f"{_FAULT}/diagnosis",
        "Why a fault has not hit: no connection, another protocol, a match that fits nothing, its window, chance.",
    )
    change_fault = Call("PATCH", _FAULT, "Change what is given of a fault, and leave the rest as it is.")
    remove_fault = Call("DELETE", _FAULT, "Take a fault away: what it held goes on, in order.")
    list_connections = Call(
        "GET",
        f"{_PROXY}/connections",
        "A proxy's open connections: peer, age, bytes, and the faults drawn for each.",
        "connections",
    )
    get_connection = Call("GET", _CONNECTION, "One open connection.")
    close_connection = Call(
        "DELETE",
        _CONNECTION,
        "End a connection in order: what was sent is delivered, then both sides see the end (FIN).",
    )
    reset_connection = Call(
        "POST",
        f"{_CONNECTION}/reset",
        "End a connection at once: both sides see a reset (RST), and what was not delivered yet is lost.",
    )
    get_mesh = Call(
        "GET",
        "/api/v1/mesh",
        "The nodes of the mesh, how each reaches each other, and the topologies in force. 404 where there is no mesh.",
    )
    add_topology = Call(
        "POST",
        "/api/v1/mesh/topologies",
        "Put a topology in force, on all its edges or on none. One of the same kind and groups is replaced.",
    )
    remove_topology = Call("DELETE", "/api/v1/mesh/topologies/{topology}", "End a topology: its edges are whole again.")
    heal_mesh = Call("POST", "/api/v1/mesh/heal", "End all topologies.")
    get_fleet = Call(
        "GET",
        "/api/v1/fleet",
        "The nodes, what each runs, what differs from the desired state and why, hits on each, and what is desired.",
    )
    get_audit = Call(
        "GET",
        "/api/v1/fleet/audit",
        "The last changes of the fleet, oldest first: caller, time, node and change.",
        "changes",
    )
    select_nodes = Call(
        "PUT",
        "/api/v1/fleet/proxies/{proxy}/faults/{fault}/nodes",
        "Have a fault of the fleet that is there on other nodes, without setting it anew: its time to live goes on.",
    )
    stop_fleet = Call(
        "POST",
        "/api/v1/fleet/stop",
        "Stop everything: all faults and mixes of all nodes end, those of their own too, and none of the fleet begins.",
    )
    resume_fleet = Call("POST", "/api/v1/fleet/resume", "Let the faults of the fleet act again.")
    send_heartbeat = Call(
        "POST",
        "/api/v1/fleet/heartbeat",
        "Say that a controller lives: with a limit `heartbeat` all faults end when this has not been said for so long.",
    )
    get_limits = Call("GET", "/api/v1/fleet/limits", "The limits of the fleet.")
    set_fleet_limits = Call(
        "PUT", "/api/v1/fleet/limits", "Replace the limits of the fleet; what is there already stays."
    )
    get_schedule = Call(
        "GET",
        "/api/v1/fleet/schedule",
        "The schedule of the fleet, and how far its leader is; null: there is none.",
        "schedule",
    )
    set_schedule = Call(
        "PUT",
        "/api/v1/fleet/schedule",
        "Have the leader play a schedule, from now on. Its steps are edits of the fleet.",
    )
    end_schedule = Call("DELETE", "/api/v1/fleet/schedule", "Play the schedule no longer; the faults of now stay.")
    describe_behaviors = Call(
        "GET",
        "/api/v1/behaviors",
        "All behaviors that a fault or a mix can name, with a JSON Schema of the options of each.",
        "behaviors",
    )
    describe_behavior = Call("GET", "/api/v1/behaviors/{behavior}", "One behavior.")
    list_presets = Call(
        "GET",
        "/api/v1/presets",
        "All presets: faults of a network or a backend, and causes such as postgres.deadlock.",
        "presets",
    )
    describe_protocols = Call(
        "GET",
        "/api/v1/protocols",
        "All protocols that a proxy can speak, with a JSON Schema of the options of each.",
        "protocols",
    )
    describe_protocol = Call("GET", "/api/v1/protocols/{protocol}", "One protocol.")

    get_behavior = Call("GET", "/behavior", "The behavior or the mix of the first proxy, as text.", "behavior")
    list_behaviors = Call(
        "GET",
        "/behaviors",
        "The names of the behaviors of Mozilla's Vaurien, and of those that were brought along.",
        "behaviors",
    )
    get_backend = Call("GET", "/backend", "The address that the first proxy dials.", "backend")
    _set_behavior = Call("PUT", "/behavior", "Give the first proxy a behavior or a mix.")
    _set_backend = Call("PUT", "/backend", "Have the first proxy dial another address.")
    get_handler, list_handlers = get_behavior, list_behaviors  # the first release called behaviors so
