"""The settings of TLS with clients that cannot be, and the contexts that are kept."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import threading
from types import SimpleNamespace

import msgspec
import pytest

import vaurien
from tests.tls_peers import echo, server_context, serving
from tests.waiting import PATIENCE
from vaurien.engine.net import server_contexts
from vaurien.engine.net.server_contexts import ServerContexts
from vaurien.errors import ConfigError, OptionError
from vaurien.events import Failed
from vaurien.model import ClientTls
from vaurien.tls.authority import Authority, Flaw

AUTO = ClientTls(("auto",))
authority = functools.cache(Authority.create)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ciphers": "NOPE"},
            "tls_ciphers: 'NOPE' is not valid; expected ciphers up to TLS 1.2 as `openssl ciphers` takes them",
        ),
        (
            {"alpn": ("h2", "ä")},
            "tls_alpn: 'h2,ä' is not valid; expected names of 1 to 255 ASCII characters, such as h2",
        ),
        ({"alpn": ("h" * 256,)}, "is not valid; expected names of 1 to 255 ASCII characters"),
        ({"min_version": "1.3", "max_version": "1.2"}, "tls_min_version: '1.3' is not valid; expected at most tls_max"),
        (
            {"client_ca": "/nowhere"},
            "tls_client_ca: '/nowhere' is not valid; expected a PEM file with certificates (No",
        ),
        ({"client_ca": __file__}, "expected a PEM file with certificates (it has none that can be read)"),
        (
            {"keys": ("a.pem",)},
            "tls_key: ['a.pem'] is not valid; expected no key beside tls = auto, which makes its own",
        ),
        ({"certificates": ("auto", "a.pem")}, "tls: ['auto', 'a.pem'] is not valid; expected auto alone, or files"),
        (
            {"certificates": ("a.pem", "b.pem"), "keys": ("a.key",)},
            "tls_key: ['a.key'] is not valid; expected as many keys as certificates (2), or none",
        ),
        (
            {"certificates": ("a.pem",), "passphrase_file": "/nowhere"},
            "tls_passphrase_file: '/nowhere' is not valid; expected a file that can be read (No such file",
        ),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(OptionError) as raised:
        ServerContexts(msgspec.structs.replace(AUTO, **changes), authority)
    assert message in str(raised.value)


def test_without_an_authority(tmp_path):
    with pytest.raises(ConfigError, match=r"ca.pem: cannot be read: No such file or directory; run `vaurien ca`"):
        ServerContexts(AUTO, lambda: Authority.load(tmp_path))


def test_contexts_are_made_once_and_not_kept_without_a_bound(monkeypatch):
    monkeypatch.setattr(server_contexts, "_MOST", 3)
    contexts = ServerContexts(AUTO, authority)
    first = contexts.find("a.test", "127.0.0.1")
    assert contexts.find("a.test", "127.0.0.2") is first
    for name in ("b.test", "c.test"):
        contexts.find(name, "127.0.0.1")
    assert contexts.find("a.test", "127.0.0.1") is first
    for name in ("d.test", "e.test", "f.test"):
        contexts.find(name, "127.0.0.1")
    assert contexts.find("a.test", "127.0.0.1") is not first


def test_an_answer_of_a_fault_has_a_context_of_its_own():
    contexts = ServerContexts(AUTO, authority)
    usual = contexts.find("a.test", "127.0.0.1")
    old = msgspec.structs.replace(AUTO, max_version="1.2")
    assert contexts.find("a.test", "127.0.0.1", old).maximum_version < usual.maximum_version
    assert contexts.find("a.test", "127.0.0.1", None, Flaw.EXPIRED) is not usual
    assert contexts.find("a.test", "127.0.0.1", None, Flaw.WEAK_KEY) is not usual
    assert contexts.find("a.test", "127.0.0.1", resumes=False).num_tickets == 0
    assert contexts.find("a.test", "127.0.0.1") is usual


def test_they_are_made_outside_of_the_loop_once_for_clients_that_ask_together():
    made = []

    def load():
        made.append(threading.get_ident())
        return authority()

    contexts = ServerContexts(AUTO, load)
    made.clear()

    async def ask():
        asked = contexts.ask("a.test", "127.0.0.1")
        assert contexts.kept(asked) is None
        first, second = await asyncio.gather(contexts.make(asked), contexts.make(contexts.ask("a.test", "127.0.0.2")))
        assert first is second is contexts.kept(asked)
        assert len(made) == 1
        assert threading.get_ident() not in made
        nonsense = msgspec.structs.replace(AUTO, ciphers="nonsense")
        with pytest.raises(OptionError, match="tls_ciphers"):
            await contexts.make(contexts.ask("a.test", "127.0.0.1", nonsense))
        apart = contexts.ask("a.test", "127.0.0.1", shared=False)
        assert await contexts.make(apart) is not await contexts.make(apart)

    asyncio.run(ask())


def test_no_certificate_is_made_before_a_client_asks_for_it(tmp_path):
    threads = []

    class Watched(Authority):
        """Remembers where it has signed."""

        def issue(self, names, flaw=None):
            threads.append(threading.get_ident())
            return super().issue(names, flaw)

    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority().certificate)
    settings = msgspec.structs.replace(AUTO, client_ca=str(ca))
    contexts = ServerContexts(settings, functools.cache(Watched.create))
    ca.write_bytes(Authority.create().certificate)  # what was made before is made anew
    asked = contexts.ask("a.test", "127.0.0.1")
    assert threads == []
    asyncio.run(contexts.make(asked))
    [thread] = threads
    assert thread != threading.get_ident()


def test_leafs_are_renewed(monkeypatch):
    contexts = ServerContexts(AUTO, authority)
    first = contexts.find("a.test", "127.0.0.1")
    monkeypatch.setattr(server_contexts, "time", SimpleNamespace(monotonic=lambda: 1e9))
    assert contexts.find("a.test", "127.0.0.1") is not first


def test_a_certificate_that_has_expired_is_warned_of(tmp_path):
    pair = authority().issue(["db.test"], Flaw.EXPIRED)
    (tmp_path / "own.pem").write_bytes(pair.chain + pair.key)
    [warning] = ServerContexts(ClientTls((str(tmp_path / "own.pem"),)), authority).warnings
    assert warning.startswith(f"tls: the certificate in {tmp_path / 'own.pem'} expired on 20")
    assert warning.endswith(": clients refuse it")


def shown(proxy, ca):
    """The names in the certificate that a client gets."""
    context = ssl.create_default_context(cadata=ca.certificate.decode())
    context.check_hostname = False
    with socket.create_connection((proxy.host, proxy.port), PATIENCE) as raw:
        with context.wrap_socket(raw, server_hostname="a.test") as secure:
            return [name for _, name in secure.getpeercert()["subjectAltName"]]


def test_a_certificate_that_is_renewed_is_for_the_next_client(tmp_path):
    own, key = tmp_path / "own.pem", tmp_path / "own.key"

    def write(path, data):
        path.with_suffix(".new").write_bytes(data)
        path.with_suffix(".new").replace(path)

    before, after = authority().issue(["before.test"]), authority().issue(["after.test"])
    write(own, before.chain)
    write(key, before.key)
    with serving(None, echo) as address:
        with vaurien.Proxy(address, tls=str(own), tls_key=str(key)) as proxy:
            assert shown(proxy, authority()) == ["before.test"]
            write(own, after.chain)  # and the key is not there yet
            assert shown(proxy, authority()) == ["before.test"]
            assert shown(proxy, authority()) == ["before.test"]
            [failed] = [event for event in proxy.events if isinstance(event, Failed)]
            assert failed.where == "tls"
            assert "own.key" in failed.error
            assert failed.error.endswith("; clients get what was there before")
            write(key, after.key)
            assert shown(proxy, authority()) == ["after.test"]
            own.unlink()
            assert shown(proxy, authority()) == ["after.test"]


def test_an_authority_that_changes_is_for_the_next_backend(tmp_path):
    other, ca = Authority.create(), tmp_path / "ca.pem"
    ca.write_bytes(other.certificate)
    with serving(server_context(authority().issue(["localhost"])), echo) as address:
        with vaurien.Proxy(f"tls://localhost:{address[1]}?ca={ca}") as proxy:
            for trusted in (False, True):
                # a reset may come before connect returns
                with contextlib.nullcontext() if trusted else contextlib.suppress(ConnectionResetError):
                    with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
                        client.sendall(b"hello")
                        assert client.recv(5) == (b"hello" if trusted else b"")
                ca.write_bytes(authority().certificate)
