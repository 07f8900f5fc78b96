"""Start a proxy as a process of its own, and stop it: what the original's users call in the setup of their tests."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from vaurien.errors import BindError, UnknownName, VaurienError
from vaurien.model import Address

READY_WITHIN = 30.0
"""Seconds a started proxy may take until it accepts connections, on a machine that is busy with tests."""

STOPPED_WITHIN = 10.0
"""Seconds between SIGTERM and SIGKILL, the default of Docker's ``stop``."""

_POLL = 0.02

_started: dict[int, subprocess.Popen[bytes]] = {}


def start_proxy(
    proxy_host: str = "localhost",
    proxy_port: int = 8000,
    backend_host: str = "localhost",
    backend_port: int = 8888,
    protocol: str = "tcp",
    http: bool = False,
    warmup: float = READY_WITHIN,
    http_host: str = "localhost",
    http_port: int = 8080,
    options: Sequence[str] | None = None,
    log_level: str = "info",
    log_output: str = "-",
) -> int:
    """Start ``vaurien`` as a process, wait until it accepts connections, and return its pid, for `stop_proxy`.

    *options* are further arguments of the command line. *warmup* is kept for the original's callers, where it was how
    long to sleep: the wait ends when the proxy is ready, and may take `READY_WITHIN` seconds or *warmup*, if that is
    longer. The one connection that finds out about it reaches the backend too.

    The HTTP interface is off unless *http* asks for it. Raises `BindError` when something accepts connections at the
    proxy's address already, and `VaurienError` when the process ends before it is ready, or is not ready in time.
    """
    command = [sys.executable, "-m", "vaurien.cli.run", "--proxy", str(Address(proxy_host, proxy_port))]
    command += ["--backend", str(Address(backend_host, backend_port)), "--protocol", protocol]
    command += ["--log-level", log_level, "--log-output", log_output]
    if http:
        command += ["--http", "--http-host", http_host, "--http-port", str(http_port)]
    command += options or ()
    return start(command, (proxy_host, proxy_port), max(warmup, READY_WITHIN))


def start(command: Sequence[str], address: tuple[str, int], within: float = READY_WITHIN) -> int:
    """Start *command* and return its pid as soon as *address* accepts connections. Errors as for `start_proxy`."""
    if _accepts(address):
        raise BindError(f"cannot listen on {Address(*address)}: something else accepts connections there")
    process = subprocess.Popen(command)  # noqa: S603 - the caller's own arguments, and no shell
    _started[process.pid] = process
    try:
        _await(process, address, within)
    except BaseException:
        stop_proxy(process.pid)
        raise
    return process.pid


def stop_proxy(pid: int) -> None:
    """End the proxy that `start_proxy` started as *pid*, and wait for its end. Raises `UnknownName` for another pid."""
    process = _started.pop(pid, None)
    if process is None:
        raise UnknownName("proxy process", str(pid), map(str, _started))
    process.terminate()
    try:
        process.wait(STOPPED_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await(process: subprocess.Popen[bytes], address: tuple[str, int], within: float) -> None:
    deadline = time.monotonic() + within
    while not _accepts(address):
        code = process.poll()
        if code is not None:
            raise VaurienError(
                f"the proxy ended with exit code {code} before it was ready; it was started as {process.args!r}"
            )
        if time.monotonic() > deadline:
            raise VaurienError(f"the proxy did not accept connections on {Address(*address)} within {within:g} seconds")
        time.sleep(_POLL)


def _accepts(address: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=1):
        return True
    return False
