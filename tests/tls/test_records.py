"""Records, however they come; and an alert as bytes."""

from __future__ import annotations

import ssl
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.behaviors.tls_alert import Alert
from vaurien.tls import records
from vaurien.tls.records import RecordCutter

KINDS = st.sampled_from([20, 21, 22, 23])


def record(kind: int, body: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(body).to_bytes(2) + body


@given(
    st.lists(st.tuples(KINDS, st.binary(max_size=40)), min_size=1, max_size=6), st.lists(st.integers(1, 20), min_size=1)
)
def test_cuts_make_no_difference(told: list[tuple[int, bytes]], sizes: list[int]) -> None:
    whole = [record(kind, body) for kind, body in told]
    stream, cutter, parts = b"".join(whole), RecordCutter(), []
    at = 0
    while at < len(stream):
        size = sizes[len(parts) % len(sizes)]
        parts += cutter.feed(stream[at : at + size])
        at += size
    assert b"".join(part.data for part in parts) == stream
    assert cutter.between
    found: list[bytes] = []
    for part in parts:
        if part.offset == 0:
            found.append(b"")
        assert len(found[-1]) == part.offset
        found[-1] += part.data
        assert part.kind == found[-1][0]
        assert part.ends == (found[-1] == whole[len(found) - 1])
    assert found == whole


@given(st.binary(max_size=200))
def test_any_bytes_are_cut_or_lost(data: bytes) -> None:
    cutter = RecordCutter()
    parts = list(cutter.feed(data))
    assert cutter.lost or b"".join(part.data for part in parts) == data


def test_what_is_no_record_is_lost() -> None:
    cutter = RecordCutter()
    assert list(cutter.feed(b"HTTP/1.1 200 OK")) == []
    assert cutter.lost
    assert list(cutter.feed(record(22, b"x"))) == []


@pytest.mark.parametrize("name", sorted(set(records.ALERTS) - {"close_notify", "user_canceled"}))
def test_openssl_knows_an_alert_by_its_name(name: str) -> None:
    """It reports each as its own; the words are OpenSSL's."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    incoming.write(records.alert(name))
    with pytest.raises(ssl.SSLError) as caught:
        client.do_handshake()
    assert name.replace("_", " ") in str(caught.value).lower().replace("_", " ")


def test_alerts_are_declared_for_the_behavior_too() -> None:
    assert list(get_args(Alert)) == list(records.ALERTS)
