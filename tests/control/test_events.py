from __future__ import annotations

import asyncio
import http.client
import json

import pytest

from tests.control.interface import interface
from tests.hubs import COUNTS
from tests.running import PATIENCE
from vaurien.control.events import RecentEvents
from vaurien.events import Accepted


def accepted(number, proxy="p"):
    return Accepted(proxy=proxy, at=float(number), connection=number, peer="here")


def parsed(message):
    """The number of an event, and its data."""
    number, _, data = message.decode().strip().split("\n")
    return int(number.removeprefix("id: ")), json.loads(data.removeprefix("data: "))


def connections(recent, number=0):
    return [(at, data["connection"]) for at, data in map(parsed, recent.messages(number))]


@pytest.mark.parametrize(("since", "first"), [(0, 3), (2, 3), (3, 4), (4, 5), (-1, 3)])
def test_the_last_events_are_remembered(since, first):
    recent = RecentEvents(capacity=3)
    for number in range(1, 6):
        recent(accepted(number))
    assert connections(recent, since) == [(number, number) for number in range(first, 6)]


@pytest.mark.parametrize("since", [5, 6, 10**18])
def test_nothing_comes_after_the_last(since):
    recent = RecentEvents()
    for number in range(1, 6):
        recent(accepted(number))
    assert connections(recent, since) == []


def test_an_event_is_encoded_once_for_all_readers():
    recent = RecentEvents()
    for number in range(1, 6):
        recent(accepted(number))
    first, again = recent.messages(0), recent.messages(2, most=2)
    assert [parsed(message)[0] for message in again] == [4, 5]
    assert all(one is other for one, other in zip(first[3:], again, strict=True))


def test_a_reader_gets_what_was_and_what_comes_and_then_the_end():
    async def scenario():
        recent = RecentEvents()
        recent(accepted(1))
        recent(accepted(1, "other"))
        stream = recent.follow(proxy="p")
        seen = [await anext(stream)]
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        recent(accepted(2))
        seen.append(await waiting)
        recent.close()
        return seen + [rest async for rest in stream]

    first, second = asyncio.run(scenario())
    number, kind, data = first.decode().strip().split("\n")
    assert (number, kind) == ("id: 1", "event: Accepted")
    told = {"type": "Accepted", "proxy": "p", "at": 1.0, "connection": 1, "peer": "here"}
    assert json.loads(data.removeprefix("data: ")) == told
    assert second.startswith(b"id: 3\n")
    assert second.endswith(b"\n\n")


def test_a_number_of_an_earlier_run_hides_nothing():
    async def scenario():
        recent = RecentEvents()
        recent(accepted(1))
        return await anext(recent.follow(500))

    assert asyncio.run(scenario()).startswith(b"id: 1\n")


def test_silence_has_its_beat():
    async def scenario():
        return await anext(RecentEvents().follow(heartbeat=0.001))

    assert asyncio.run(scenario()) == b":\n\n"


@pytest.mark.parametrize("workers", COUNTS)
def test_events_over_http(workers):
    with interface(workers=workers) as served:
        served.proxy("a")
        served.proxy("b")
        connection = http.client.HTTPConnection("127.0.0.1", served.address.port, timeout=PATIENCE)
        connection.request("GET", "/api/v1/events?proxy=b", headers={"Last-Event-ID": "1"})
        response = connection.getresponse()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.readline() == b"id: 2\n"
        assert response.readline() == b"event: Listening\n"
        assert json.loads(response.readline().removeprefix(b"data: "))["proxy"] == "b"
        response.readline()
        served.ask("PUT", "/api/v1/proxies/b/mix", {"mix": "20:delay"})
        assert [response.readline() for _ in range(2)] == [b"id: 3\n", b"event: PolicyChanged\n"]
        connection.close()
        response.close()


@pytest.mark.parametrize("workers", COUNTS)
def test_a_reader_does_not_hold_up_the_end(workers):
    with interface(workers=workers) as served:
        served.proxy("a")
        connection = http.client.HTTPConnection("127.0.0.1", served.address.port, timeout=PATIENCE)
        connection.request("GET", "/api/v1/events")
        response = connection.getresponse()
        assert response.readline() == b"id: 1\n"
    assert response.read().startswith(b"event: Listening")
    connection.close()
