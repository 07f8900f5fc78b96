"""Mail servers for tests: aiosmtpd, and Exim, which has PIPELINING, CHUNKING and TLS."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.protocols.servers import PATIENCE, Address, free_port, running

EXIM = """
primary_hostname = mx.test
spool_directory = {folder}
log_file_path = {folder}/%slog
pid_file_path = {folder}/pid
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
acl_smtp_vrfy = accept
auth_advertise_hosts = *
tls_advertise_hosts = *
chunking_advertise_hosts = *
pipelining_advertise_hosts = *
queue_only = true
smtp_accept_max_nonmail = 100000
begin acl
rcpt:
  deny local_parts = nobody
  accept
begin routers
nowhere:
  driver = redirect
  data = :blackhole:
begin authenticators
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = User : Password
  server_condition = ${{if eq{{$auth2}}{{secret}}}}
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if eq{{$auth3}}{{secret}}}}
"""


@pytest.fixture(scope="session")
def exim() -> Iterator[Address]:
    if shutil.which("exim4") is None or os.geteuid() != 0:
        pytest.skip("needs exim4, and root, to which alone it leaves the choice of its configuration")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to the user that Exim becomes
        shutil.chown(folder, "Debian-exim", "Debian-exim")
        config = Path(folder, "exim.conf")
        config.write_text(EXIM.format(folder=folder))
        command = ["exim4", "-bdf", "-C", str(config), "-oX", f"127.0.0.1.{port}"]
        with running(command, ("127.0.0.1", port)) as address:
            yield address


@pytest.fixture
def aiosmtpd() -> Iterator[Address]:
    controller = pytest.importorskip("aiosmtpd.controller")
    smtp = pytest.importorskip("aiosmtpd.smtp")
    server = controller.Controller(
        type("Accept", (), {})(),
        hostname="127.0.0.1",
        port=free_port(),
        ready_timeout=PATIENCE,
        enable_SMTPUTF8=True,
        auth_require_tls=False,
        authenticator=lambda *who: smtp.AuthResult(success=who[-1].password == b"secret", handled=False),
    )
    server.start()
    try:
        yield server.hostname, server.port
    finally:
        server.stop()
