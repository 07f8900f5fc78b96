"""Selectors of nodes, and the names of entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.errors import OptionError
from vaurien.fleet.entries import FaultEntry, Keys, Selector, Unreadable, decode, encode, quoted
from vaurien.fleet.store import Stored
from vaurien.model import Fault

LABELS = {"role": "payments", "zone": "a"}


@pytest.mark.parametrize(
    ("nodes", "fits"),
    [
        ("", True),
        ("role=payments", True),
        ("role=payments,zone!=b", True),
        ("role=payments, zone=b", False),
        ("role!=payments", False),
        ("gpu!=yes", True),
        ("zone", True),
        ("gpu", False),
        ("!gpu", True),
        ("!zone", False),
        ("name=n1", True),
        ("name=n2", False),
    ],
)
def test_conditions_on_labels(nodes, fits):
    assert Selector(nodes).fits("n1", LABELS, "key") is fits


@pytest.mark.parametrize("nodes", ["a b", "a==b", "=a", "a=b=c", "!a=b", "a=b!c"])
def test_what_is_no_condition(nodes):
    with pytest.raises(OptionError, match="expected conditions such as role=payments"):
        Selector(nodes).check()


def test_a_share_of_the_nodes_is_about_that_share_and_always_the_same():
    names = [f"node-{number}" for number in range(1000)]
    for share in (0.1, 0.5):
        hit = {name for name in names if Selector(share=share).fits(name, {}, "fault.a.b")}
        assert abs(len(hit) - 1000 * share) < 60
        assert hit == {name for name in names if Selector(share=share).fits(name, {}, "fault.a.b")}
        assert hit != {name for name in names if Selector(share=share).fits(name, {}, "fault.a.c")}
    assert {name for name in names if Selector(share=0.1).fits(name, {}, "k")} <= {
        name for name in names if Selector(share=0.2).fits(name, {}, "k")
    }
    assert all(Selector(share=1.0).fits(name, {}, "k") for name in names)


@given(st.text(), st.text())
def test_different_names_have_different_keys(one, other):
    assert set(quoted(one)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=")
    assert (quoted(one) == quoted(other)) == (one == other)


def test_an_entry_survives_the_store():
    entry = FaultEntry("p", Fault("f", "latency", {"latency": 5.0}, ttl=3.0), 1.5, Selector("a=b", 0.5, 3))
    assert decode(Keys.fault("p", "f"), Stored(encode(entry), 1, 0.0)) == entry


OTHER = encode(FaultEntry("p", Fault("other", "latency")))
NO_CONDITION = encode(FaultEntry("p", Fault("f", "latency"), on=Selector("!")))


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"",
            b"{",
            b"{}",
            b'{"type":"later"}',
            b'{"type":"fault","proxy":5}',
            b"\xff",
            b'{"type":"stop","reason":"\xff"}',
        ),
        *(
            b'{"type":"stop","x":' + b"[" * 100_000,
            b'{"type":"fault","proxy":"p","fault":{"ttl":1e999}}',
            OTHER,
            NO_CONDITION,
        ),
    ],
    ids=lambda value: str(value[:40]),
)
def test_what_this_version_does_not_know_is_said(value):
    with pytest.raises(Unreadable, match=r"^entry 'fault.p.f' of revision 7 is not understood here: "):
        decode("fault.p.f", Stored(value, 7, 0.0))
