"""A protocol whose own code raises ends its connection, and is named."""

from __future__ import annotations

from typing import Annotated

import pytest

from tests.running import Echo, read, read_all, running
from vaurien import plugins
from vaurien.events import Closed, Failed
from vaurien.framing import Framer, Frames, Framing, Head, Protocol, Reader, Step
from vaurien.model import Direction
from vaurien.options import Option


class Broken(Protocol, frozen=True):
    """Raises."""

    where: Annotated[str, Option("Where")] = "requests"

    def framer(self) -> Framing:
        return BrokenFramer(self.where)

    def rewrite(self, head: Head, backend: object) -> bytes | None:
        fail("rewrite", self.where)
        return None


class BrokenFramer(Framer):
    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def parse_whole(self, direction: Direction, data: bytes) -> Head | None:
        fail("whole", self.where)
        return None

    def requests(self, read: Reader) -> Frames:
        while (yield from read.peek(1)):
            yield from read.exactly(1)
            fail("requests", self.where)
            yield Head(request=True)
            yield Step.END

    def responses(self, read: Reader) -> Frames:
        while (yield from read.peek(1)):
            yield from read.exactly(1)
            fail("responses", self.where)
            yield Head(request=False)
            yield Step.END


def fail(where: str, wanted: str) -> None:
    if where == wanted:
        raise ZeroDivisionError(where)


@pytest.fixture(autouse=True)
def known() -> None:
    plugins.register("protocol", Broken, "broken_framer")


@pytest.mark.parametrize("where", ["requests", "responses", "rewrite", "whole"])
@pytest.mark.parametrize("mix", ["", "100:delay"])
def test_it_ends_its_connection_and_is_named(where: str, mix: str) -> None:
    options = {"where": where}
    with Echo() as echo, running(echo.address, mix, protocol="broken_framer", protocol_options=options) as proxy:
        proxy.set_policy(mix and "1:delay")
        with proxy.connect() as client:
            client.sendall(b"x")
            with pytest.raises(ConnectionError):
                read_all(client)
                read_all(client)
        assert [event.where for event in proxy.events.wait(Failed)] == ["protocol broken_framer"]
        assert proxy.events.wait(Closed)[0].end == "error"


def test_one_that_does_not_raise_passes() -> None:
    with Echo() as echo, running(echo.address, protocol="broken_framer", protocol_options={"where": ""}) as proxy:
        with proxy.connect() as client:
            client.sendall(b"x")
            assert read(client, 1) == b"x"
