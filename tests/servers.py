"""Real servers for tests: each is started when a test first asks for it, on a free port, with a folder of its own.

A program that is not installed skips the test, or fails it when VAURIEN_REQUIRE_SERVERS is set (as in CI).
`tests/packages.txt` says which Debian packages they come from; load testers are in `build/load-tools`, by `make test`.
"""

from __future__ import annotations

import contextlib
import glob
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.waiting import until

STOP_TIMEOUT = 30.0
_ROOT = os.getuid() == 0
_LOAD_TOOLS = str(Path(__file__).parents[1] / "build" / "load-tools" / "bin")
_PATH = os.pathsep.join([os.environ["PATH"], _LOAD_TOOLS, "/usr/sbin", *sorted(glob.glob("/usr/lib/postgresql/*/bin"))])


@dataclass(frozen=True)
class Server:
    """A running server: where it listens, where its files are, and who may log in."""

    host: str
    port: int
    folder: Path
    pid: int
    user: str = ""
    password: str = ""
    database: str = ""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


def require(program: str) -> str:
    """The path of *program*. Where it is not installed the test skips, or fails if servers are required."""
    path = shutil.which(program, path=_PATH)
    if path is None:
        absent(f"{program} is not installed (tests/packages.txt names its package)")
    return path


def absent(reason: str) -> None:
    if os.environ.get("VAURIEN_REQUIRE_SERVERS"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    """Whether somebody listens. By proc(5), not by a connection: iperf3 takes one for a client, and is busy."""
    return any(_has_listener(table, port) for table in ("/proc/net/tcp", "/proc/net/tcp6"))


def _has_listener(table: str, port: int) -> bool:
    lines = Path(table).read_text().splitlines()[1:] if os.path.exists(table) else []  # no tcp6 without IPv6
    rows = (line.split() for line in lines)
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)  # 0A: LISTEN


@contextlib.contextmanager
def started(
    command: Callable[[int, Path], Sequence[str | Path]],
    *,
    run_as: str | None = None,
    ready: Callable[[int], bool] = listens,
    stop: signal.Signals = signal.SIGTERM,
    **facts: str,
) -> Iterator[Server]:
    """The server that ``command(port, folder)`` starts in the foreground; root runs it as *run_as*.

    It is there when ``ready(port)``: when it listens, unless it does so before it takes clients.
    *facts* are more fields of `Server`. It is ended by *stop*, and by SIGKILL when that does not help.
    """
    with _folder(run_as) as folder:
        for attempt in range(3):  # another program may take the port first
            port = free_port()
            process = _spawn(_tied(command(port, folder), stop), folder, run_as)
            try:
                if _becomes(ready, port, process):
                    yield Server("127.0.0.1", port, folder, process.pid, **facts)
                    return
                if process.poll() is None or attempt == 2:
                    pytest.fail(f"{process.args} does not listen:\n{(folder / 'output').read_text()}")
            finally:
                _end(process, stop)


