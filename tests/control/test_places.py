"""The pointer of an error that is found below the interface: when a proxy is made, or started."""

from __future__ import annotations

import json
import socket

import pytest

from vaurien import plugins
from vaurien.model import AUTO

BOTH = "{folder}/both.pem"

CASES = {
    "a certificate that is not there": ({"tls": "{folder}/none.pem"}, 400, "/tls"),
    "a certificate that is none": ({"tls": "{folder}/junk.pem"}, 400, "/tls"),
    "the second certificate": ({"tls": [BOTH, "{folder}/none.pem"]}, 400, "/tls"),
    "a certificate without its key": ({"tls": "{folder}/cert.pem"}, 400, "/tls"),
    "the key of another one": ({"tls": "{folder}/cert.pem", "tls_key": ["{folder}/other.key"]}, 400, "/tls_key"),
    "too many keys": ({"tls": BOTH, "tls_key": [BOTH, BOTH]}, 400, "/tls_key"),
    "a passphrase that is not there": (
        {"tls": BOTH, "tls_passphrase_file": "{folder}/no"},
        400,
        "/tls_passphrase_file",
    ),
    "no authority in the folder": ({"tls": AUTO, "tls_authority": "{folder}"}, 400, "/tls_authority"),
    "no authority at all": ({"tls": AUTO}, 400, "/tls"),
    "an authority of clients that is none": (
        {"tls": BOTH, "tls_client_ca": "{folder}/junk.pem"},
        400,
        "/tls_client_ca",
    ),
    "an unknown cipher": ({"tls": BOTH, "tls_ciphers": "NOPE"}, 400, "/tls_ciphers"),
    "versions": ({"tls": BOTH, "tls_min_version": "1.3", "tls_max_version": "1.2"}, 400, "/tls_min_version"),
    "a long protocol": ({"tls": BOTH, "tls_alpn": ["h" * 256]}, 400, "/tls_alpn"),
    "a backend's authority": ({"backend": "tls://localhost:1?ca={folder}/none.pem"}, 400, "/backend"),
    "a backend's certificate": ({"backend": "tls://localhost:1?certificate={folder}/junk.pem"}, 400, "/backend"),
    "a legacy plugin": ({"tls": BOTH, "mix": "50:tests.legacy_plugins.Forward"}, 400, "/tls"),
    "an address in use": ({"listen": "127.0.0.1:{port}"}, 409, "/listen"),
    "an address of another machine": ({"listen": "192.0.2.1:0"}, 409, "/listen"),
    "a folder that is not there": ({"listen": "unix:{folder}/none/socket"}, 409, "/listen"),
    "a route": ({"route": ["x"]}, 400, "/route"),
    "a proxy upstream": ({"upstream_proxy": "localhost:1"}, 400, "/upstream_proxy"),
    "a field of another protocol": (
        {"faults": [{"behavior": "noop", "name": "other"}, {"behavior": "delay", "match": {"path": "/"}}]},
        400,
        "/faults/1/match/path",
    ),
    "a pattern": ({"faults": [{"behavior": "delay", "match": {"sni": "regex:("}}]}, 400, "/faults/0/match/sni"),
    "a network": ({"faults": [{"behavior": "delay", "match": {"client": "x"}}]}, 400, "/faults/0/match/client"),
    "a scope": ({"faults": [{"behavior": "hang", "scope": "chunk"}]}, 400, "/faults/0/scope"),
    "a share of a port": ({"faults": [{"behavior": "refuse", "probability": 0.5}]}, 400, "/faults/0/probability"),
    "a fault of another protocol": ({"faults": [{"behavior": "http_status"}]}, 400, "/faults/0/behavior"),
    "a share of another protocol": ({"mix": "10:http_status"}, 400, "/mix"),
    "an option of another protocol": (
        {"faults": [{"behavior": "error", "name": "f", "options": {"status": 500}}]},
        400,
        "/faults/0/options/status",
    ),
    "an option of another protocol, of a behavior made from another": (
        {"faults": [{"behavior": "transient", "name": "f", "options": {"status": 500}}]},
        400,
        "/faults/0/options/status",
    ),
    "two options": (
        {"faults": [{"behavior": "slicer", "options": {"average_size": 1, "size_variation": 2}}]},
        400,
        "/faults/0/options",
    ),
    "options of a share": ({"mix": [{"percent": 1, "behavior": "error", "options": {"status": 500}}]}, 400, "/mix"),
    "a circle": ({"name": "round", "listen": "127.0.0.1:9", "backend": "127.0.0.1:9"}, 400, "/backend"),
}
"""The fields of a proxy that are sent; the status, and the pointer from that proxy."""


