"""The framer between real clients and mail servers: aiosmtpd, and Exim, which has PIPELINING, CHUNKING and TLS."""

from __future__ import annotations

import shutil
import smtplib
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.protocols.relay import Relay
from tests.protocols.servers import Address
from vaurien.protocols.smtp import SmtpFramer

pytestmark = pytest.mark.server


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
