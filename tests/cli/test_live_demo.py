from __future__ import annotations

import re
import threading

from tests.waiting import PATIENCE, until
from vaurien.cli import demo, live_demo
from vaurien.client.plain import at


def test_there_is_traffic_and_faults_hit_it(capsys):
    stop = threading.Event()
    ended = []
    running = threading.Thread(target=lambda: ended.append(live_demo.main(stop, port=0)))
    running.start()
    try:
        told = ""

        def said():
            nonlocal told
            told += capsys.readouterr().out
            return re.search(r"The dashboard is at (http://127\.0\.0\.1:\d+)/ ", told)

        until(said)
        client = at(said()[1])
        until(lambda: client.get_fault("shop", "errors")["hits"] and client.get_fault("search", "late")["hits"])
        assert [proxy["name"] for proxy in client.list_proxies()] == ["shop", "search", "images"]
    finally:
        stop.set()
        running.join(PATIENCE)
    assert ended == [0]


def test_the_demo_says_how_to_see_it_live(monkeypatch, capsys):
    monkeypatch.setattr(demo, "run", lambda: {"nothing": [demo.Outcome("c", 1, "200", 0.001)]})
    demo.main()
    assert "make dashboard" in capsys.readouterr().out.splitlines()[-1]
