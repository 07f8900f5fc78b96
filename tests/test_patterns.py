from __future__ import annotations

import concurrent.futures
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaurien
from tests.running import Echo, read
from tests.waiting import PATIENCE
from vaurien import patterns

SLOW = [
    (r"(a+)+$", "a" * 60 + "b"),
    (r"(a|aa)+$", "a" * 60 + "b"),
    (r"^(\w+\s?)*$", "a" * 60 + "!"),
    (r".*.*.*=.*", "a" * 65536),
    (r"(x+x+)+y", "x" * 60),
    (r"(.*)\1\1\1x", "a" * 20000),
]


@pytest.mark.parametrize("kind", [str, bytes])
@pytest.mark.parametrize(("pattern", "text"), SLOW)
def test_a_search_that_takes_too_long_is_ended(kind, pattern, text):
    if kind is bytes:
        pattern, text = pattern.encode(), text.encode()
    search = patterns.compile(pattern).search
    began = time.process_time()
    with pytest.raises(patterns.TooSlow, match=r"^this took more than 2 ms of processor time; expected no repetition"):
        patterns.bounded("this", search, text)
    assert time.process_time() - began < 1.0  # these would take hours


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_alarm_that_rings_in_a_destructor_rings_again():
    """Python drops what a destructor raises."""
    dropped = []

    class Slow:
        def __del__(self):
            try:
                while True:
                    pass
            finally:
                dropped.append(True)

    def search():
        Slow()
        assert dropped
        return re.search(*SLOW[0])

    with pytest.raises(patterns.TooSlow):
        patterns.bounded("this", search)
    assert patterns.bounded("this", re.compile("b").search, "ab")


def test_others_are_as_if_they_were_not_bounded():
    for _ in range(1000):
        assert patterns.bounded("this", patterns.compile(r"^/v[12]/").search, "/v1/x")
        assert patterns.bounded("this", patterns.compile(r"^/v[12]/").search, "/v3/x") is None
    with pytest.raises(ZeroDivisionError):
        patterns.bounded("this", lambda: 1 / 0)


def test_a_search_after_one_that_was_ended():
    for _ in range(20):
        with pytest.raises(patterns.TooSlow):
            patterns.bounded("this", patterns.compile(SLOW[0][0]).search, SLOW[0][1])
        assert patterns.bounded("this", re.compile("b").search, "a" * 100_000 + "b")


def in_a_thread(function, *arguments):
    """What *function* returns, or raises, in a thread."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *arguments).result(PATIENCE)


@pytest.fixture
def closing():
    yield
    patterns.close()


def processes():
    """The processes that search for this one."""
    tasks = [threading.main_thread().native_id, *(task.name for task in Path("/proc/self/task").iterdir())]
    children = {pid for task in tasks for pid in read_if_there(f"/proc/self/task/{task}/children").split()}
    return [pid for pid in children if "vaurien.pattern_process" in read_if_there(f"/proc/{pid}/cmdline")]


def read_if_there(path):
    """What the system says in *path*, or nothing of a thread or process that has ended."""
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.parametrize(("pattern", "text"), SLOW)
def test_in_another_thread_a_search_that_takes_too_long_is_ended_too(closing, pattern, text):
    search = patterns.compile(pattern).search
    with pytest.raises(patterns.TooSlow, match=r"^this took more than 2 ms of processor time; expected no repetition"):
        in_a_thread(patterns.bounded, "this", patterns.finds, search, text)
    assert in_a_thread(patterns.bounded, "this", patterns.finds, re.compile("b").search, "ab") is True
    assert in_a_thread(patterns.bounded, "this", patterns.finds, re.compile("b").search, "a") is False


def test_errors_of_a_search_come_back_to_its_thread(closing):
    with pytest.raises(re.error, match="invalid group reference 1"):
        in_a_thread(patterns.bounded, "this", re.compile(b"a").sub, b"\\1", b"a")


def test_threads_share_one_process_which_ends_with_their_need(closing):
    search = re.compile("b").search
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(patterns.bounded, "this", patterns.finds, search, text) for text in "ab" * 100]
        assert [answer.result(PATIENCE) for answer in answers] == [False, True] * 100
    if Path("/proc/self/task").exists():
        assert len(processes()) == 1
        patterns.close()
        assert not processes()
    assert in_a_thread(patterns.bounded, "this", patterns.finds, search, "b") is True


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the process by proc(5)")
def test_a_process_that_was_killed_is_replaced(closing):
    search = re.compile("b").search
    assert in_a_thread(patterns.bounded, "this", patterns.finds, search, "b") is True
    [pid] = processes()
    os.kill(int(pid), signal.SIGKILL)
    with pytest.raises(patterns.TooSlow):
        in_a_thread(patterns.bounded, "this", patterns.finds, search, "b")
    assert in_a_thread(patterns.bounded, "this", patterns.finds, search, "b") is True


def test_it_ends_with_a_program_that_does_not_close_it():
    program = """
import concurrent.futures, re
from vaurien import patterns
with concurrent.futures.ThreadPoolExecutor(1) as thread:
    print(thread.submit(patterns.bounded, "this", patterns.finds, re.compile("b").search, "ab").result())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_one_of_its_own(closing):
    search = re.compile("b").search
    assert in_a_thread(patterns.bounded, "this", patterns.finds, search, "b") is True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            found = in_a_thread(patterns.bounded, "this", patterns.finds, search, "b")
            patterns.close()
        finally:
            os._exit(0 if found else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert in_a_thread(patterns.bounded, "this", patterns.finds, search, "b") is True


def test_a_slow_expression_in_the_library_ends_its_connection_alone():
    with Echo() as echo, vaurien.Proxy(f"127.0.0.1:{echo.address[1]}") as proxy:
        with proxy.fault("replace", pattern="(a+)+$", by="x", regex=True, stream="upstream"):
            with (
                socket.create_connection((proxy.host, proxy.port), PATIENCE) as client,
                contextlib.suppress(ConnectionError),
            ):
                client.sendall(b"a" * 60 + b"b")
                assert client.recv(10) == b""
            with socket.create_connection((proxy.host, proxy.port), PATIENCE) as client:
                client.sendall(b"aaa")
                assert read(client, 1) == b"x"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a" * 1001, "it has 1001 characters; at most 1000 are possible"),
        ("(" * 500 + ")" * 500, "it is nested too deeply"),
        ("a{9999999999999}", "a number of repetitions is too large"),
        ("(", "missing ), unterminated subpattern at position 0"),
    ],
)
def test_what_is_no_expression(text, reason):
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        patterns.compile(text)


@pytest.mark.parametrize("text", ["[[a]", "[a~~b]", "[a&&b]", "[a||b]"])
def test_what_python_may_read_otherwise_one_day_is_an_expression_without_a_warning(text):
    assert patterns.compile(text).search("a")


@given(st.text(st.sampled_from("a1(){}[]|*+?.^$\\-,:<>=!PisLu&#&\ud800é"), max_size=40))
def test_any_text_is_an_expression_or_is_refused(text):
    with contextlib.suppress(ValueError):
        patterns.compile(text)
