from __future__ import annotations

import json
import resource
import sys
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.errors import OptionError
from vaurien.events import (
    Accepted,
    Closed,
    Decided,
    Delayed,
    Encrypted,
    Event,
    Exchanged,
    Failed,
    Injected,
    Listening,
    MixHit,
    PolicyChanged,
    ProtocolLost,
    WorkerDied,
)
from vaurien.observers.log import Log

CLOSED = Closed(
    proxy="web",
    at=1.5,
    connection=3,
    peer="127.0.0.1:4000",
    sent=10,
    received=20,
    end="client closed",
    duration=0.0123456789,
    hits=MappingProxyType({"delay": 3, "error": 1}),
)
FAILED = Failed(proxy="web", at=0, connection=0, where="accept", error="too many open files")
EVERY_EVENT = [
    (Listening(proxy="web", at=0, address="127.0.0.1:80"), "INFO", "listening"),
    (PolicyChanged(proxy="web", at=0, mix="20:delay", faults=("a", "b")), "INFO", '"policy changed"'),
    (Accepted(proxy="web", at=0, connection=1, peer="p"), "DEBUG", "accepted"),
    (MixHit(proxy="web", at=0, connection=1, exchange=2, behavior="delay"), "DEBUG", "chosen"),
    (Injected(proxy="web", at=0, connection=1, fault="delay"), "DEBUG", "injected"),
    (CLOSED, "INFO", "closed"),
    (ProtocolLost(proxy="web", at=0, connection=1, protocol="http", reason="no"), "WARNING", '"protocol lost"'),
    (Encrypted(proxy="web", at=0, connection=1, reason="no"), "WARNING", "encrypted"),
    (FAILED, "WARNING", "failed"),
    (WorkerDied(proxy="web", at=0, worker=1, reason="exit status 1"), "WARNING", '"worker died"'),
]


def written(tmp_path, *events, **options):
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "log"
    log = Log(output=str(path), **options)
    for event in events:
        log(event)
    log.close()
    return path.read_text(encoding="utf-8")


def test_the_end_of_a_connection_is_one_line_of_pairs(tmp_path):
    assert written(tmp_path, CLOSED) == (
        "time=1970-01-01T00:00:01.500+00:00 level=INFO msg=closed proxy=web connection=3 peer=127.0.0.1:4000 "
        'sent=10 received=20 end="client closed" duration=0.012346 hits=delay:3,error:1\n'
    )


def test_json_keeps_numbers_and_tables(tmp_path):
    line = json.loads(written(tmp_path, CLOSED, format="json"))
    assert line["hits"] == {"delay": 3, "error": 1}
    assert line["sent"] == 10
    assert line["msg"] == "closed"


@pytest.mark.parametrize(("event", "level", "message"), EVERY_EVENT, ids=lambda value: str(value)[:12])
def test_every_event_has_a_level_and_words(tmp_path, event, level, message):
    assert f" level={level} msg={message} proxy=web" in written(tmp_path, event, level="DEBUG")


def test_no_event_of_the_package_is_without_words():
    assert {type(event) for event, _, _ in EVERY_EVENT} == set(Event.__subclasses__()) - {
        Decided,
        Delayed,
        Exchanged,
    }  # a log does not ask for these


def test_events_below_the_level_are_not_written(tmp_path):
    text = written(tmp_path, *(event for event, _, _ in EVERY_EVENT), level="warning")
    assert [line.split()[1] for line in text.splitlines()] == ["level=WARNING"] * 4


def test_it_says_which_events_it_drops():
    assert Accepted in Log("INFO").ignores
    assert Closed not in Log("INFO").ignores
    assert Log("WARNING").ignores >= {Accepted, Closed}
    assert Failed not in Log("WARNING").ignores
    assert not Log("DEBUG").ignores


def test_what_is_not_known_is_left_out(tmp_path):
    assert "exchange" not in written(tmp_path, EVERY_EVENT[4][0], level="DEBUG")


@given(st.text(), st.sampled_from(["text", "json"]))
def test_nothing_in_an_event_can_make_a_second_line(tmp_path_factory, error, form):
    path = tmp_path_factory.mktemp("log")
    event = Failed(proxy="web", at=0, connection=1, where="plugin", error=error)
    text = written(path, event, format=form)
    assert len(text.splitlines()) == 1
    assert text.isascii()


def test_a_connection_that_nothing_hit_has_no_hits_in_text_and_an_empty_table_in_json(tmp_path):
    untouched = msgspec.structs.replace(CLOSED, hits={})
    assert "hits" not in written(tmp_path / "text", untouched)
    assert json.loads(written(tmp_path / "json", untouched, format="json"))["hits"] == {}


def test_standard_error_is_the_default_and_stays_open(capsys):
    log = Log()
    log(CLOSED)
    log.close()
    assert "msg=closed" in capsys.readouterr().err
    assert not sys.stderr.closed


def test_lines_are_added_to_a_file(tmp_path):
    written(tmp_path, CLOSED)
    assert written(tmp_path, CLOSED).count("\n") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "LOUD"}, "log level: 'LOUD' is not valid; expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ({"format": "xml"}, "log format: 'xml' is not valid; expected one of text, json"),
        (
            {"output": "/dev"},
            "option log_output: '/dev' is not valid; expected - or a file that can be written (Is a directory)",
        ),
    ],
)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises(OptionError) as caught:
        Log(**options)
    assert str(caught.value) == message


def test_a_line_that_cannot_be_written_is_counted(tmp_path):
    log = Log(output=str(tmp_path / "log"))
    log.close()
    log(CLOSED)
    assert log.lost == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_says_where_lines_are_missing(tmp_path, form):
    """The disk is full for a while: as far as this process may write, that is."""
    path = tmp_path / "log"
    log = Log(format=form, output=str(path))
    log(CLOSED)
    size, limit = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        log(CLOSED)
        log(CLOSED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    log(CLOSED)
    log.close()
    assert log.lost == 2
    first, gap, last = path.read_text().splitlines()
    assert first == last
    assert ('"msg": "lines lost", "count": 2' if form == "json" else 'level=WARNING msg="lines lost" count=2') in gap