@pytest.fixture
def files(tmp_path):
    authority = pytest.importorskip("vaurien.tls.authority").Authority.create()
    pair, other = authority.issue(["localhost"]), authority.issue(["localhost"])
    for name, content in {
        "both.pem": pair.chain + pair.key,
        "cert.pem": pair.chain,
        "other.key": other.key,
        "junk.pem": b"junk",
    }.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def served(shared_interface, files, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(files / "none"))
    shared_interface.hub.tls_files.allow(["/*"])
    plugins.allow(["tests.legacy_plugins.*"])
    yield shared_interface
    plugins.allow([])
    shared_interface.hub.tls_files.allow([])
    shared_interface.clear()


@pytest.mark.parametrize("case", CASES)
def test_every_error_of_a_proxy_points_to_its_field(served, files, case):
    sent, status, pointer = CASES[case]
    with socket.create_server(("127.0.0.1", 0)) as busy:
        values = {"{folder}": str(files), "{port}": str(busy.getsockname()[1])}
        text = json.dumps({"name": "new", "backend": "127.0.0.1:9", **sent})
        for mark, value in values.items():
            text = text.replace(mark, value)
        body = json.loads(text)
        change = {name: value for name, value in body.items() if name != "name"}
        served.proxy("there")
        before = served.get("/api/v1/config")
        for method, path, content, place in (
            ("POST", "/api/v1/proxies", body, pointer),
            ("PATCH", "/api/v1/proxies/there", change, pointer),
            ("PUT", "/api/v1/config", {"proxies": [*before["proxies"], body]}, f"/proxies/1{pointer}"),
        ):
            answer = served.ask(method, path, content)
            assert (answer.status, answer.json["error"].get("pointer")) == (status, place), answer
            if method != "PUT":
                assert served.get("/api/v1/config")["proxies"] == before["proxies"]


@pytest.mark.parametrize("case", [case for case, (sent, *_) in CASES.items() if "faults" in sent])
def test_every_error_of_a_fault_points_to_its_field(served, case):
    sent, status, pointer = CASES[case]
    fault, place = sent["faults"][-1], "/" + pointer.split("/", 3)[3]
    served.proxy("there")
    answer = served.ask("POST", "/api/v1/proxies/there/faults", fault)
    assert (answer.status, answer.json["error"].get("pointer")) == (status, place)
    if place == "/behavior":
        return  # a fault keeps its behavior
    plain = {"behavior": fault["behavior"], "name": "f"}
    assert served.ask("POST", "/api/v1/proxies/there/faults", plain).status == 201
    change = {name: value for name, value in fault.items() if name not in plain}
    answer = served.ask("PATCH", "/api/v1/proxies/there/faults/f", change)
    assert (answer.status, answer.json["error"].get("pointer")) == (status, place)


def test_a_name_that_is_there(served):
    served.proxy("there", faults=[{"behavior": "noop"}])
    answer = served.ask("POST", "/api/v1/proxies", {"name": "there", "backend": "127.0.0.1:9"})
    assert (answer.status, answer.json["error"]["pointer"]) == (409, "/name")
    answer = served.ask("POST", "/api/v1/proxies/there/faults", {"behavior": "noop"})
    assert (answer.status, answer.json["error"]["pointer"]) == (409, "/name")


def test_a_mix_of_another_protocol(served):
    served.proxy("there")
    answer = served.ask("PUT", "/api/v1/proxies/there/mix", {"mix": "10:http_status"})
    assert (answer.status, answer.json["error"]["pointer"]) == (400, "/mix")


def test_what_is_of_no_field_has_no_pointer(served):
    served.proxy("there")
    for method, path, body, status in (
        ("PATCH", "/api/v1/proxies/none", {"timeout": 1}, 404),
        ("PATCH", "/api/v1/proxies/there/faults/none", {"probability": 1}, 404),
        ("PUT", "/api/v1/config?revision=0", {"proxies": []}, 409),
    ):
        answer = served.ask(method, path, body)
        assert (answer.status, answer.json["error"].get("pointer")) == (status, None)
