"""Real servers with TLS, as those of `tests.servers`: their certificates are for ``localhost`` and 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import MARIADB, NGINX, Server, require, run, started
from vaurien.tls.authority import Authority

NAMES = ("localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def tls_authority() -> Authority:
    """What has signed the certificates of the servers here."""
    return Authority.create()


@pytest.fixture(scope="session")
def tls_ca(tls_authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate, as a file."""
    folder = tmp_path_factory.mktemp("authority")
    tls_authority.save(folder)
    return folder / "ca.pem"


def _identity(authority: Authority, folder: Path, user: str | None = None) -> tuple[Path, Path]:
    """The files of a certificate and its key, in *folder*, for *user*."""
    pair = authority.issue(NAMES)
    certificate, key = folder / "server.pem", folder / "server-key.pem"
    for path, content in ((certificate, pair.chain), (key, pair.key)):
        path.write_bytes(content)
        path.chmod(0o600)
        if user and os.getuid() == 0:
            shutil.chown(path, user, user)
    return certificate, key


@pytest.fixture(scope="session")
def nginx_tls_server(tls_authority: Authority) -> Iterator[Server]:
    """Answers ``/hello`` by HTTPS."""
    program = require("nginx")

    def command(port: int, folder: Path) -> list[str | Path]:
        certificate, key = _identity(tls_authority, folder)
        plain = NGINX.format(port=port, folder=folder)
        listen = f"listen 127.0.0.1:{port} backlog=4096"
        secure = f"{listen} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}"
        assert listen in plain
        (folder / "nginx.conf").write_text(plain.replace(listen, secure))
        (folder / "www").mkdir(exist_ok=True)
        return [program, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]

    with started(command) as server:
        yield server


@pytest.fixture(scope="session")
def redis_tls_server(tls_authority: Authority, tls_ca: Path) -> Iterator[Server]:
    program = require("redis-server")

    def command(port: int, folder: Path) -> list[str | Path]:
        certificate, key = _identity(tls_authority, folder)
        options = {"bind": "127.0.0.1", "save": "", "appendonly": "no", "port": "0", "tls-port": str(port)}
        files = {"tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": tls_ca, "dir": folder}
        given = {**options, **files, "tls-auth-clients": "no"}
        return [program, *(word for name, value in given.items() for word in (f"--{name}", str(value)))]

    with started(command) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_tls_server(tls_authority: Authority) -> Iterator[Server]:
    """User ``vaurien`` (password ``secret``) is superuser of ``postgres``; TLS is offered, not required."""
    program, initdb, isready = require("postgres"), require("initdb"), require("pg_isready")

    def command(port: int, folder: Path) -> list[str | Path]:
        if not (folder / "data").exists():
            (folder / "password").write_text("secret")
            login = ["--username=vaurien", f"--pwfile={folder}/password", "--auth=scram-sha-256"]
            initialise = [initdb, f"--pgdata={folder}/data", "--no-sync", "--locale=C", "--encoding=UTF8", *login]
            run(initialise, folder, "postgres")
        certificate, key = _identity(tls_authority, folder, "postgres")
        settings = ["fsync=off", "unix_socket_directories=", "listen_addresses=127.0.0.1", f"port={port}"]
        settings += ["ssl=on", f"ssl_cert_file={certificate}", f"ssl_key_file={key}"]
        return [program, "-D", folder / "data", *(word for setting in settings for word in ("-c", setting))]

    def ready(port: int) -> bool:  # it listens, and refuses, while it is starting up
        return subprocess.run([isready, "--quiet", "--host=127.0.0.1", f"--port={port}"], check=False).returncode == 0

    account = {"user": "vaurien", "password": "secret", "database": "postgres"}
    with started(command, run_as="postgres", ready=ready, stop=signal.SIGINT, **account) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_tls_server(tls_authority: Authority) -> Iterator[Server]:
    """User ``vaurien`` (password ``secret``) may do everything; there is a database ``test``."""
    program, install = require("mariadbd"), require("mariadb-install-db")

    def command(port: int, folder: Path) -> list[str | Path]:
        if not (folder / "data").exists():
            run([install, "--no-defaults", f"--datadir={folder}/data", "--skip-test-db"], folder, "mysql")
            (folder / "init.sql").write_text("".join(line + "\n" for line in MARIADB.splitlines() if line))
        certificate, key = _identity(tls_authority, folder, "mysql")
        paths = [f"--datadir={folder}/data", f"--socket={folder}/socket", f"--pid-file={folder}/pid"]
        network = ["--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve"]
        size = ["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"]
        secure = [f"--ssl-cert={certificate}", f"--ssl-key={key}"]
        return [program, "--no-defaults", *paths, *network, *size, *secure, f"--init-file={folder}/init.sql"]

    with started(command, run_as="mysql", user="vaurien", password="secret", database="test") as server:
        yield server
