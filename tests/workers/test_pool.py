"""Workers that cannot be started."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from vaurien.errors import VaurienError
from vaurien.workers import process
from vaurien.workers.pool import Workers


def test_no_room_for_another_process(monkeypatch):
    spawn, started = process._spawn, []

    def refuse(end, kind):
        if started:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started.append(spawn(end, kind))
        return started[0]

    monkeypatch.setattr(process, "_spawn", refuse)

    async def play():
        pool = Workers(2)
        with pytest.raises(VaurienError, match="a worker cannot be started: Resource temporarily unavailable"):
            await pool.start()
        await pool.stop()

    asyncio.run(play())
    assert started[0].returncode is not None


def test_a_worker_that_ends_before_it_is_ready(monkeypatch):
    monkeypatch.setattr(process.sys, "executable", "/bin/false")

    async def play():
        pool = Workers(2)
        with pytest.raises(VaurienError, match="a worker ended before it answered: exit status 1"):
            await pool.start()
        await pool.stop()

    asyncio.run(play())
