from __future__ import annotations

import http.client

from vaurien.cli import demo


def outcomes(groups):
    return {
        name: [(one.connection.partition(":")[0], one.exchange, one.seen) for one in found]
        for name, found in groups.items()
    }


def test_requests_that_nothing_hits_are_answered_and_the_others_are_not_left_alone():
    groups = demo.run(requests=80, delay=0.001)
    assert sum(len(found) for name, found in groups.items() if name != "no proxy") == 80
    assert {one.seen for name in ("no proxy", "nothing", "delay") for one in groups[name]} == {"200"}
    assert groups["delay"]
    assert groups["error"]
    assert not any(one.seen == "200" for one in groups["error"])


def test_the_same_requests_are_hit_in_the_same_way_each_time():
    assert outcomes(demo.run(requests=60, delay=0.001)) == outcomes(demo.run(requests=60, delay=0.001))


def test_the_table_counts_what_the_client_saw():
    seen = [demo.Outcome("c", number, status, 0.001 * number) for number, status in enumerate(["200", "503", "200"])]
    lines = demo.table({"delay": seen, "error": []}).splitlines()
    assert len(lines) == 2  # the head, and no line for what hit nothing
    assert lines[1].split() == ["delay", "3", "1.0", "ms", "1.0", "ms", "2.0", "ms", "2", "x", "200,", "1", "x", "503"]


def test_a_broken_connection_is_an_outcome_and_is_opened_again(monkeypatch):
    with demo.backend() as address:
        client = demo.DemoClient(address)
        monkeypatch.setattr(http.client.HTTPConnection, "getresponse", broken)
        assert client.ask().seen == "BadStatusLine"
        monkeypatch.undo()
        assert client.ask().seen == "200"
        client.close()


def broken(connection):
    raise http.client.BadStatusLine("noise")


def test_the_program_prints_its_table_and_succeeds(monkeypatch, capsys):
    monkeypatch.setattr(demo, "run", lambda: {"nothing": [demo.Outcome("c", 1, "200", 0.001)]})
    assert demo.main() == 0
    assert "1 x 200" in capsys.readouterr().out


def test_the_program_fails_when_what_nothing_hit_was_not_answered(monkeypatch):
    monkeypatch.setattr(demo, "run", lambda: {"nothing": [demo.Outcome("c", 1, "503", 0.001)]})
    assert demo.main() == 1
