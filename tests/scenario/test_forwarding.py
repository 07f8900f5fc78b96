"""What a command is told of a forward proxy, and the files by which it trusts what that shows."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.servers import require
from vaurien.model import Address
from vaurien.scenario import forwarding

PROXY = Address("127.0.0.1", 3128)


@pytest.fixture(scope="module")
def authority() -> Any:
    return pytest.importorskip("vaurien.tls.authority").Authority.create()


def test_a_command_is_led_through_the_proxy() -> None:
    with forwarding.variables(PROXY, [], {}, None) as found:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            assert found[name] == "http://127.0.0.1:3128"
        assert found["NO_PROXY"] == found["no_proxy"] == ""
        assert "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128" in found["JAVA_TOOL_OPTIONS"]
        assert not {*forwarding.BUNDLE, forwarding.MORE} & {*found}


def test_what_the_command_was_told_before_stays() -> None:
    given = {"NO_PROXY": "internal.test", "JAVA_TOOL_OPTIONS": "-Xmx1g", "NODE_OPTIONS": "--no-warnings"}
    with forwarding.variables(PROXY, [Address("127.0.0.1", 5432)], given, None) as found:
        assert found["NO_PROXY"] == "internal.test,127.0.0.1:5432"
        assert found["JAVA_TOOL_OPTIONS"].startswith("-Xmx1g ")
        assert "-Dhttp.nonProxyHosts='internal.test|127.0.0.1'" in found["JAVA_TOOL_OPTIONS"]
        assert found["NODE_OPTIONS"].startswith("--no-warnings --require=")


def test_a_bundle_has_the_systems_certificates_and_the_authoritys(authority: Any, tmp_path: Path) -> None:
    system = ssl.create_default_context().get_ca_certs(binary_form=True)
    with forwarding.variables(PROXY, [], {}, authority) as found:
        paths = {Path(found[name]) for name in forwarding.BUNDLE}
        assert len(paths) == 1
        trusted = ssl.create_default_context(cafile=str(*paths)).get_ca_certs(binary_form=True)
        own = ssl.PEM_cert_to_DER_cert(authority.certificate.decode())
        assert {*trusted} >= {*system, own}
        alone = ssl.create_default_context(cafile=found["NODE_EXTRA_CA_CERTS"]).get_ca_certs(binary_form=True)
        assert own in alone
        folder = paths.pop().parent
        assert folder.stat().st_mode & 0o077 == 0
        assert not [path for path in folder.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert not folder.exists()


def test_without_a_forward_proxy_there_is_trust_alone(authority: Any) -> None:
    given = {"JAVA_TOOL_OPTIONS": "-Xmx1g"}
    with forwarding.variables(None, [], given, authority) as found:
        assert set(found) == {*forwarding.BUNDLE, forwarding.MORE, "JAVA_TOOL_OPTIONS"}
        assert found["JAVA_TOOL_OPTIONS"].startswith("-Xmx1g -Djavax.net.ssl.trustStore=")
        assert "Proxy" not in found["JAVA_TOOL_OPTIONS"]


def test_a_bundle_that_the_command_has_already_is_trusted_on(authority: Any, tmp_path: Path) -> None:
    other = pytest.importorskip("vaurien.tls.authority").Authority.create()
    mine = tmp_path / "mine.pem"
    mine.write_bytes(other.certificate)
    given = {"REQUESTS_CA_BUNDLE": str(mine), "PIP_CERT": str(tmp_path / "missing.pem")}
    with forwarding.variables(PROXY, [], given, authority) as found:
        assert Path(found["REQUESTS_CA_BUNDLE"]).read_bytes() == other.certificate + authority.certificate
        assert found["PIP_CERT"] == found["SSL_CERT_FILE"] != found["REQUESTS_CA_BUNDLE"]


def test_javas_store_has_what_the_bundle_has(authority: Any) -> None:
    with forwarding.variables(PROXY, [], {}, authority) as found:
        options = dict(word[2:].split("=", 1) for word in found["JAVA_TOOL_OPTIONS"].split() if word.startswith("-D"))
        store, password = options["javax.net.ssl.trustStore"], options["javax.net.ssl.trustStorePassword"]
        command = [require("keytool"), "-list", "-keystore", store, "-storepass", password]
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        bundle = Path(found["SSL_CERT_FILE"]).read_text().split("-----END CERTIFICATE-----")[:-1]
        own = hashlib.sha256(ssl.PEM_cert_to_DER_cert(authority.certificate.decode())).hexdigest().upper()
        assert ":".join(own[at : at + 2] for at in range(0, 64, 2)) in listed
        assert len(bundle) - 3 <= listed.count("trustedCertEntry") <= len(bundle)  # some cannot be read
