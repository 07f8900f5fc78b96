"""The framer between real clients and mail servers: aiosmtpd, and Exim, which has PIPELINING, CHUNKING and TLS."""

from __future__ import annotations

import os
import shutil
import smtplib
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.protocols.relay import Relay
from tests.protocols.servers import Address, free_port, running
from vaurien.protocols.smtp import SmtpFramer

pytestmark = pytest.mark.server

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


@pytest.fixture(scope="module")
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
        enable_SMTPUTF8=True,
        auth_require_tls=False,
        authenticator=lambda *who: smtp.AuthResult(success=who[-1].password == b"secret", handled=False),
    )
    server.start()
    try:
        yield server.hostname, server.port
    finally:
        server.stop()


@pytest.fixture(params=["aiosmtpd", "exim"])
def server(request: pytest.FixtureRequest) -> Address:
    address: Address = request.getfixturevalue(request.param)
    return address


def verbs(relay: Relay) -> list[str]:
    """Each exchange's verb and code, once the only connection was framed to its end."""
    (pairing,) = relay.pairings
    assert pairing.framing.lost is None
    assert pairing.complete
    assert pairing.given == pairing.fed
    return [f"{request[0]}:{response[0]}" for request, response in pairing.pairs]


MAIL = b"Subject: caf\xc3\xa9\r\n\r\n.\r\n..\r\n" + b"x" * 900 + b"\r\n.end\r\n" * 2000


def test_mails(server: Address) -> None:
    with Relay(server, SmtpFramer) as relay, smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as client:
        client.ehlo("me.test")
        client.noop()
        client.sendmail("a@x.test", ["b@y.test", "c@y.test"], MAIL, mail_options=["BODY=8BITMIME"])
        client.sendmail("a@x.test", ["b@y.test"], b"")
        client.docmd("WHAT")
        client.verify("b@y.test")
        client.rset()
    told = verbs(relay)
    once = ["MAIL:250", "RCPT:250", "DATA:354", "MESSAGE:250"]
    assert told[:7] == ["EHLO:250", "NOOP:250", "MAIL:250", "RCPT:250", *once[1:]]
    assert told[7:11] == once
    assert [verb[:5] for verb in told[11:]] == ["WHAT:", "VRFY:", "RSET:", "QUIT:"]


@pytest.mark.parametrize("password", ["secret", "wrong"])
@pytest.mark.parametrize("mechanism", ["login", "plain"])
def test_authentication(server: Address, mechanism: str, password: str) -> None:
    with Relay(server, SmtpFramer) as relay, smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as client:
        client.ehlo("me.test")
        client.user, client.password = "me", password
        try:
            client.auth(mechanism.upper(), getattr(client, f"auth_{mechanism}"), initial_response_ok=False)
        except smtplib.SMTPAuthenticationError:
            assert password == "wrong"
        client.mail("a@x.test")
    rounds = {"login": ["AUTH:334", "RESPONSE:334"], "plain": ["AUTH:334"]}[mechanism]
    last = "RESPONSE:235" if password == "secret" else "RESPONSE:535"
    assert verbs(relay) == ["EHLO:250", *rounds, last, "MAIL:250", "QUIT:221"]


def test_authentication_in_one_round_and_given_up(server: Address) -> None:
    with Relay(server, SmtpFramer) as relay, smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as client:
        client.ehlo("me.test")
        assert client.docmd("AUTH", "LOGIN")[0] == 334
        assert client.docmd("*")[0] == 501
        client.login("me", "secret")
    assert verbs(relay)[1:3] == ["AUTH:334", "RESPONSE:501"]


def test_commands_in_one_go(exim: Address) -> None:
    with Relay(exim, SmtpFramer) as relay, smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as client:
        client.ehlo("me.test")
        client.send(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<nobody@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n")
        assert [client.getreply()[0] for _ in range(4)] == [250, 550, 250, 354]
        client.send(b"\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<nobody@x.test>\r\nDATA\r\n")
        assert [client.getreply()[0] for _ in range(4)] == [250, 250, 550, 503]
    assert "DATA:503 QUIT:221" in " ".join(verbs(relay))


def test_a_mail_in_chunks(exim: Address) -> None:
    with Relay(exim, SmtpFramer) as relay, smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as client:
        client.ehlo("me.test")
        client.send(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n")
        client.send(b"BDAT %d\r\n%sBDAT 8 LAST\r\nQUIT\r\n.\r" % (len(MAIL), MAIL))
        assert [client.getreply()[0] for _ in range(4)] == [250] * 4
        client.send(b"BDAT 6\r\nRSET\r\n")
        client.getreply()
    assert verbs(relay)[1:5] == ["MAIL:250", "RCPT:250", "BDAT:250", "BDAT:250"]
    assert verbs(relay)[-2].startswith("BDAT:5")


def test_tls(exim: Address) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with Relay(exim, SmtpFramer) as relay, smtplib.SMTP("127.0.0.1", relay.port, timeout=60) as client:
        client.starttls(context=trusting)
        client.sendmail("a@x.test", ["b@y.test"], MAIL)
    assert verbs(relay) == ["EHLO:250", "STARTTLS:220"]


@pytest.mark.skipif(shutil.which("swaks") is None, reason="needs swaks")
def test_a_client_that_pipelines(exim: Address, tmp_path: Path) -> None:
    mail = tmp_path / "mail"
    mail.write_bytes(MAIL)
    with Relay(exim, SmtpFramer) as relay:
        swaks = ["swaks", "--server", "127.0.0.1", "--port", str(relay.port), "--pipeline", "--helo", "me.test"]
        swaks += ["--from", "a@x.test", "--to", "b@y.test,c@y.test", "--auth", "LOGIN", "-au", "me", "-ap", "secret"]
        subprocess.run([*swaks, "--data", f"@{mail}"], check=True, stdout=subprocess.DEVNULL, timeout=60)
    assert verbs(relay)[-6:] == ["MAIL:250", "RCPT:250", "RCPT:250", "DATA:354", "MESSAGE:250", "QUIT:221"]
    assert "RESPONSE:235" in verbs(relay)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(server: Address, tmp_path: Path) -> None:
    mail = tmp_path / "mail"
    mail.write_bytes(MAIL)
    with Relay(server, SmtpFramer) as relay:
        curl = [
            "curl",
            "--silent",
            "--show-error",
            f"smtp://127.0.0.1:{relay.port}/me.test",
            "--upload-file",
            str(mail),
        ]
        curl += ["--mail-from", "a@x.test", "--mail-rcpt", "b@y.test", "--user", "me:secret", "--max-time", "30"]
        subprocess.run(curl, check=True, timeout=60)
    assert verbs(relay)[-5:] == ["MAIL:250", "RCPT:250", "DATA:354", "MESSAGE:250", "QUIT:221"]
