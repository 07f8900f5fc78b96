from __future__ import annotations

import json
import resource

import pytest

from vaurien import __version__
from vaurien.errors import ConfigError, OptionError
from vaurien.events import Accepted, Decided, Injected
from vaurien.model import Address, Fault, Mix, Policy, ProxyConfig, Stream
from vaurien.observers.trace import Recording, Trace, read


def decided(**facts):
    return Decided(proxy="web", at=1.0, connection=2, **facts)


def test_a_line_for_each_decision_and_hit(tmp_path):
    path = tmp_path / "trace.jsonl"
    trace = Trace(str(path), "7")
    trace(Accepted(proxy="web", at=1.0, connection=2, peer="127.0.0.1:1"))
    trace(decided(fault="mix", drawn=None, exchange=1, stream=Stream.UPSTREAM, offset=0, elapsed=0.12345678))
    trace(Injected(proxy="web", at=1.0, connection=2, fault="slow", elapsed=0.5))
    trace.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"trace": 1, "version": __version__, "seed": "7"},
        {
            "kind": "decision",
            "proxy": "web",
            "connection": 2,
            "fault": "mix",
            "exchange": 1,
            "stream": "upstream",
            "offset": 0,
            "elapsed": 0.123457,
            "drawn": None,
        },
        {"kind": "hit", "proxy": "web", "connection": 2, "fault": "slow", "elapsed": 0.5},
    ]


def test_what_was_written_is_read(tmp_path):
    path = str(tmp_path / "trace.jsonl")
    trace = Trace(path, "7")
    for drawn in (True, "error", None, False):
        trace(decided(fault="f", drawn=drawn))
    trace(Injected(proxy="web", at=1.0, connection=2, fault="f"))
    trace.close()
    decisions = [(2, "f", drawn) for drawn in (True, "error", None, False)]
    assert read(path) == Recording("7", {"web": decisions})


def test_it_has_the_proxies_of_the_run(tmp_path):
    path = str(tmp_path / "trace.jsonl")
    policy = Policy(Mix.parse("20:delay"), (Fault("slow", "latency", {"latency": 100}, match={"client": "::1"}),))
    proxies = tuple(
        ProxyConfig(name=name, listen=Address("::1", 0), backend=Address(path="/b"), policy=policy) for name in "ab"
    )
    Trace(path, "7", proxies).close()
    assert read(path).proxies == proxies


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(OptionError, match=r"trace: .* expected a file that can be written \(Is a directory\)"):
        Trace(str(tmp_path), "7")


def test_a_full_disk_is_counted_and_told(capsys):
    trace = Trace("/dev/full", "7")
    trace(decided(fault="f", drawn=True))
    assert trace.lost == 2
    trace.close()
    assert capsys.readouterr().err.splitlines() == [
        "vaurien: trace '/dev/full': No space left on device; lines are lost",
        "vaurien: trace '/dev/full': 2 lines were lost (No space left on device)",
    ]


def test_a_trace_says_where_lines_are_missing(tmp_path):
    path = tmp_path / "trace.jsonl"
    trace = Trace(str(path), "7")
    trace(decided(fault="f", drawn=True))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limit[1]))  # ten bytes of the next line fit
    try:
        for drawn in (False, "lost", "lost"):
            trace(decided(fault="f", drawn=drawn))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    trace(decided(fault="f", drawn=None))
    trace.close()
    assert trace.lost == 2
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[3] == {"kind": "lost", "lines": 2}
    assert read(str(path)) == Recording("7", {"web": [(2, "f", True), (2, "f", False), (2, "f", None)]}, lost=2)


def test_a_last_line_that_is_cut_off_counts_as_lost(tmp_path):
    """The program, or the machine, died while it was written."""
    path = tmp_path / "trace.jsonl"
    trace = Trace(str(path), "7")
    for drawn in (True, False):
        trace(decided(fault="f", drawn=drawn))
    trace.close()
    path.write_bytes(path.read_bytes()[:-5])
    assert read(str(path)) == Recording("7", {"web": [(2, "f", True)]}, lost=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty; expected a trace written by --trace"),
        ("hello\n", "line 1: 'hello' is not a line of a trace"),
        ("hello", "line 1: 'hello' is no trace; expected a trace written by --trace"),
        ('{"trace": 2, "seed": "1"}\n', "line 1: a trace of form 2, which is not known here; expected a trace written"),
        ('{"trace": 1, "seed": "1"}\n{"kind": 3}\n', "line 2: '{\"kind\": 3}' is not a line of a trace"),
    ],
)
def test_a_file_that_is_no_trace(tmp_path, text, message):
    path = tmp_path / "trace.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read(str(path))
    assert message in str(raised.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory; expected a trace"):
        read(str(tmp_path / "none"))
