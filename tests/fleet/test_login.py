"""Ways to log in to a real NATS server: token, password, NKey, credentials file; and TLS."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time

import pytest

from tests.nats_server import NatsServer
from vaurien.errors import OptionError
from vaurien.fleet.store import StoreAway
from vaurien.tls.authority import Authority


def enters(url, **login):
    """Whether a store of this login opens, takes a write, and has it read by another."""
    from vaurien.fleet.nats_store import NatsStore, Where

    async def play():
        where = Where.parse(url, **login)
        where.check()
        one, other = NatsStore(where), NatsStore(where)
        try:
            await one.open()
            await one.put("key", b"1", revision=0)
            await other.open()
            assert other.entries["key"].value == b"1"
            assert await one.claim("node.a", b"x", revision=0)
            await one.record(b"line")
        finally:
            await one.close()
            await other.close()

    asyncio.run(asyncio.wait_for(play(), 60))


@pytest.fixture
def serve(tmp_path):
    """Start a server with further arguments, or with the text of a configuration."""
    servers = []

    def start(*arguments, config=""):
        (tmp_path / "nats.conf").write_text(config)
        more = [*arguments, *(["--config", str(tmp_path / "nats.conf")] if config else [])]
        server = NatsServer(tmp_path / "js", more=more)
        servers.append(server)
        server.start()
        return f"127.0.0.1:{server.port}"

    yield start
    for server in servers:
        server.stop()


def refused(url, secret, **login):
    with pytest.raises(StoreAway, match=r"^no NATS with JetStream at .*(Authorization|authorization)") as raised:
        enters(url, **login)
    assert secret not in str(raised.value)


def test_a_token(serve):
    place = serve("--auth", "s3cret")
    enters(f"nats://s3cret@{place}")
    refused(f"nats://0ther@{place}", "0ther")


def test_a_user_and_a_password(serve):
    place = serve("--user", "chaos", "--pass", "s3cret")
    enters(f"nats://chaos:s3cret@{place}")
    refused(f"nats://chaos:0ther@{place}", "0ther")


def key(prefix):
    """A new key pair of NATS."""
    import nkeys

    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), prefix)))


def test_an_nkey(serve, tmp_path):
    nkeys = pytest.importorskip("nkeys")
    mine, other = key(nkeys.PREFIX_BYTE_USER), key(nkeys.PREFIX_BYTE_USER)
    place = serve(config=f"authorization {{ users = [{{ nkey: {mine.public_key.decode()} }}] }}")
    for name, pair in (("mine", mine), ("other", other)):
        (tmp_path / name).write_bytes(bytes(pair.seed) + b"\n")
    enters(f"nats://{place}", nkey=str(tmp_path / "mine"))
    refused(f"nats://{place}", bytes(other.seed).decode(), nkey=str(tmp_path / "other"))


def token(by, of, name, **claims):
    """A JWT of NATS in which *by* says who *of* is (https://docs.nats.io, "JWTs")."""

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    issued = {"jti": name, "iat": int(time.time()), "iss": by.public_key.decode(), "sub": of.public_key.decode()}
    text = part({"typ": "JWT", "alg": "ed25519-nkey"}) + b"." + part({**issued, "name": name, "nats": claims})
    return (text + b"." + base64.urlsafe_b64encode(by.sign(text)).rstrip(b"=")).decode()


def test_a_credentials_file(serve, tmp_path):
    """Of an account of its own, as production has it: an operator, a resolver of accounts, a user's JWT and seed."""
    nkeys = pytest.importorskip("nkeys")
    operator, account, system, user, stranger = (
        key(prefix)
        for prefix in (
            nkeys.PREFIX_BYTE_OPERATOR,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_USER,
            nkeys.PREFIX_BYTE_ACCOUNT,
        )
    )
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    stored = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)  # the system's account has none
    names = {
        one.public_key.decode(): token(operator, one, "account", limits=limits, type="account", version=2)
        for one, limits in ((account, {**unlimited, **stored, "wildcards": True}), (system, unlimited))
    }
    preload = "\n".join(f"{name}: {text}" for name, text in names.items())
    place = serve(
        config=f"operator: {token(operator, operator, 'operator', type='operator', version=2)}\n"
        f"system_account: {system.public_key.decode()}\nresolver: MEMORY\nresolver_preload: {{\n{preload}\n}}\n"
    )
    for name, by in (("chaos.creds", account), ("stranger.creds", stranger)):
        text = token(by, user, "user", subs=-1, data=-1, payload=-1, type="user", version=2)
        (tmp_path / name).write_text(
            f"-----BEGIN NATS USER JWT-----\n{text}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{bytes(user.seed).decode()}\n------END USER NKEY SEED------\n"
        )
    enters(f"nats://{place}", credentials=str(tmp_path / "chaos.creds"))
    refused(f"nats://{place}", bytes(user.seed).decode(), credentials=str(tmp_path / "stranger.creds"))


def test_tls_of_an_authority_that_is_trusted_and_of_another(serve, tmp_path):
    authority, other = Authority.create("fleet"), Authority.create("another")
    pair = authority.issue(["localhost", "127.0.0.1"])
    (tmp_path / "chain.pem").write_bytes(pair.chain)
    (tmp_path / "key.pem").write_bytes(pair.key)
    for name, one in (("ca", authority), ("other", other)):
        (tmp_path / f"{name}.pem").write_bytes(one.certificate)
    place = serve("--tls", "--tlscert", str(tmp_path / "chain.pem"), "--tlskey", str(tmp_path / "key.pem"))
    for scheme in ("tls", "nats"):
        enters(f"{scheme}://{place}/{scheme}", ca=str(tmp_path / "ca.pem"))
    with pytest.raises(StoreAway, match="certificate verify failed"):
        enters(f"tls://{place}", ca=str(tmp_path / "other.pem"))
    with pytest.raises(StoreAway, match="certificate verify failed"):
        enters(f"tls://{place}")


@pytest.mark.parametrize(
    ("login", "content", "message"),
    [
        ("credentials", None, "fleet-credentials: '.*' is not valid; expected a file that can be read"),
        ("nkey", None, "fleet-nkey: '.*' is not valid; expected a file that can be read"),
        ("ca", None, "fleet-ca: '.*' is not valid; expected a file that can be read"),
        ("credentials", "SUAB", "expected a file of credentials, as `nsc generate creds` makes it"),
        ("nkey", "S3CRET", "expected a file with the seed of an NKey, which begins with SU"),
        ("ca", "no certificate", "expected a file of certificates in PEM"),
    ],
)
def test_what_is_no_file_of_a_login(tmp_path, login, content, message):
    nats_store = pytest.importorskip("vaurien.fleet.nats_store")
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OptionError, match=message) as raised:
        nats_store.Where.parse("nats://h", **{login: str(path)}).check()
    assert "S3CRET" not in str(raised.value)


def test_two_logins_at_once():
    nats_store = pytest.importorskip("vaurien.fleet.nats_store")
    with pytest.raises(OptionError, match="expected -fleet-credentials or -fleet-nkey, not both"):
        nats_store.Where.parse("nats://h", credentials="a", nkey="b").check()
