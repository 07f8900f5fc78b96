"""The proxies in a file: what is written when, and what a disk may do."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading

import httpx
import msgspec
import pytest

from tests.hubs import adding, changing, config, mixing, played
from tests.running import PATIENCE
from tests.waiting import eventually
from vaurien.cli.serve import state
from vaurien.cli.serve.state import StateFile
from vaurien.control import original
from vaurien.errors import ConfigError, VaurienError
from vaurien.model import Address, Fault, Mix, Policy
from vaurien.proxies.hub import Hub


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.json"


def kept(path):
    """Names, and the names of their faults."""
    proxies = json.loads(path.read_text())["proxies"]
    return {one["name"]: [fault["name"] for fault in one["policy"]["faults"]] for one in proxies}


def following(path, play, *, needs_state=False):
    """Run *play* with a hub whose proxies are kept in *path*."""
    keeper = StateFile(str(path))

    async def whole(hub):
        await keeper.restore(hub)
        try:
            await (play(hub, keeper) if needs_state else play(hub))
        finally:
            await keeper.close()

    played(whole)


def test_every_change_is_in_the_file_soon(path):
    async def play(hub):
        assert kept(path) == {}
        await hub.create(config("a"))
        await eventually(lambda: kept(path) == {"a": []})
        await hub.update_policy("a", adding(Fault("f", "noop")))
        await eventually(lambda: kept(path) == {"a": ["f"]})
        await hub.update_policy("a", mixing(Mix.parse("20:delay")))
        await eventually(lambda: b"20.0" in path.read_bytes())
        await hub.update("a", changing(backend=Address("elsewhere", 7)))
        await eventually(lambda: b"elsewhere" in path.read_bytes())
        await hub.delete("a")
        await eventually(lambda: kept(path) == {})

    following(path, play)


def test_a_fault_that_removes_itself_is_not_kept(path):
    async def play(hub):
        await hub.create(config("a", policy=Policy(faults=(Fault("f", "noop", ttl=0.02), Fault("g", "noop")))))
        await eventually(lambda: kept(path) == {"a": ["g"]})

    following(path, play)


def test_a_backend_set_as_in_the_original_is_kept(path):
    async def play(hub):
        await hub.create(config("a"))
        transport = httpx.ASGITransport(original.routes(hub, {})[-1].endpoint)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.put("/backend", json={"backend": "elsewhere:7"})
        assert answer.status_code == 200
        await eventually(lambda: b"elsewhere" in path.read_bytes())

    following(path, play)


def test_what_was_changed_at_last_is_there_after_the_end(path):
    async def play(hub):
        for number in range(5):
            await hub.create(config(f"p{number}"))

    following(path, play)
    assert list(kept(path)) == [f"p{number}" for number in range(5)]
    assert all(one["enabled"] for one in json.loads(path.read_text())["proxies"])
    assert [file.name for file in path.parent.iterdir()] == ["state.json"]


def test_a_slow_disk_holds_up_nobody(path, monkeypatch):
    """Several changes meanwhile are one more write."""
    ready, writes = threading.Event(), []
    replace = os.replace

    def slow(new, old):
        writes.append(new)
        if len(writes) == 2:
            assert ready.wait(PATIENCE)
        replace(new, old)

    monkeypatch.setattr(os, "replace", slow)

    async def play(hub):
        await hub.create(config("a"))
        await eventually(lambda: len(writes) == 2)
        for number in range(10):
            await hub.update_policy("a", adding(Fault(f"f{number}", "noop")))
        ready.set()
        await eventually(lambda: len(kept(path).get("a", ())) == 10)
        assert len(writes) == 3

    following(path, play)


def test_a_disk_that_is_full_is_told_and_leaves_what_there_is(path, monkeypatch, capsys):
    async def play(hub):
        await hub.create(config("a"))
        await eventually(lambda: kept(path) == {"a": []})
        with monkeypatch.context() as full:
            full.setattr(os, "fsync", _full)
            await hub.create(config("b"))
            told = []
            await eventually(lambda: told.append(capsys.readouterr().err) or any(told))
        assert "".join(told) == (
            f"vaurien: state file '{path}' cannot be written: No space left on device; "
            "changes hold, and are written when that is possible\n"
        )
        assert kept(path) == {"a": []}
        assert sorted(file.name for file in path.parent.iterdir()) == ["state.json"]

    following(path, play)
    assert list(kept(path)) == ["a", "b"]


@pytest.mark.parametrize("steps", range(5))
def test_an_end_that_meets_a_change_on_a_full_disk(path, monkeypatch, steps):
    """However many steps of the loop lie between: `asyncio.wait_for` of Python 3.11 loses the cancellation."""

    async def play(hub, keeper):
        with monkeypatch.context() as full:
            full.setattr(os, "fsync", _full)
            await hub.create(config("a"))
            assert not await keeper.settled()
            hub.changed()
            for _ in range(steps):
                await asyncio.sleep(0)
        await keeper.close()

    following(path, play, needs_state=True)
    assert list(kept(path)) == ["a"]


def _full(_descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_cannot_be_read_is_left_alone(path):
    path.write_text("{}")
    with pytest.raises(ConfigError, match="is not what was written"):
        asyncio.run(StateFile(str(path)).restore(Hub()))
    assert path.read_text() == "{}"


def test_the_file_of_a_program_that_remembered_no_configuration_is_read(path):
    path.write_bytes(msgspec.json.encode([config("a"), config("b")]))
    following(path, _nothing)
    assert list(kept(path)) == ["a", "b"]


def test_a_folder_that_there_is_not(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory"):
        asyncio.run(StateFile(str(tmp_path / "no" / "state.json")).restore(Hub()))


def test_a_link_to_the_file_stays_one(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)

    async def play(hub):
        await hub.create(config())

    following(link, play)
    assert link.is_symlink()
    assert kept(path) == {"a": []}


def test_a_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is a device or a pipe; expected a file"):
        following(tmp_path / "pipe", None)
    assert (tmp_path / "pipe").is_fifo()


def test_what_cannot_be_written_is_told_once(tmp_path, capsys):
    async def play(hub):
        keeper = StateFile(str(tmp_path / "none" / "state.json"))
        with pytest.raises(ConfigError, match="cannot be written: No such file"):
            await keeper.restore(hub)
        await keeper.close()

    played(play)
    assert capsys.readouterr().err == ""


def test_what_a_full_disk_did_not_take_is_written_once_there_is_room(path, monkeypatch, capsys):
    monkeypatch.setattr(state, "_RETRY", 0.01)

    async def play(hub, kept_by):
        with monkeypatch.context() as full:
            full.setattr(os, "fsync", _full)
            await hub.create(config("a"))
            assert not await kept_by.settled()
            assert kept(path) == {}
        await eventually(kept_by.settled)
        assert kept(path) == {"a": []}
        assert capsys.readouterr().err.endswith(f"vaurien: state file '{path}' is written again\n")

    following(path, play, needs_state=True)


def test_a_settled_change_is_in_the_file(path):
    async def play(hub, kept_by):
        for number in range(20):
            await hub.create(config(f"p{number}"))
            assert await kept_by.settled()
            assert f"p{number}" in kept(path)
        before = os.stat(path).st_ino
        assert await kept_by.settled()
        assert os.stat(path).st_ino == before  # there was nothing to write

    following(path, play, needs_state=True)


def test_changes_of_one_moment_are_one_write(path, monkeypatch):
    writes = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda new, old: (writes.append(new), replace(new, old)))

    async def play(hub, kept_by):
        async def change(number):
            await hub.create(config(f"p{number}"))
            assert await kept_by.settled()
            assert f"p{number}" in kept(path)

        await asyncio.gather(*(change(number) for number in range(50)))
        assert len(writes) < 25

    following(path, play, needs_state=True)


def test_a_file_has_one_process_at_a_time(path):
    async def play(hub):
        with pytest.raises(ConfigError, match=rf"is kept by process {os.getpid()}; expected another file, or that it"):
            await StateFile(str(path)).restore(Hub())
        await hub.create(config("a"))
        await eventually(lambda: kept(path) == {"a": []})

    following(path, play)
    following(path, _nothing)


async def _nothing(_hub):
    pass


def test_a_file_that_cannot_be_read_is_free_for_others(path):
    path.write_text("{}")
    with pytest.raises(ConfigError, match="is not what was written"):
        asyncio.run(StateFile(str(path)).restore(Hub()))
    assert [file.name for file in path.parent.iterdir()] == ["state.json"]


def test_what_a_killed_process_left_is_cleared_away(path):
    (path.parent / "state.json.new").write_text("[{half")
    following(path, _nothing)
    assert [file.name for file in path.parent.iterdir()] == ["state.json"]


def test_a_link_in_the_place_of_the_new_file_is_not_followed(path):
    precious = path.parent / "precious"
    precious.write_text("precious")
    (path.parent / "state.json.new").symlink_to(precious)
    following(path, _nothing)
    assert precious.read_text() == "precious"
    assert kept(path) == {}


def test_a_file_that_was_made_for_the_lock_alone_goes_with_it(path):
    async def play():
        hub = Hub()
        await hub.create(config("a"))
        keeper = StateFile(str(path))
        with pytest.raises(VaurienError):
            await keeper.restore(hub, [config("b", protocol="no-such-protocol")])
        await hub.stop()

    asyncio.run(play())
    assert not path.exists()


@pytest.mark.parametrize("number", ["9999999999999", "-1", "1e308", "99999999999999999999999999", "null"])
def test_a_number_that_no_proxy_can_have_is_named(path, number):
    proxy = {"name": "a", "listen": {"host": "127.0.0.1"}, "backend": {"host": "h", "port": 1}}
    path.write_text(json.dumps([proxy])[:-2] + f', "backlog": {number}}}]')
    with pytest.raises(ConfigError, match=r"is not what was written: .*\$\[0\]\.backlog"):
        following(path, None)
