from __future__ import annotations

import pytest

from vaurien.config import Given
from vaurien.errors import OptionError
from vaurien.model import Address
from vaurien.scenario.environment import variables

CACHE = Address("localhost", 6380)


def test_the_only_proxy():
    assert variables({"cache": CACHE}, {}) == {
        "VAURIEN_ADDRESS": "localhost:6380",
        "VAURIEN_HOST": "localhost",
        "VAURIEN_PORT": "6380",
        "VAURIEN_ADDRESS_CACHE": "localhost:6380",
        "VAURIEN_HOST_CACHE": "localhost",
        "VAURIEN_PORT_CACHE": "6380",
    }


@pytest.mark.parametrize(("host", "reached"), [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")])
def test_every_interface_is_reached_on_this_machine(host, reached):
    assert variables({"my-db": Address(host, 1)}, {})["VAURIEN_HOST_MY_DB"] == reached


def test_a_unix_socket_has_neither_host_nor_port():
    found = variables({"a": Address(path="/run/a")}, {})
    assert found == {"VAURIEN_ADDRESS": "unix:/run/a", "VAURIEN_ADDRESS_A": "unix:/run/a"}


def test_the_first_of_several_and_variables_of_ones_own():
    own = {
        "REDIS_URL": Given("redis://{cache}/0", "chaos.toml"),
        "PORT": Given("{my-db.port}", "chaos.toml"),
        "JSON": Given('{{"n": 1}}', "chaos.toml"),
        "NUMBER": Given(3, "chaos.toml"),
    }
    found = variables({"cache": CACHE, "my-db": Address("", 5432)}, own)
    assert found["VAURIEN_ADDRESS"] == "localhost:6380"
    assert found["VAURIEN_PORT_MY_DB"] == "5432"
    assert {name: found[name] for name in own} == {
        "REDIS_URL": "redis://localhost:6380/0",
        "PORT": "5432",
        "JSON": '{"n": 1}',
        "NUMBER": "3",
    }


@pytest.mark.parametrize("text", ["{cahe}", "{}", "{0}", "{cache.prt}", "{cache", "}"])
def test_what_there_is_not(text):
    with pytest.raises(OptionError, match=r"^environment URL: .* \(from chaos.toml\) .* expected text with \{cache\}"):
        variables({"cache": CACHE}, {"URL": Given(text, "chaos.toml")})
