"""What open pages cost, in its shortest form."""

from __future__ import annotations

from benchmarks import open_pages
from benchmarks.backends import Backends
from benchmarks.processes import Process


def test_pages_are_opened_and_what_they_cost_is_said(redis_server, monkeypatch):
    monkeypatch.setattr(open_pages, "REQUESTS", 2000)
    monkeypatch.setattr(open_pages, "new_connections", open_pages.redis_requests)
    redis = Process(redis_server.port, 0)
    lines = list(open_pages.report(Backends(redis, redis, redis, redis), 3, 1))
    assert [line.partition(":")[0] for line in lines] == [
        "a request, redis, 50 clients",
        "opening a page after it",
        "a new connection, HTTP, 64 clients",
        "opening a page after it",
    ]
    assert "with 3: " in lines[0]
