"""smtplib through a proxy in front of mail servers."""

from __future__ import annotations

import smtplib
import ssl
from pathlib import Path

import pytest

from tests.integration import exchanges
from tests.integration.exchanges import CALM, accepted, chosen, drawn, fault, framed, mix_errors
from tests.protocols.servers import Address
from tests.running import PATIENCE
from tests.servers import Server
from vaurien.events import Closed, Injected
from vaurien.protocols.smtp import Smtp

pytestmark = pytest.mark.server

MAIL = b"Subject: caf\xc3\xa9\r\n\r\n.\r\n..\r\n" + b"x" * 900 + b"\r\n.end\r\n" * 20_000
STAYS = [code for code in Smtp.error_codes if code != "421"]


@pytest.fixture(params=["aiosmtpd", "exim"])
def server(request: pytest.FixtureRequest) -> Server:
    return served(request.getfixturevalue(request.param))


def served(address: Address) -> Server:
    return Server(*address, Path(), 0)


def client(address: Address) -> smtplib.SMTP:
    return smtplib.SMTP(*address, timeout=PATIENCE, local_hostname="me.test")


def mails(host: str, port: int) -> object:
    with client((host, port)) as one:
        results: list[object] = [one.ehlo()[0], sorted(one.esmtp_features), one.noop()[0]]
        one.login("me", "secret")
        results += [one.sendmail("a@x.test", ["b@y.test", "c@y.test"], MAIL, mail_options=["BODY=8BITMIME"])]
        results += [one.sendmail("a@x.test", ["b@y.test"], b""), one.docmd("WHAT")[0], one.verify("b@y.test")[0]]
        results += [one.rset()[0], one.docmd("MAIL", "FROM:<>")[0], one.docmd("RCPT", "nonsense")[0]]
        return [*results, one.docmd("DATA")[0], one.rset()[0], one.quit()[0]]


def wrong_passwords(host: str, port: int) -> object:
    with client((host, port)) as one:
        with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
            one.login("me", "wrong")
        return [caught.value.smtp_code, one.noop()[0]]


def encrypted(host: str, port: int) -> object:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with client((host, port)) as one:
        return [one.starttls(context=trusting)[0], one.sendmail("a@x.test", ["b@y.test"], MAIL), one.noop()[0]]


def chunks(host: str, port: int) -> object:
    """In one go, as no client library sends it."""
    with client((host, port)) as one:
        one.ehlo()
        one.send(b"MAIL FROM:<a@x.test>\r\nRCPT TO:<nobody@x.test>\r\nRCPT TO:<b@y.test>\r\n")
        one.send(b"BDAT %d\r\n%sBDAT 8 LAST\r\nQUIT\r\n.\r" % (len(MAIL), MAIL))
        return [one.getreply()[0] for _ in range(5)]


@pytest.mark.parametrize("policy", CALM)
@pytest.mark.parametrize("work", [mails, wrong_passwords])
def test_clients_get_what_they_get_without_a_proxy(server: Server, policy: str, work) -> None:
    exchanges.same_as_without(work, server, "smtp", policy, least=4)


@pytest.mark.parametrize("policy", CALM)
@pytest.mark.parametrize("work", [encrypted, chunks])
def test_extensions_work(exim: Address, policy: str, work) -> None:
    exchanges.same_as_without(work, served(exim), "smtp", policy, least=2)


@pytest.mark.parametrize("code", STAYS)
def test_each_error_is_what_the_client_knows_it_as(server: Server, code: str) -> None:
    with framed(server, "smtp") as proxy, client(proxy.address) as one:
        one.ehlo()
        proxy.set_policy("", fault("error", code=code))
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            one.sendmail("a@x.test", ["b@y.test"], MAIL)
        assert refused.value.smtp_code == int(code)
        with pytest.raises(smtplib.SMTPAuthenticationError) as unknown:
            one.login("me", "secret")
        assert unknown.value.smtp_code == int(code)
        with pytest.raises(smtplib.SMTPResponseException):
            one.starttls() if one.has_extn("starttls") else one.auth("PLAIN", one.auth_plain)
        proxy.set_policy("")
        assert one.mail("a@x.test")[0] == 250
        proxy.set_policy("", fault("error", code=code))
        assert one.rcpt("b@y.test")[0] == int(code)
        proxy.set_policy("")
        assert one.rcpt("b@y.test")[0] == 250
        proxy.set_policy("", fault("error", code=code))
        with pytest.raises(smtplib.SMTPDataError) as data:
            one.data(MAIL)
        assert data.value.smtp_code == int(code)
        proxy.set_policy("")
        assert one.rset()[0] == 250
        assert one.sendmail("a@x.test", ["b@y.test"], MAIL) == {}
        assert accepted(proxy) == 1


