"""The servers of loads: redis for small messages, nginx for HTTP, nghttpd for HTTP/2, iperf3 for one big stream."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.processes import Process, program, started

NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
worker_rlimit_nofile 8192;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 "hello\\n"; }}
        location = /zeros {{ root {folder}; }}
        location = /random {{ root {folder}; }}
    }}
}}
"""


CLIENTS = 10_100
"""Connections that redis takes; it needs some descriptors for itself."""

ZEROS = 16 * 1024 * 1024
"""Bytes of nginx's ``/zeros``, for streams."""

HELLO, LARGE = "/hello", "/large"
"""What nghttpd has: six bytes, and `SIZE` of them."""

SIZE = 4 * 1024 * 1024

RANDOM = 100_000_000
"""Bytes of nginx's ``/random``, which are the same in each run."""


class Backends(msgspec.Struct, frozen=True):
    """The servers of a run, started once for all its rounds."""

    redis: Process
    nginx: Process
    iperf3: Process
    nghttpd: Process


@contextlib.contextmanager
def backends() -> Iterator[Backends]:
    """All servers, each with one thread that serves."""
    with contextlib.ExitStack() as stack:
        yield Backends(*(stack.enter_context(started(command)) for command in (_redis, _nginx, _iperf3, _nghttpd)))


def _redis(port: int, folder: Path) -> list[str]:
    settings = {"port": str(port), "bind": "127.0.0.1", "dir": str(folder), "save": "", "appendonly": "no"}
    settings["maxclients"] = str(CLIENTS)
    return [program("redis-server"), *(word for name, value in settings.items() for word in (f"--{name}", value))]


def _nginx(port: int, folder: Path) -> list[str]:
    (folder / "zeros").write_bytes(bytes(ZEROS))
    (folder / "random").write_bytes(random_bytes())
    (folder / "nginx.conf").write_text(NGINX.format(port=port, folder=folder))
    return [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def random_bytes() -> bytes:
    """The content of ``/random``."""
    return random.Random(RANDOM).randbytes(RANDOM)


def _iperf3(port: int, _: Path) -> list[str]:
    return [program("iperf3"), "--server", "--bind", "127.0.0.1", "--port", str(port)]


def _nghttpd(port: int, folder: Path) -> list[str]:
    (folder / HELLO[1:]).write_bytes(b"hello\n")
    (folder / LARGE[1:]).write_bytes(bytes(SIZE))
    return [program("nghttpd"), "--no-tls", "--address", "127.0.0.1", "--htdocs", str(folder), str(port)]
