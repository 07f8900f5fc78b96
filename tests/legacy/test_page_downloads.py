"""The page's own handler under a share of the turns: every download is whole."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading

import pytest

from tests.legacy.test_page import DUMMY
from tests.running import PATIENCE, running
from vaurien import events
from vaurien.model import Mix, Policy, Share

SIZES = (0, 1, 1023, 1024, 8124, 8125, 65_536, 1_000_000, 3_000_000)


class Pages(http.server.BaseHTTPRequestHandler):
    """``GET /SIZE``: as many bytes."""

    def do_GET(self):
        size = int(self.path[1:])
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(bytes(size))

    def log_message(self, *_):
        pass


class KeptPages(Pages):
    protocol_version = "HTTP/1.1"


@contextlib.contextmanager
def serving(pages):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address
        finally:
            server.shutdown()
            thread.join(PATIENCE)


def download(connection, size):
    connection.request("GET", f"/{size}")
    with connection.getresponse() as answer:
        return answer.status, len(answer.read())


@pytest.fixture
def dummy(module):
    return f"{module(DUMMY).__name__}.Dummy"


@pytest.mark.parametrize("share", [5, 20, 50, 100])
def test_every_download_is_whole_on_connections_that_close(dummy, share):
    with serving(Pages) as address, running(address, f"{share}:{dummy}", seed="1") as proxy:
        for _ in range(3):
            for size in SIZES:
                with contextlib.closing(http.client.HTTPConnection(*proxy.address, timeout=PATIENCE)) as connection:
                    assert download(connection, size) == (200, size)
        assert proxy.events.of(events.Failed) == []
        closed = proxy.events.wait(events.Closed, 3 * len(SIZES))
        drawn = proxy.events.of(events.MixHit)
        assert {event.exchange for event in drawn} == {1}
        assert sum(sum(event.hits.values()) for event in closed) == len(drawn)
        assert len(drawn) == 3 * len(SIZES) if share == 100 else 0 < len(drawn) < 3 * len(SIZES)


@pytest.mark.parametrize("share", [5, 20, 50, 100])
def test_every_download_is_whole_on_connections_that_are_kept(dummy, share):
    mix = Mix((Share(share, dummy, {"keep_alive": True}),))
    with serving(KeptPages) as address, running(address, seed="1") as proxy:
        proxy.call(lambda: proxy.proxy.set_policy(Policy(mix)))
        with contextlib.closing(http.client.HTTPConnection(*proxy.address, timeout=PATIENCE)) as connection:
            for _ in range(3):
                for size in SIZES:
                    assert download(connection, size) == (200, size)
        assert proxy.events.of(events.Failed) == []
        (closed,) = proxy.events.wait(events.Closed)
        turns = [event.exchange for event in proxy.events.of(events.MixHit)]
        assert len(turns) == len(set(turns)) == closed.hits.get(dummy, 0)
        assert turns == sorted(turns)
