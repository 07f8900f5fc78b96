"""Start a proxy as a process of its own, and stop it, as users of Mozilla's Vaurien do in the setup of their tests."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

from vaurien.errors import BindError, UnknownName, VaurienError
from vaurien.model import Address

READY_TIMEOUT = 30.0
"""Seconds a started proxy may take until it accepts connections, on a machine that is busy with tests."""

STOP_TIMEOUT = 10.0
"""Seconds between SIGTERM and SIGKILL, the default of Docker's ``stop``."""

_POLL = 0.02
_LAST = 10
"""Lines of a proxy that did not start which an error shows: a traceback's interesting end."""

HostAndPort: TypeAlias = tuple[str, int]

_started: dict[int, subprocess.Popen[bytes]] = {}


def start_proxy(
    proxy_host: str = "localhost",
    proxy_port: int = 8000,
    backend_host: str = "localhost",
    backend_port: int = 8888,
    protocol: str = "tcp",
    http: bool = True,
    warmup: float = READY_TIMEOUT,
    http_host: str = "localhost",
    http_port: int = 8080,
    options: Sequence[str] | None = None,
    log_level: str = "info",
    log_output: str = "-",
    *,
    port: int | None = None,
) -> int:
    """Start ``vaurien`` as a process, wait until it answers, and return its pid, for `stop_proxy`.

    *options* are further arguments of the command line. *warmup* is kept for callers of Mozilla's Vaurien, where it was
    how long to sleep: the wait ends when the proxy is ready, and may take `READY_TIMEOUT` seconds or *warmup*, if that
    is longer. *port* is another name of *http_port*, as in the example of Mozilla's Vaurien. Without *http* there is no
    interface to steer the proxy, and the one connection that finds out whether it is ready reaches the backend too.

    Raises `BindError` when something accepts connections at one of its addresses already, and `VaurienError` with the
    last lines it said when the process ends before it is ready, or is not ready in time.
    """
    command = [sys.executable, "-m", "vaurien", "--proxy", str(Address(proxy_host, proxy_port))]
    command += ["--backend", str(Address(backend_host, backend_port)), "--protocol", protocol]
    command += ["--log-level", log_level, "--log-output", log_output]
    steered = (http_host, http_port if port is None else port)
    if http:
        command += ["--http", "--http-host", http_host, "--http-port", str(steered[1])]
    command += options or ()
    return start(command, steered if http else (proxy_host, proxy_port), max(warmup, READY_TIMEOUT))


def start(command: Sequence[str], address: HostAndPort, within: float = READY_TIMEOUT) -> int:
    """Start *command* and return its pid as soon as *address* accepts connections. Errors as for `start_proxy`."""
    _must_be_free(address)
    process = subprocess.Popen(command, stderr=subprocess.PIPE)  # noqa: S603 - the caller's own arguments, and no shell
    _started[process.pid] = process
    words = _Words(process)
    try:
        _await(process, address, within, words)
    except BaseException:
        stop_proxy(process.pid)
        raise
    return process.pid


def _must_be_free(address: HostAndPort) -> None:
    if _accepts(address):
        raise BindError(f"cannot listen on {Address(*address)}: something else accepts connections there")


class _Words:
    """Passes on what a process writes to standard error, and remembers the last lines."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._source = process.stderr
        self._lines: deque[str] = deque(maxlen=_LAST)
        self._thread = threading.Thread(target=self._pass_on, name=f"standard error of {process.pid}", daemon=True)
        self._thread.start()

    def last(self) -> str:
        """The last lines of a process that has ended."""
        self._thread.join(STOP_TIMEOUT)
        return "".join(self._lines).strip()

    def _pass_on(self) -> None:
        assert self._source is not None  # noqa: S101 - it was asked for
        with self._source:
            for line in self._source:
                text = line.decode(errors="replace")
                self._lines.append(text)
                with contextlib.suppress(OSError, ValueError):  # ours is closed; the process must not be stopped by it
                    sys.stderr.write(text)


def stop_proxy(pid: int) -> None:
    """End the proxy that `start_proxy` started as *pid*, and wait for its end. Raises `UnknownName` for another pid."""
    process = _started.pop(pid, None)
    if process is None:
        raise UnknownName("proxy process", str(pid), map(str, _started))
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await(process: subprocess.Popen[bytes], address: HostAndPort, within: float, words: _Words) -> None:
    deadline = time.monotonic() + within
    while not _accepts(address):
        code = process.poll()
        if code is not None:
            said = words.last() or f"nothing; it was started as {process.args!r}"
            raise VaurienError(f"the proxy ended with exit code {code} before it was ready, and said: {said}")
        if time.monotonic() > deadline:
            raise VaurienError(f"the proxy did not accept connections on {Address(*address)} within {within:g} seconds")
        time.sleep(_POLL)


def _accepts(address: HostAndPort) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
        return True
    return False
