"""TLS of a proxy on each surface: files are named, and what is in them is not shown."""

from __future__ import annotations

import json
import ssl

import pytest

from tests.tls_peers import TlsClient
from vaurien import config
from vaurien.config import Given
from vaurien.tls.authority import Authority


@pytest.fixture
def served(shared_interface):
    yield shared_interface
    shared_interface.clear()


@pytest.fixture
def files(tmp_path):
    """An authority in a folder, and a certificate with its key in a file."""
    authority = Authority.create()
    authority.save(tmp_path)
    pair = authority.issue(["localhost"])
    (tmp_path / "own.pem").write_bytes(pair.chain + pair.key)
    return tmp_path


def context(files):
    return ssl.create_default_context(cafile=files / "ca.pem")


def ask(address, files):
    host, _, port = address.rpartition(":")
    with TlsClient((host, int(port)), context(files)) as client:
        return client.exchange(b"hello")


def test_a_proxy_with_tls_from_its_beginning_to_its_end(served, echo, files):
    own, key = str(files / "own.pem"), (files / "own.pem").read_text().partition("PRIVATE KEY-----\n")[2][:40]
    made = served.ask("POST", "/api/v1/proxies", {"name": "one", "backend": str(echo), "tls": own})
    assert made.status == 201, made
    assert made.json["tls"] == [own]
    assert ask(made.json["address"], files) == b"hello"
    changed = served.ask("PATCH", "/api/v1/proxies/one", {"tls": ["auto"], "tls_authority": str(files)})
    assert changed.status == 200, changed
    assert ask(changed.json["address"], files) == b"hello"
    for path in ("/api/v1/config", "/api/v1/proxies", "/api/v1/proxies/one"):
        shown = json.dumps(served.get(path))
        assert str(files) in shown
        assert "PRIVATE" not in shown
        assert key not in shown


def test_a_file_that_cannot_be_used_is_refused(served, echo):
    answer = served.ask("POST", "/api/v1/proxies", {"name": "one", "backend": str(echo), "tls": "/nowhere.pem"})
    assert answer.status == 400, answer
    assert "tls: '/nowhere.pem' is not valid; expected a PEM file with a certificate, or auto (No such file" in str(
        answer.json
    )


def loaded(path):
    [made] = config.load({}, {}, Given(str(path), "--config")).proxies
    return made


def test_files_and_flags_say_the_same(tmp_path):
    toml, ini, table = tmp_path / "chaos.toml", tmp_path / "chaos.ini", tmp_path / "several.toml"
    options = 'tls = "a.pem,b.pem"\ntls_key = ["a.key", "b.key"]\ntls_min_version = "1.3"\ntls_alpn = "h2,http/1.1"\n'
    toml.write_text(f"[vaurien]\nseed = 1\n{options}starttls = false\n")
    ini.write_text(
        "[vaurien]\nseed = 1\ntls = a.pem,b.pem\ntls_key = a.key,b.key\ntls_min_version = 1.3\n"
        "tls_alpn = h2,http/1.1\nstarttls = no\n"
    )
    table.write_text(f'[vaurien]\nseed = 1\n[[proxy]]\nname = "vaurien"\n{options}starttls = false\n')
    flags = {
        ("vaurien", name): Given(value, f"--{name}")
        for name, value in {
            "tls": "a.pem,b.pem",
            "tls_key": "a.key,b.key",
            "tls_min_version": "1.3",
            "tls_alpn": "h2,http/1.1",
            "starttls": "no",
            "seed": "1",
        }.items()
    }
    [by_flags] = config.load(flags, {}).proxies
    for other in (loaded(toml), loaded(ini), loaded(table)):
        assert (other.client_tls, other.starttls) == (by_flags.client_tls, False)
    assert by_flags.client_tls is not None
    assert by_flags.client_tls.certificates == ("a.pem", "b.pem")
    assert by_flags.client_tls.min_version == "1.3"
