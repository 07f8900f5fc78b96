"""What the profiler's output becomes. That it can look at a process is up to the system."""

from __future__ import annotations

import pytest

from benchmarks.profile import counted, main, top
from tests.servers import require

STACKS = """\
main (run.py:3);work (link.py:10);leaf (link.py:20) 6
main (run.py:3);work (link.py:11) 3
main (run.py:4);main (run.py:3) 1
"""

STRACE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           3       200       100 recvfrom
 40.00    0.000400           4       100           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           3       300       100 total
"""


def test_a_function_counts_once_whatever_its_lines():
    assert list(top(STACKS)) == [
        "  own %  with callees %  function",
        "   60.0            60.0  leaf (link.py)",
        "   30.0            90.0  work (link.py)",
        "   10.0           100.0  main (run.py)",
    ]


def test_nothing_seen_is_a_table_without_lines():
    assert len(list(top(""))) == 1


def test_system_calls_are_told_for_each_request():
    assert list(counted(STRACE, 50.0, "request")) == [
        "50 requests; calls for each:",
        "   4.000  recvfrom",
        "   2.000  sendto",
        "   6.000  all",
    ]


@pytest.mark.server
@pytest.mark.slow
def test_a_short_trace_of_real_programs(capsys):
    for program in ("redis-server", "nginx", "wrk", "iperf3", "nghttpd", "strace"):
        require(program)
    status = main(["--syscalls", "--seconds", "1", "--load", "connections"])
    out, err = capsys.readouterr()
    if "not permitted" in err:
        pytest.skip("this system lets nobody look at a process")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0].endswith("connections; calls for each:")
    assert any(line.endswith("  connect") for line in lines)
