"""Records as a server would encrypt them; what OpenSSL makes of them is tested with the fault that sends them."""

from __future__ import annotations

import pytest

sealing = pytest.importorskip("vaurien.tls.sealing")

ALERT, CLOSE_NOTIFY = 21, b"\1\0"


def test_the_alert_of_the_handshake_that_rfc_8448_prints() -> None:
    """Section 3: the server's alert, its third record behind the handshake."""
    secret = bytes.fromhex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643")
    record = bytes.fromhex("1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9")
    assert sealing.seal(secret, "TLS_AES_128_GCM_SHA256", 2, ALERT, CLOSE_NOTIFY) == record


@pytest.mark.parametrize(
    ("cipher", "size"),
    [
        ("ECDHE-RSA-AES256-GCM-SHA384", 8 + 2 + 16),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", 8 + 2 + 16),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", 2 + 16),
    ],
)
def test_a_record_of_tls_1_2(cipher: str, size: int) -> None:
    record = sealing.seal_12(bytes(48), bytes(64), cipher, 1, ALERT, CLOSE_NOTIFY)
    assert record[:5] == bytes([ALERT, 3, 3, 0, size])
    assert len(record) == 5 + size


@pytest.mark.parametrize("order", [False, True], ids=["MAC, then encryption", "encryption, then MAC"])
@pytest.mark.parametrize(
    ("cipher", "mac"),
    [("ECDHE-ECDSA-AES128-SHA256", 32), ("ECDHE-RSA-AES256-SHA384", 48), ("AES128-SHA", 20)],
)
def test_a_record_in_cbc_mode(cipher: str, mac: int, order: bool) -> None:
    """An IV, whole blocks, and the MAC in them or behind them."""
    record = sealing.seal_12(bytes(48), bytes(64), cipher, 1, ALERT, CLOSE_NOTIFY, encrypt_then_mac=order)
    inside = -(-(2 + 1 + (0 if order else mac)) // 16) * 16
    size = 16 + inside + (mac if order else 0)
    assert record[:5] == bytes([ALERT, 3, 3, 0, size])
    assert len(record) == 5 + size


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-CCM8", "ECDHE-RSA-CAMELLIA128-SHA256", "NULL-SHA256"])
def test_a_cipher_of_another_kind_has_none(cipher: str) -> None:
    assert sealing.seal_12(bytes(48), bytes(64), cipher, 1, ALERT, CLOSE_NOTIFY) == b""