@contextlib.contextmanager
def _folder(user: str | None) -> Iterator[Path]:
    """A new folder that *user* owns and every user can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="vaurien-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        if user and _ROOT:
            shutil.chown(name, user, user)
        yield Path(name)


def _spawn(command: Sequence[str | Path], folder: Path, user: str | None) -> subprocess.Popen[bytes]:
    with open(folder / "output", "ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for pytest
            **_as(user, folder),
        )


def _as(user: str | None, folder: Path) -> dict[str, object]:
    """How a program is run: by whom, and with its temporary files in *folder*."""
    environment: dict[str, object] = {"env": {**os.environ, "TMPDIR": str(folder)}}
    return environment | ({"user": user, "group": user, "extra_groups": []} if user and _ROOT else {})


def _tied(command: Sequence[str | Path], stop: signal.Signals) -> list[str | Path]:
    """*command* so that the system ends it when pytest is killed, where it can (setpriv(1), prctl(2) on Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", stop.name, *command] if setpriv else list(command)


def _becomes(ready: Callable[[int], bool], port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until ``ready(port)``; false when *process* ends before, or takes too long."""
    is_ready = False

    def decided() -> bool:
        nonlocal is_ready
        is_ready = process.poll() is None and ready(port)
        return is_ready or process.poll() is not None

    with contextlib.suppress(TimeoutError):
        until(decided)
    return is_ready


def _end(process: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    process.send_signal(stop)
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(command: Sequence[str | Path], folder: Path, user: str) -> None:
    """Run a program that prepares *folder* to its end."""
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, **_as(user, folder)
    )
    if done.returncode:
        pytest.fail(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    program = require("redis-server")
    options = {"bind": "127.0.0.1", "save": "", "appendonly": "no", "daemonize": "no"}

    def command(port: int, folder: Path) -> list[str | Path]:
        given = {**options, "port": str(port), "dir": str(folder)}
        return [program, *(word for name, value in given.items() for word in (f"--{name}", value))]

    with started(command) as server:
        yield server


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[Server]:
    program = require("memcached")
    with started(lambda port, _: [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody"]) as server:
        yield server


NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
    access_log off;
    default_type application/octet-stream;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /hello {{ return 200 "hello\\n"; }}
        location / {{ root {folder}/www; }}
    }}
}}
"""


@pytest.fixture(scope="session")
def nginx_server() -> Iterator[Server]:
    """Answers ``/hello``, and the files in its folder's ``www``: ``/1MiB`` is there."""
    program = require("nginx")

    def command(port: int, folder: Path) -> list[str | Path]:
        (folder / "nginx.conf").write_text(NGINX.format(port=port, folder=folder))
        (folder / "www").mkdir(exist_ok=True)
        (folder / "www" / "1MiB").write_bytes(random.Random(1).randbytes(2**20))
        return [program, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]

    with started(command) as server:
        yield server


@contextlib.contextmanager
def nghttpd() -> Iterator[Server]:
    """HTTP/2 by prior knowledge, for the files in its folder's ``www``: ``/hello`` and ``/4MB`` are there."""
    program = require("nghttpd")

    def command(port: int, folder: Path) -> list[str | Path]:
        (folder / "www").mkdir(exist_ok=True)
        (folder / "www" / "hello").write_bytes(b"hello\n")
        (folder / "www" / "4MB").write_bytes(random.Random(1).randbytes(4_000_000))
        options: list[str | Path] = ["--no-tls", "--echo-upload", "-a", "127.0.0.1", "-d", folder / "www"]
        return [program, *options, "--mime-types-file=/dev/null", str(port)]

    with started(command) as server:
        yield server


@pytest.fixture(scope="session")
def nghttpd_server() -> Iterator[Server]:
    """`nghttpd`, for all tests of a process."""
    with nghttpd() as server:
        yield server


MARIADB = """
CREATE DATABASE test;
CREATE USER 'vaurien'@'%' IDENTIFIED BY 'secret';
GRANT ALL ON *.* TO 'vaurien'@'%';
"""


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Server]:
    """User ``vaurien`` (password ``secret``, mysql_native_password) may do everything; there is a database ``test``."""
    program, install = require("mariadbd"), require("mariadb-install-db")

    def command(port: int, folder: Path) -> list[str | Path]:
        if not (folder / "data").exists():
            run([install, "--no-defaults", f"--datadir={folder}/data", "--skip-test-db"], folder, "mysql")
            (folder / "init.sql").write_text("".join(line + "\n" for line in MARIADB.splitlines() if line))
        paths = [f"--datadir={folder}/data", f"--socket={folder}/socket", f"--pid-file={folder}/pid"]
        network = ["--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve"]
        size = ["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"]
        return [program, "--no-defaults", *paths, *network, *size, f"--init-file={folder}/init.sql"]

    with started(command, run_as="mysql", user="vaurien", password="secret", database="test") as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """User ``vaurien`` (password ``secret``, SCRAM-SHA-256) is superuser; the database is ``postgres``."""
    program, initdb, isready = require("postgres"), require("initdb"), require("pg_isready")

    def command(port: int, folder: Path) -> list[str | Path]:
        if not (folder / "data").exists():
            (folder / "password").write_text("secret")
            login = ["--username=vaurien", f"--pwfile={folder}/password", "--auth=scram-sha-256"]
            run(
                [initdb, f"--pgdata={folder}/data", "--no-sync", "--locale=C", "--encoding=UTF8", *login],
                folder,
                "postgres",
            )
        settings = ["fsync=off", "unix_socket_directories=", "listen_addresses=127.0.0.1", f"port={port}"]
        return [program, "-D", folder / "data", *(word for setting in settings for word in ("-c", setting))]

    def ready(port: int) -> bool:  # it listens, and refuses, while it is starting up
        return subprocess.run([isready, "--quiet", "--host=127.0.0.1", f"--port={port}"], check=False).returncode == 0

    account = {"user": "vaurien", "password": "secret", "database": "postgres"}
    stop = signal.SIGINT  # waits for no client
    with started(command, run_as="postgres", ready=ready, stop=stop, **account) as server:
        yield server


class Echo:
    """A server in this process that sends back what it gets, and its end of stream too."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.host, self.port = self._listener.getsockname()
        self._clients: list[socket.socket] = []
        self._echoing: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
        self._accepting.join()
        self._listener.close()
        for client in self._clients:
            with contextlib.suppress(OSError):  # closed already
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._echoing:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # shut down by close()
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                thread = threading.Thread(target=self._echo, args=[client])
                self._echoing.append(thread)
                thread.start()

    def _echo(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):  # a reset is a client's right
            while data := client.recv(65536):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)


@pytest.fixture
def echo_server() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()
