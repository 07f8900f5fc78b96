"""Which names of hosts an address takes: those that Python can prepare for the resolver."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vaurien.errors import OptionError
from vaurien.model import Address

LABELS = st.one_of(st.just(""), st.text("ab-9\u00fc\u00df", max_size=4), st.integers(62, 65).map("a".__mul__))


def taken(host: str) -> bool:
    try:
        Address(host, 80).check(host)
    except OptionError:
        return False
    return True


def prepared(host: str) -> bool:
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


@given(st.lists(LABELS, min_size=1, max_size=3).map(".".join))
def test_a_host_is_taken_as_far_as_its_name_can_be_prepared(host):
    assert taken(host) is prepared(host)
