"""Every number of a proxy, as a state file or a program may give it, is refused or works, in each lane."""

from __future__ import annotations

import msgspec
import pytest

from tests.plugins import Forward
from tests.running import Echo, read, running
from vaurien import plugins
from vaurien.events import Failed
from vaurien.model import Address, ProxyConfig

NUMBERS = [-1, 0, 1, 5e-324, 2**24, 2**31 - 1, 2**31, 2 * 10**6, 10**9, 2**53, 2**63 - 1, 2**63, 9999999999999, 1e308]
PLAIN = ProxyConfig(name="p", listen=Address("127.0.0.1"), backend=Address("127.0.0.1", 9))
NUMERIC = [
    field.name
    for field in msgspec.structs.fields(ProxyConfig)
    if (isinstance(field.default, int | float) and not isinstance(field.default, bool))
    or field.name == "max_connections"
]


@pytest.fixture(scope="module")
def echo():
    with Echo() as echo:
        yield echo.address


def decoded(raw, name):
    """The number *name* of *raw* as the model has it, and nothing; or nothing, and the text of the error."""
    try:
        return getattr(msgspec.json.decode(msgspec.json.encode(raw), type=ProxyConfig), name), ""
    except msgspec.ValidationError as error:
        return None, str(error)


@pytest.mark.parametrize("mix", ["", "100:forward"])
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("name", NUMERIC)
def test_a_number_is_refused_or_works(echo, name, number, mix):
    plugins.register("handler", Forward)
    raw = msgspec.to_builtins(PLAIN) | {name: number}
    value, refused = decoded(raw, name)
    if refused:
        assert name in refused
        return
    if name in ("timeout", "drain_timeout") and value < 1:
        return  # the backend is not reached in no time, and what is sent not delivered
    with running(echo, mix, **{name: value}) as proxy, proxy.connect() as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"
    assert proxy.events.of(Failed) == []
