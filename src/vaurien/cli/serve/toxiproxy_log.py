"""The log of ``toxiproxy-server``: one JSON object a line on standard output.

The fields are those of Toxiproxy's log, except ``caller``, which is a place in its source. Its users wait for the line
whose message is "Starting Toxiproxy HTTP server" before they use a container.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from vaurien import __version__
from vaurien.control.asgi import ASGIApp, Message, Receive, Scope, Send
from vaurien.events import (
    Accepted,
    Closed,
    Encrypted,
    Event,
    Failed,
    Injected,
    Listening,
    MixHit,
    PolicyChanged,
    ProtocolLost,
    WorkerDied,
)
from vaurien.model import Address
from vaurien.observers.line_file import LineFile, StandardStream

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal", "panic", "disabled")
"""The words of ``LOG_LEVEL``, those of zerolog; nothing is logged here above error."""

_LEVEL_OF: Mapping[type[Event], str] = {
    Listening: "info",
    Accepted: "info",
    Closed: "debug",
    PolicyChanged: "debug",
    MixHit: "trace",
    Injected: "trace",
    ProtocolLost: "warn",
    Encrypted: "warn",
    Failed: "warn",
    WorkerDied: "error",
}


class ToxiproxyLog:
    """An observer, and the `Report` of a daemon that is called ``toxiproxy-server``.

    Lines below *level* are left out; a level that does not exist is told, and means info. *ends* gives the address and
    the backend of a proxy by its name, if there is one. Lines that cannot be written are lost, see `LineFile`.
    """

    def __init__(self, level: str, version: str, ends: Callable[[str], tuple[str, str] | None]) -> None:
        known = level.lower() in LEVELS
        self._threshold = LEVELS.index(level.lower() if known else "info")
        self._version, self._ends = version, ends
        self.ignores = frozenset(kind for kind, name in _LEVEL_OF.items() if LEVELS.index(name) < self._threshold)
        self._file = LineFile(StandardStream("stdout"), "log", lambda count: _line("warn", "Lines lost", count=count))
        if level and not known:
            self.write("error", f'unknown LOG_LEVEL value: "{level}"', error=f"known are: {', '.join(LEVELS)}")

    def write(self, level: str, message: str, **fields: Any) -> None:
        """Write a line of *level* with *fields* and *message*, unless it is below the level of the log."""
        if self.logs(level):
            self._file.write(_line(level, message, **fields))

    def logs(self, level: str) -> bool:
        """Whether lines of *level* are written."""
        return LEVELS.index(level) >= self._threshold

    # Events of proxies.

    def __call__(self, event: Event) -> None:
        """Write *event* in Toxiproxy's words, where it has some."""
        ends = {}
        if (found := self._ends(event.proxy)) is not None:
            ends = dict(zip(("listen", "upstream"), found, strict=True))
        about = {"name": event.proxy, **ends}
        match event:
            case Listening():
                self.write("info", "Started proxy", name=event.proxy, listen=event.address, upstream=event.backend)
            case Accepted():
                self.write("info", "Accepted client", **about, client=event.peer)
            case Failed(where="dial"):
                self.write("error", "Unable to open connection to upstream", **about, error=event.error)
            case Failed(where="accept"):
                self.write("warn", "Error while accepting client", **about, error=event.error)
            case Failed():
                self.write("warn", f"Failed: {event.where}", **about, error=event.error)
            case Closed():
                sizes = {"sent": event.sent, "received": event.received}
                self.write("debug", "Closed connection", **about, client=event.peer, **sizes, end=event.end)
            case PolicyChanged():
                self.write("debug", "Changed toxics", **about, toxics=list(event.faults))
            case Injected():
                self.write("trace", "Toxic acted", **about, toxic=event.fault)
            case MixHit():
                self.write("trace", "Drew from the mix", **about, behavior=event.behavior)
            case ProtocolLost():
                self.write("warn", "Lost the protocol", **about, protocol=event.protocol, error=event.reason)
            case Encrypted():
                self.write("warn", "Encrypted connection", **about, error=event.reason)
            case WorkerDied():
                self.write("error", "Worker died", worker=event.worker, error=event.reason)

    # The report of the daemon.

    def starting(self) -> None:
        """The program has begun."""
        self.write("info", "Starting Toxiproxy", version=self._version, program=f"vaurien {__version__}")

    def serving(self, address: Address, seed: str) -> None:
        """Write the line that containers are waited for with."""
        where = {"address": str(address), "host": address.host, "port": str(address.port)}
        self.write("info", "Starting Toxiproxy HTTP server", **where, version=self._version, seed=seed)

    def warn(self, message: str) -> None:
        """Write it."""
        self.write("warn", message)

    def populated(self, count: int, path: str) -> None:
        """Write how many."""
        self.write("info", "Populated proxies from file", config=path, proxies=count)

    def not_populated(self, path: str, error: str) -> None:
        """Write why."""
        self.write("error", "Failed to populate proxies from file", error=error, config=path)

    def unreadable(self, path: str, error: str) -> None:
        """Write why."""
        self.write("error", "Error reading config file", error=error, config=path)

    def reloaded(self, count: int) -> None:
        """Write how many."""
        self.write("info", "Read the configuration again", proxies=count)

    def not_reloaded(self, error: str) -> None:
        """Write why."""
        self.write("error", "Not all of the configuration is in force", error=error)

    def stopping(self) -> None:
        """Write it."""
        self.write("info", "Shutdown started")

    def close(self) -> None:
        """Tell the user on standard error if lines were lost; standard output stays open."""
        self._file.close()


def _line(level: str, message: str, **fields: Any) -> str:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps({"level": level, **fields, "time": now, "message": message}, separators=(",", ":"))


class AccessLog:
    """Passes requests on to *app*, and writes a line at level debug for each; paths are shown without their query."""

    def __init__(self, app: ASGIApp, log: ToxiproxyLog) -> None:
        self._app, self._log = app, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._log.logs("debug"):
            await self._app(scope, receive, send)
            return
        began, status, size = time.monotonic(), 0, 0
        answered: dict[bytes, bytes] = {}

        async def counted(message: Message) -> None:
            nonlocal status, size, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], dict(message["headers"])
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        with contextlib.ExitStack() as after:
            after.callback(lambda: self._write(scope, status, size, began, answered))
            await self._app(scope, receive, counted)

    def _write(self, scope: Scope, status: int, size: int, began: float, answered: Mapping[bytes, bytes]) -> None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        client = "" if scope["client"] is None else str(Address(*scope["client"][:2]))
        fields = {"client": client, "method": scope["method"], "url": scope["path"]}
        fields |= {"user_agent": headers.get(b"user-agent", ""), "status": status, "size": size}
        fields |= {"duration": round(1000 * (time.monotonic() - began), 3)}
        if request_id := answered.get(b"x-toxiproxy-request-id"):
            fields["request_id"] = request_id.decode()
        self._log.write("debug", "", **fields)
