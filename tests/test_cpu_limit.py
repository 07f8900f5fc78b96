"""The limit counts the time of the call alone: neither other threads nor the collector of garbage end it."""

from __future__ import annotations

import gc
import hashlib
import threading
import time

import pytest

from vaurien.cpu_limit import LIMIT, TookLong, can_limit, limited


def spend(seconds: float) -> bool:
    """Use *seconds* of this thread's processor time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return True


@pytest.fixture(autouse=True)
def prepared():
    assert can_limit()


@pytest.fixture
def busy():
    """Other threads that need a processor, and not the lock of the interpreter."""
    stop = threading.Event()

    def burn():
        while not stop.is_set():
            hashlib.pbkdf2_hmac("sha256", b"", b"", 20_000)

    threads = [threading.Thread(target=burn) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield
    stop.set()
    for thread in threads:
        thread.join()


def test_the_time_of_other_threads_does_not_count(busy):
    assert all(limited(spend, (LIMIT / 2,)) for _ in range(300))


def test_its_own_does_beside_other_threads(busy):
    with pytest.raises(TookLong):
        limited(spend, (1.0,))


def test_no_garbage_is_collected_meanwhile():
    assert gc.isenabled()
    assert limited(gc.isenabled, ()) is False
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off():
    gc.disable()
    try:
        limited(gc.isenabled, ())
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_collector_goes_on_after_a_call_that_took_too_long():
    with pytest.raises(TookLong):
        limited(spend, (1.0,))
    assert gc.isenabled()
