"""Each fault of TLS makes each client report an error of its own kind, and the page says which."""

from __future__ import annotations

import pytest

pytest.importorskip("cryptography")

from tests.integration import tls_errors
from tests.integration.error_pages import check_page, check_reports
from tests.integration.tls_errors import OPENED, PAGE, PASSED_THROUGH, PROGRAMS

WHOLE, CUT = f"{tls_errors.SIZE} bytes", "fewer bytes, no error"
KINDS = {
    "noop": WHOLE,
    "tls_alert alert=handshake_failure": "handshake.failure",
    "tls_alert alert=unrecognized_name": "unrecognized.name",
    "tls_alert alert=internal_error": "internal.error",
    "tls_plaintext": "wrong version number|unrecognized ssl message|packet length too long",
    "tls_stall": "timed out|timeout|no time-out",
    "tls_slow size=200 delay=1ms": WHOLE,
    "tls_close": "eof|ssl_error_syscall|socket disconnected|terminated the handshake",
    "tls_close how=reset": "reset|errno=104",
    "tls_close when=flight after=100": "eof|ssl_error_syscall|socket disconnected|terminated the handshake",
    "tls_close when=data after=20KiB": f"{CUT}|eof|close_notify|ssl_error|closed",
    "tls_close when=cut after=20KiB": f"{CUT}|eof|underflow|ssl_error|closed",
    "tls_corrupt": "bad.record.mac|tag mismatch",
    "tls_corrupt when=data after=20KiB": "bad.record.mac|tag mismatch",
    "tls_alert alert=access_denied after=1": "access.denied",
    "tls_alert alert=access_denied when=data after=20KiB": "access.denied",
    "tls_certificate flaw=expired": "expired",
    "tls_certificate flaw=not_yet_valid": "not.?yet.?valid",
    "tls_certificate flaw=wrong_host": "alternative|hostname",
    "tls_certificate flaw=self_signed": "self.signed|valid certification path",
    "tls_certificate flaw=unknown_ca": "local issuer|leaf signature|first certificate|valid certification path",
    "tls_certificate flaw=missing_intermediate": "local issuer|first certificate|valid certification path",
    "tls_certificate flaw=weak_key": f"too weak|{WHOLE}",  # Node and Java take it
    "tls_version": "protocol.version|unsupported protocol|legacy sigalg",
    "tls_cipher": "handshake.failure",
    "tls_alpn": f"no.application.protocol|{WHOLE}",  # a client that offers none is not hit
    "tls_no_resumption": WHOLE,
    "tls_client_certificate": "certificate.required|handshake.failure",
}


@pytest.fixture(scope="module")
def said() -> dict[str, dict[str, str]]:
    return tls_errors.asked()


def test_every_fault_is_asked_about() -> None:
    assert {*KINDS} == {"noop", *PASSED_THROUGH, *OPENED}


@pytest.mark.parametrize("fault", KINDS)
def test_each_program_reports_the_kind_of_error_that_the_fault_is(said: dict[str, dict[str, str]], fault: str) -> None:
    check_reports(said[fault], dict.fromkeys(PROGRAMS, KINDS[fault]), fault)


def test_the_page_says_what_these_programs_report(said: dict[str, dict[str, str]]) -> None:
    check_page(PAGE, tls_errors.page(said), tls_errors.versions())
