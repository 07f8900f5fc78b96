from __future__ import annotations

from tests.running import backend, pair, read, running


def test_exchanges_stay_counted_when_their_connection_is_over():
    with backend() as listening, running(listening.getsockname(), protocol="redis") as proxy:
        with pair(proxy, listening) as (client, server):
            for number in range(1, 3):
                client.sendall(b"*1\r\n$4\r\nPING\r\n")
                assert read(server, 14) == b"*1\r\n$4\r\nPING\r\n"
                server.sendall(b"+PONG\r\n")
                assert read(client, 7) == b"+PONG\r\n"
                assert proxy.call(lambda: proxy.proxy.figures).exchanges == number
        proxy.until(lambda: not proxy.proxy.connections)
        assert proxy.call(lambda: proxy.proxy.figures).exchanges == 2
