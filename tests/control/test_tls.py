"""TLS of a proxy on each surface: files are named, and what is in them is not shown."""

from __future__ import annotations

import json
import ssl

import pytest

from tests.tls_peers import TlsClient
from vaurien import config
from vaurien.config import Given
from vaurien.model import Address, ProxyConfig
from vaurien.tls.authority import Authority


@pytest.fixture
def served(shared_interface):
    shared_interface.hub.tls_files.allow(["/*"])
    yield shared_interface
    shared_interface.hub.tls_files.allow([])
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


FIELDS = {
    "backend": "tls://localhost:1?ca={}",
    "tls": "{}",
    "tls_key": ["{}"],
    "tls_passphrase_file": "{}",
    "tls_authority": "{}",
    "tls_client_ca": "{}",
}


def body(field, file):
    filled = [one.format(file) for one in FIELDS[field]] if field == "tls_key" else FIELDS[field].format(file)
    return {"name": "new", "backend": "localhost:1", "tls": "auto", field: filled}


@pytest.mark.parametrize("field", FIELDS)
def test_callers_name_no_file_that_the_program_was_not_started_with(shared_interface, field):
    served = shared_interface
    served.run(
        served.hub.create(ProxyConfig(name="there", listen=Address("127.0.0.1", 0), backend=Address("localhost", 1)))
    )
    before = served.get("/api/v1/config")
    asked = body(field, "/etc/hostname")
    change = {key: value for key, value in asked.items() if key != "name"}
    ways = {
        ("POST", "/api/v1/proxies"): (asked, f"/{field}"),
        ("PATCH", "/api/v1/proxies/there"): (change, f"/{field}"),
        ("PUT", "/api/v1/config"): ({"proxies": [asked]}, f"/proxies/0/{field}"),
    }
    for (method, path), (content, pointer) in ways.items():
        answer = served.ask(method, path, content)
        assert answer.status == 400, answer
        assert answer.json["error"]["pointer"] == pointer
        assert "'/etc/hostname' is not valid; expected a file that the program was started" in str(answer.json)
        assert "--allow-tls-file '/etc/hostname'" in str(answer.json)
    assert served.get("/api/v1/config") == before
    served.clear()


def test_callers_of_toxiproxys_routes_name_no_such_file_either(shared_interface):
    served = shared_interface
    served.run(
        served.hub.create(ProxyConfig(name="there", listen=Address("127.0.0.1", 0), backend=Address("localhost", 1)))
    )
    upstream = "tls://localhost:1?ca=/etc/hostname"
    new = {"name": "new", "listen": "127.0.0.1:0", "upstream": upstream}
    for path, content in (("/proxies", new), ("/proxies/there", {"upstream": upstream}), ("/populate", [new])):
        answer = served.ask("POST", path, content)
        assert answer.status == 400, answer
        assert b"--allow-tls-file" in answer.body
    assert list(served.get("/proxies")) == ["there"]
    served.clear()


def test_callers_name_the_files_that_a_pattern_or_the_start_permits(shared_interface, files):
    served, own = shared_interface, str(files / "own.pem")
    one = ProxyConfig(name="there", listen=Address("127.0.0.1", 0), backend=Address("localhost", 1), tls=(own,))
    served.run(served.hub.create(one))
    served.run(served.hub.delete("there"))
    created = served.ask("POST", "/api/v1/proxies", {"name": "new", "backend": "localhost:1", "tls": own})
    assert created.status == 201, created
    served.hub.tls_files.allow([str(files / "*.pem")])
    changed = served.ask("PATCH", "/api/v1/proxies/new", {"tls_client_ca": str(files / "ca.pem")})
    assert changed.status == 200, changed
    outside = str(files / "x.pem" / ".." / ".." / "y.pem")
    assert served.ask("PATCH", "/api/v1/proxies/new", {"tls_client_ca": outside}).status == 400
    served.hub.tls_files.allow([])
    served.clear()