def test_421_ends_the_connection(server: Server) -> None:
    with framed(server, "smtp") as proxy:
        one = client(proxy.address)
        one.ehlo()
        proxy.set_policy("", fault("error", code="421"))
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            one.sendmail("a@x.test", ["b@y.test"], MAIL)
        assert refused.value.smtp_code == 421
        (end,) = proxy.events.wait(Closed)
        assert end.end == "closed after an error reply"
        one.close()


def test_the_seed_says_which_commands_fail(server: Server) -> None:
    with framed(server, "smtp", seed="7") as proxy, client(proxy.address) as one:
        mix_errors(proxy, 20, "451")
        codes = [one.docmd("RSET")[0] for _ in range(1000)]
        proxy.set_policy("")
        assert accepted(proxy) == 1
    failed = {number for number, code in enumerate(codes, 1) if code == 451}
    assert failed == drawn(1000, 20, seed="7") == chosen(proxy)
    assert set(codes) == {250, 451}


def test_the_seed_says_which_pipelined_commands_fail(exim: Address) -> None:
    with framed(served(exim), "smtp") as proxy, client(proxy.address) as one:
        one.ehlo()
        mix_errors(proxy, 20, "452")
        one.send(b"RSET\r\n" * 1000)
        codes = [one.getreply()[0] for _ in range(1000)]
        proxy.set_policy("")
    assert {number for number, code in enumerate(codes, 1) if code == 452} == drawn(1000, 20)
    assert set(codes) == {250, 452}


def test_abort_lets_the_backend_do_its_work(server: Server) -> None:
    with framed(server, "smtp") as proxy:
        one = client(proxy.address)
        one.ehlo()
        proxy.set_policy("100:abort")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            one.mail("a@x.test")
        assert proxy.events.wait(Closed)[0].end == "closed by abort"


def test_blackout_and_hang(server: Server) -> None:
    with framed(server, "smtp") as proxy:
        one = client(proxy.address)
        one.ehlo()
        proxy.set_policy("100:blackout")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            one.mail("a@x.test")
        proxy.set_policy("")
        with client(proxy.address) as one:
            one.ehlo()
            proxy.set_policy("100:hang")
            one.putcmd("NOOP")
            proxy.events.wait(Injected, 2)
            proxy.set_policy("")
            assert one.getreply()[0] == 250
            assert one.docmd("RSET")[0] == 250, "what comes behind what was read ahead went on, too"


def test_transient_fails_at_first(server: Server) -> None:
    with framed(server, "smtp") as proxy, client(proxy.address) as one:
        one.ehlo()
        proxy.set_policy("", fault("transient", agitate=2, warmup=1, code="450"))
        assert [one.noop()[0] for _ in range(5)] == [250, 450, 450, 250, 250]


def test_a_refused_mail_ends_the_connection(exim: Address) -> None:
    """The backend waits for it and cannot be told otherwise."""
    with framed(served(exim), "smtp") as proxy:
        one = client(proxy.address)
        one.ehlo()
        for command in ("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>"):
            assert one.docmd(command)[0] == 250
        assert one.docmd("DATA")[0] == 354
        proxy.set_policy("", fault("error", code="452"))
        one.send(MAIL + b"\r\n.\r\n")
        assert one.getreply()[0] == 452
        assert proxy.events.wait(Closed)[0].end == "closed after an error reply"
        one.close()
