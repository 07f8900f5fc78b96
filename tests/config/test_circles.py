"""Backends that lead back to their proxy are refused, as far as the configuration says so."""

from __future__ import annotations

import pytest

from vaurien.config import circles
from vaurien.errors import OptionError
from vaurien.model import Address, ProxyConfig


def proxies(*ways: tuple[str, str]) -> list[ProxyConfig]:
    return [
        ProxyConfig(name="abc"[place], listen=Address.parse(listen), backend=Address.parse(backend))
        for place, (listen, backend) in enumerate(ways)
    ]


@pytest.mark.parametrize(
    ("listen", "backend"),
    [
        ("localhost:8000", "localhost:8000"),
        ("Host.test:8000", "tls://host.TEST:8000"),
        ("localhost:8000", "127.0.0.1:8000"),
        ("localhost:8000", ":8000"),
        ("0.0.0.0:8000", "localhost:8000"),
        (":8000", "127.0.0.1:8000"),
        (":8000", "[::1]:8000"),
        ("[::]:8000", "[::1]:8000"),
        ("127.0.0.1:8000", "0.0.0.0:8000"),
        ("unix:/run/a", "unix:/run/a"),
    ],
)
def test_a_proxy_that_is_its_own_backend(listen: str, backend: str) -> None:
    expected = (
        "backend: .* expected another address: connections would come back to the proxy \\(a -> a\\), without end"
    )
    with pytest.raises(OptionError, match=expected):
        circles.check(proxies((listen, backend)))


@pytest.mark.parametrize(
    ("listen", "backend"),
    [
        ("localhost:8000", "localhost:8001"),
        ("localhost:0", "localhost:8000"),
        ("127.0.0.2:8000", "127.0.0.1:8000"),
        ("127.0.0.1:8000", "localhost:8000"),  # ::1 may be tried first
        ("0.0.0.0:8000", "[::1]:8000"),
        ("0.0.0.0:8000", "other.test:8000"),
        ("localhost:8000", "forward"),
        ("unix:/run/a", "unix:/run/b"),
        ("unix:/run/a", "localhost:8000"),
    ],
)
def test_a_proxy_with_another_backend(listen: str, backend: str) -> None:
    circles.check(proxies((listen, backend)))


def test_a_circle_of_several_is_told_by_its_way() -> None:
    circle = proxies(("localhost:1", "localhost:2"), ("localhost:2", "localhost:3"), ("localhost:3", "localhost:1"))
    with pytest.raises(OptionError, match=r"\(b -> c -> a -> b\)"):
        circles.check(circle, ["b"])


def test_a_proxy_before_a_circle_is_not_in_it() -> None:
    before = proxies(("localhost:1", "localhost:2"), ("localhost:2", "localhost:3"), ("localhost:3", "localhost:2"))
    circles.check(before, ["a"])
    with pytest.raises(OptionError, match=r"\(b -> c -> b\)"):
        circles.check(before)
