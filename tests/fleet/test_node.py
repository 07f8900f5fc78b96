"""Nodes over a store in memory: what each has to run, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import socket

import msgspec
import pytest

from tests.hubs import config
from tests.waiting import eventually
from vaurien.errors import Conflict, OptionError, UnknownName, VaurienError
from vaurien.fleet import store as stores
from vaurien.fleet.desired import Desired, EditScope, edit_scope
from vaurien.fleet.entries import Alive, FaultEntry, Keys, MixEntry, ProxyEntry, Selector, Stop, decode, encode
from vaurien.fleet.limits import Limits
from vaurien.fleet.node import Node, told
from vaurien.fleet.store import KeyChange, MemoryStore, SharedMemory, StoreAway
from vaurien.model import Address, Fault, Mix, Policy
from vaurien.proxies.hub import Hub, OutdatedRevision

OTHER = Address("127.0.0.1", 9)


class Fleet:
    """Nodes *a*, *b* and *c*, each with a proxy *own*; *a* and *b* are of zone 1."""

    def __init__(self) -> None:
        self.shared = SharedMemory()
        self.hubs: dict[str, Hub] = {}
        self.nodes: dict[str, Node] = {}

    async def join(self, name: str, zone: str = "1") -> Node:
        hub = Hub()
        await hub.create(config("own", backend=OTHER))
        node = Node(MemoryStore(self.shared), hub, name, {"zone": zone})
        await node.start(required=True)
        self.hubs[name], self.nodes[name] = hub, node
        return node

    async def desired(self, by: str = "", on: Selector | None = None):
        """The configuration of the fleet, for edits of *by* on the nodes *on*."""
        edit_scope.set(EditScope(on, by))
        await self.nodes["a"].refresh()
        return self.nodes["a"].desired

    async def add(self, fault: Fault, proxy: str = "own", **on):
        desired = await self.desired(on=Selector(**on) if on else None)
        await desired.update_policy(proxy, lambda policy: policy.with_fault(fault))

    def faults(self, proxy: str = "own") -> dict[str, list[str]]:
        """The names of the faults of *proxy*, by node."""
        return {
            name: [one.name for one in hub.config.by_name[proxy].policy.faults] if proxy in hub.config.by_name else []
            for name, hub in self.hubs.items()
        }

    async def have(self, *names: str, proxy: str = "own") -> None:
        """Wait until the nodes *names* have a fault, and the others none."""
        await eventually(lambda: {name for name, some in self.faults(proxy).items() if some} == set(names))


@pytest.fixture
def play():
    """Run a coroutine function with a fleet."""

    def run(whole):
        async def inside():
            fleet = Fleet()
            try:
                for name, zone in (("a", "1"), ("b", "1"), ("c", "2")):
                    await fleet.join(name, zone)
                await asyncio.wait_for(whole(fleet), 60)
            finally:
                for node in fleet.nodes.values():
                    await node.stop()
                for hub in fleet.hubs.values():
                    await hub.stop()

        asyncio.run(inside())

    return run


ICE = Fault("ice", "freeze")


def test_a_fault_is_on_all_nodes_or_on_those_that_are_selected(play):
    async def whole(fleet):
        await fleet.add(ICE)
        await fleet.have("a", "b", "c")
        await fleet.add(Fault("second", "freeze"), nodes="zone=2")
        await eventually(lambda: fleet.faults() == {"a": ["ice"], "b": ["ice"], "c": ["ice", "second"]})
        desired = await fleet.desired()
        await desired.update_policy("own", lambda policy: policy.without_fault("ice"))
        await fleet.have("c")
        await desired.update_policy("own", lambda _: Policy())
        await fleet.have()
        assert fleet.shared.entries == {}

    play(whole)


def test_a_proxy_of_the_fleet_comes_changes_and_goes(play):
    async def whole(fleet):
        desired = await fleet.desired()
        await desired.create(config("made", backend=OTHER))
        await eventually(lambda: all("made" in hub.proxies for hub in fleet.hubs.values()))
        ports = {hub.get("made").address.port for hub in fleet.hubs.values()}
        assert len(ports) == 3
        assert {hub.config.proxy("made").seed for hub in fleet.hubs.values()} == {"0@a", "0@b", "0@c"}
        await fleet.add(ICE, "made")
        await fleet.have("a", "b", "c", proxy="made")
        desired = await fleet.desired()
        await desired.update("made", lambda one: msgspec.structs.replace(one, backend=Address("127.0.0.1", 10)))
        await eventually(lambda: {hub.config.proxy("made").backend.port for hub in fleet.hubs.values()} == {10})
        assert {hub.get("made").address.port for hub in fleet.hubs.values()} == ports
        assert fleet.faults("made") == {"a": ["ice"], "b": ["ice"], "c": ["ice"]}
        await desired.delete("made")
        await eventually(lambda: not any("made" in hub.proxies for hub in fleet.hubs.values()))
        assert fleet.shared.entries == {}

    play(whole)


def test_a_mix_comes_and_goes_and_the_nodes_own_is_back(play):
    async def whole(fleet):
        await (await fleet.desired()).update_policy("own", lambda policy: policy.with_mix(Mix.parse("10:delay")))
        await eventually(lambda: {str(hub.get("own").policy.mix) for hub in fleet.hubs.values()} == {"10:delay"})
        await (await fleet.desired()).update_policy("own", lambda policy: policy.with_mix(Mix()))
        await eventually(lambda: {str(hub.get("own").policy.mix) for hub in fleet.hubs.values()} == {""})

    play(whole)


def test_faults_of_a_node_stay_beside_those_of_the_fleet(play):
    async def whole(fleet):
        await fleet.hubs["b"].update_policy("own", lambda policy: policy.with_fault(Fault("mine", "freeze")))
        await fleet.add(ICE)
        await eventually(lambda: fleet.faults() == {"a": ["ice"], "b": ["mine", "ice"], "c": ["ice"]})
        await (await fleet.desired()).update_policy("own", lambda policy: policy.without_fault("ice"))
        await eventually(lambda: fleet.faults() == {"a": [], "b": ["mine"], "c": []})

    play(whole)


def test_a_time_to_live_ends_on_every_node_at_the_time_that_was_said(play):
    async def whole(fleet):
        await fleet.add(Fault("short", "freeze", ttl=4.0))
        await fleet.have("a", "b", "c")
        late = await fleet.join("late")
        await eventually(lambda: fleet.faults()["late"] == ["short"])
        left = fleet.hubs["late"].config.proxy("own").policy.fault("short").ttl
        await eventually(lambda: late.report().faults)
        assert 0 < left < 4
        await fleet.have()

    play(whole)


class OfAnotherClock(MemoryStore):
    """A store whose clock is so far ahead of this machine's."""

    def __init__(self, shared: SharedMemory, ahead: float) -> None:
        super().__init__(shared)
        self.offset = ahead

    @property
    def entries(self):
        there = super().entries
        return {key: msgspec.structs.replace(one, at=one.at + self.offset) for key, one in there.items()}


@pytest.mark.parametrize("ahead", [-1000.0, 1000.0])
def test_a_clock_that_is_wrong_is_shown_and_changes_no_time_to_live(play, ahead):
    async def whole(fleet):
        hub = fleet.hubs["skewed"] = Hub()
        await hub.create(config("own", backend=OTHER))
        node = fleet.nodes["skewed"] = Node(OfAnotherClock(fleet.shared, ahead), hub, "skewed", {"zone": "1"})
        await node.start(required=True)
        await fleet.add(Fault("short", "freeze", ttl=2.0))
        await fleet.have("a", "b", "c", "skewed")
        assert 1 < hub.config.proxy("own").policy.fault("short").ttl <= 2
        await node.refresh()
        assert 1 < node.desired.get("own").seconds_left("short") <= 2
        await fleet.have()
        assert (await fleet.nodes["a"].reports())["skewed"].offset == ahead

    play(whole)


def test_an_entry_that_one_node_does_not_understand_runs_on_the_others(play):
    """That node is of an older version: what it knows of faults has no such behavior."""

    async def whole(fleet):
        check = fleet.nodes["b"].check

        def older(proxy):
            if any(one.behavior == "hang" for one in proxy.policy.faults):
                raise UnknownName("behavior or handler", "hang", ["freeze"])
            check(proxy)

        fleet.nodes["b"].check = older
        await fleet.add(Fault("new", "hang"))
        await fleet.add(ICE)
        await eventually(lambda: fleet.faults() == {"a": ["new", "ice"], "b": ["ice"], "c": ["new", "ice"]})
        await eventually(lambda: fleet.nodes["b"].report().problems)
        assert "'hang'" in fleet.nodes["b"].report().problems[Keys.fault("own", "new")]
        assert fleet.nodes["a"].report().problems == {}

    play(whole)


def test_a_fault_ends_in_time_on_a_node_that_hears_nothing(play):
    """Its store is away, and so are the end of the entry and the machine that set it."""

    async def whole(fleet):
        await fleet.add(Fault("short", "freeze", ttl=0.3))
        await fleet.have("a", "b", "c")
        fleet.shared.stores.clear()
        await fleet.have()

    play(whole)


def test_what_a_node_cannot_run_it_says_and_the_others_go_on(play):
    async def whole(fleet):
        await fleet.hubs["b"].delete("own")
        await fleet.hubs["c"].update_policy("own", lambda policy: policy.with_fault(Fault("ice", "hang")))
        await fleet.add(ICE)
        await eventually(lambda: fleet.faults() == {"a": ["ice"], "b": [], "c": ["ice"]})
        await eventually(lambda: all(node.report().problems for node in (fleet.nodes["b"], fleet.nodes["c"])))
        key = Keys.fault("own", "ice")
        assert fleet.nodes["a"].report().problems == {}
        assert fleet.nodes["b"].report().problems == {key: "there is no proxy 'own' on this node"}
        assert fleet.nodes["c"].report().problems == {key: "proxy 'own' has a fault 'ice' of this node's own"}
        assert fleet.hubs["c"].get("own").policy.fault("ice").behavior == "hang"

    play(whole)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b'{"type":"later"}', "is not understood here"),
        (encode(MixEntry("own", Mix.parse("10:nobody"))), "unknown behavior or handler 'nobody'"),
        (
            encode(MixEntry("own", Mix.parse("10:vaurien.behaviors.delay.Delay"))),
            "callers of the HTTP interface may use import paths",
        ),
    ],
)
def test_an_entry_that_does_not_fit_is_passed_over_and_said(play, value, problem):
    """Of another version, of plugins that are not here, or of code that nobody has permitted."""

    async def whole(fleet):
        key = Keys.mix("own")
        await fleet.nodes["a"].store.put(key, value, revision=0)
        await fleet.add(ICE)
        await fleet.have("a", "b", "c")
        assert all(problem in node.report().problems[key] for node in fleet.nodes.values())

    play(whole)


FAULT = b'{"type":"fault","proxy":"own","fault":{"name":"f","behavior":"freeze",%s}}'
PROXY = b'{"type":"proxy","proxy":{"name":"p","listen":%s,"backend":%s}}'
HERE = b'{"host":"127.0.0.1","port":9}'


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("fault.own.f", b'{"type":"fault","proxy":"\xff"}', "byte 0xff at position 25 is not UTF-8"),
        ("fault.own.f", b'{"type":"fault","x":' + b"[" * 100_000, "nested too deeply"),
        ("fault.own.g", FAULT % b'"ttl":1', "it is that of 'fault.own.f'"),
        ("fault.own.f", FAULT % b'"options":{"x":[[[1]]]}', "unknown option 'x'"),
        ("fault.own.f", FAULT % b'"probability":1e999', "out of range"),
        ("proxy.p", PROXY % (b'{"port":-1}', HERE), "expected a port from 0 to 65535"),
        ("proxy.p", PROXY % (b'{"port":65536}', HERE), "expected a port from 0 to 65535"),
        ("proxy.p", PROXY % (b'{"host":"a\\u0000"}', HERE), "without control characters"),
        ("proxy.p", PROXY % (b'{"port":0}', b'{"port":65536}'), "expected a port from 1 to 65535"),
        (
            "mix.own",
            b'{"type":"mix","proxy":"own","mix":{"shares":[{"percent":500,"behavior":"delay"}]}}',
            "100 percent",
        ),
        (
            "mix.own",
            b'{"type":"mix","proxy":"own","mix":{"shares":[{"percent":-1,"behavior":"delay"}]}}',
            "100 percent",
        ),
    ],
    ids=lambda value: str(value[:40]),
)
def test_what_another_program_writes_into_the_bucket_stops_no_node(play, key, value, problem):
    async def whole(fleet):
        revision = await fleet.nodes["a"].store.put(key, value, revision=0)
        await eventually(lambda: all(node.report().problems for node in fleet.nodes.values()))
        assert all(problem in node.report().problems[key] for node in fleet.nodes.values())
        assert not any("p" in hub.proxies for hub in fleet.hubs.values())
        await fleet.add(ICE)
        await fleet.have("a", "b", "c")
        assert set(map(tuple, fleet.faults().values())) == {("ice",)}
        await fleet.nodes["a"].store.delete(key, revision=revision)
        await eventually(lambda: not any(node.report().problems for node in fleet.nodes.values()))

    play(whole)


def test_more_faults_than_a_proxy_may_have_are_said_and_other_proxies_go_on(play):
    async def whole(fleet):
        desired = await fleet.desired()
        await desired.create(config("made", backend=OTHER))
        mine = Policy(faults=tuple(Fault(f"mine-{number}", "freeze") for number in range(600)))
        await fleet.hubs["a"].update_policy("own", lambda _: mine)
        many = Policy(faults=tuple(Fault(f"f-{number}", "freeze") for number in range(600)))
        await (await fleet.desired()).update_policy("own", lambda _: many)
        await fleet.add(ICE, proxy="made")
        await eventually(lambda: set(map(tuple, fleet.faults("made").values())) == {("ice",)})
        assert "at most 1000" in fleet.nodes["a"].report().problems[Keys.proxy("own")]
        assert [len(some) for some in fleet.faults().values()] == [600, 600, 600]
        assert fleet.hubs["a"].config.proxy("own").policy == mine

    play(whole)


def test_entries_without_end_are_cut_off_everywhere_alike_and_can_be_removed(play):
    async def whole(fleet):
        faults = [FaultEntry("own", Fault(f"f-{number}", "freeze"), number) for number in range(1200)]
        fleet.shared.write(fleet.shared.entries, [KeyChange(one.key, encode(one), 0) for one in faults])
        await eventually(lambda: all(len(some) == 1000 for some in fleet.faults().values()))
        assert all(some[-1] == "f-999" for some in fleet.faults().values())
        problems = fleet.nodes["a"].report().problems
        assert "it can have no more" in problems[Keys.fault("own", "f-1000")]
        assert problems["…"] == "100 more problems"
        await (await fleet.desired()).update_policy("own", lambda policy: policy.without_fault("f-0"))
        await eventually(lambda: all(some[-1] == "f-1000" for some in fleet.faults().values()))

    play(whole)


def test_a_report_has_room_for_the_reason(play):
    async def whole(fleet):
        value = b'{"type":"fault","proxy":"own","fault":{"name":"f","behavior":"' + b"x" * 100_000 + b'"}}'
        await fleet.nodes["a"].store.put("fault.own.f", value, revision=0)
        await eventually(lambda: fleet.nodes["a"].report().problems)
        [problem] = fleet.nodes["a"].report().problems.values()
        assert len(problem) <= 501

    play(whole)


@pytest.mark.parametrize("value", [b"{", b"\xff", b'{"type":"later"}'])
def test_a_stop_that_is_not_understood_stops(play, value):
    async def whole(fleet):
        await fleet.add(ICE)
        await fleet.have("a", "b", "c")
        await fleet.nodes["a"].store.put(Keys.STOP, value, revision=0)
        await fleet.have()
        assert all(node.report().stopped for node in fleet.nodes.values())

    play(whole)


@pytest.mark.parametrize(
    "value", [b'{"max_nodes":1,"newer":2}', b'{"probe":{"url":"tcp://127.0.0.1:9","every":0}}', b"\xff"]
)
def test_without_limits_that_are_understood_no_fault_acts_and_none_is_set(play, value):
    async def whole(fleet):
        await fleet.add(ICE)
        await fleet.have("a", "b", "c")
        revision = await fleet.nodes["a"].store.put(Keys.LIMITS, value, revision=0)
        await fleet.have()
        assert all(Keys.LIMITS in node.report().problems for node in fleet.nodes.values())
        with pytest.raises(VaurienError, match=r"entry 'limits'|probe every"):
            await fleet.add(Fault("second", "freeze"))
        with pytest.raises(VaurienError, match=r"entry 'limits'|probe every"):
            await (await fleet.desired()).select("own", "ice", Selector("name=a"))
        await (await fleet.desired()).update_policy("own", lambda policy: policy.without_fault("ice"))
        await fleet.nodes["a"].store.delete(Keys.LIMITS, revision=revision)
        await fleet.add(Fault("second", "freeze"))
        await fleet.have("a", "b", "c")

    play(whole)


@pytest.mark.parametrize(
    "value",
    [
        b"\xff",
        b'{"name":"later","x":' + b"[" * 100_000,
        b'{"name":"a","identity":"forged","labels":{},"version":"","since":1}',
    ],
    ids=lambda value: str(value[:20]),
)
def test_a_report_that_no_node_has_written_is_passed_over(play, value):
    async def whole(fleet):
        await fleet.nodes["a"].store.claim("node.later", value, revision=0)
        await fleet.nodes["a"].store.claim(Keys.LEADER, value, revision=0)
        reports = await fleet.nodes["b"].reports()
        assert reports.keys() == {"a", "b", "c"}
        assert reports["a"].identity != "forged"
        await fleet.add(ICE)
        await fleet.have("a", "b", "c")

    play(whole)


@pytest.mark.parametrize(
    ("value", "event"),
    [
        (b'{"type":"Failed",\n "node":"a\\nb"}', b'{"type":"Failed","node":"a\\nb"}'),
        (b'{"type":"x\\nevent: Failed"}', None),
        (b'{"type":["Failed"]}', None),
        (b'{"type":"Failed","x":"' + b"x" * 70_000 + b'"}', None),
        (b'{"node":"a"}', None),
        (b"[]", None),
        (b"\xff", None),
        (b"[" * 60_000, None),
    ],
    ids=lambda value: str(value and value[:20]),
)
def test_what_is_told_by_others_is_no_event(value, event):
    assert told(value) == event


def test_two_edits_at_the_same_time_keep_a_limit_together(play):
    """Each adds another entry, and would be permitted without the other."""

    async def whole(fleet):
        await (await fleet.desired()).write({Keys.LIMITS: encode(Limits(max_share=0.3))})
        for node in fleet.nodes.values():
            await node.refresh()

        async def add(name, number):
            fault = Fault(f"{name}-{number}", "freeze", probability=0.1)
            await fleet.nodes[name].desired.update_policy("own", lambda policy: policy.with_fault(fault))

        edits = [add(name, number) for name in fleet.nodes for number in range(3)]
        done = await asyncio.gather(*edits, return_exceptions=True)
        assert [type(one) for one in done].count(type(None)) == 3
        assert {type(one) for one in done} == {type(None), OptionError}
        assert len([key for key in fleet.shared.entries if key.startswith("fault.")]) == 3

    play(whole)


@pytest.mark.parametrize("limits", [Limits(max_share=0.3), Limits(max_nodes=1), Limits(require_ttl=True)])
def test_a_proxy_that_is_disabled_is_no_way_round_a_limit(play, limits):
    async def whole(fleet):
        desired = await fleet.desired()
        await desired.create(config("made", backend=OTHER))
        await desired.write({Keys.LIMITS: encode(limits)})
        with pytest.raises(OptionError, match="expected a fault in its place, such as refuse with a ttl"):
            await desired.update("made", lambda proxy: msgspec.structs.replace(proxy, enabled=False))
        await desired.write({Keys.LIMITS: None})
        await desired.update("made", lambda proxy: msgspec.structs.replace(proxy, enabled=False))
        await desired.write({Keys.LIMITS: encode(limits)})
        await desired.update("made", lambda proxy: msgspec.structs.replace(proxy, enabled=True))

    play(whole)


def test_an_entry_that_names_a_file_which_callers_may_not_name_is_passed_over(play):
    async def whole(fleet):
        made = msgspec.structs.replace(config("made", backend=OTHER), tls=("/etc/hostname",))
        await fleet.nodes["a"].store.put(Keys.proxy("made"), encode(ProxyEntry(made)), revision=0)
        await eventually(lambda: all(node.report().problems for node in fleet.nodes.values()))
        for node in fleet.nodes.values():
            assert "--allow-tls-file '/etc/hostname'" in node.report().problems[Keys.proxy("made")]
        assert not any("made" in hub.proxies for hub in fleet.hubs.values())

    play(whole)


def test_a_node_has_a_proxy_of_that_name_already(play):
    async def whole(fleet):
        desired = await fleet.desired()
        with pytest.raises(Conflict):
            await desired.create(config("own", backend=OTHER))
        await desired.create(config("made", backend=OTHER))
        await eventually(lambda: "made" in fleet.hubs["b"].proxies)
        late = Hub()
        await late.create(config("made", backend=OTHER))
        fleet.hubs["late"] = late
        node = fleet.nodes["late"] = Node(MemoryStore(fleet.shared), late, "late", {})
        await node.start(required=True)
        await eventually(lambda: node.report().problems)
        assert node.report().problems == {"proxy.made": "proxy 'made' is one of this node's own already"}

    play(whole)


def test_a_port_that_is_taken_is_tried_again(play):
    async def whole(fleet):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            made = msgspec.structs.replace(config("made", backend=OTHER), listen=Address("127.0.0.1", port))
            await (await fleet.desired(on=Selector("name=b"))).create(made)
            await eventually(lambda: "cannot listen" in str(fleet.nodes["b"].report().problems))
            await fleet.add(ICE)
            await fleet.have("a", "b", "c")
        await eventually(lambda: "made" in fleet.hubs["b"].proxies and not fleet.nodes["b"].report().problems)

    play(whole)


def test_a_stop_that_fails_is_tried_again(play):
    """What the hub says of a proxy that cannot be reached."""

    async def whole(fleet):
        await fleet.hubs["b"].update_policy("own", lambda policy: policy.with_fault(Fault("mine", "freeze")))
        await fleet.add(ICE)
        await fleet.have("a", "b", "c")
        edit, fails = fleet.hubs["b"].edit, [VaurienError("worker 1 does not answer")] * 2

        async def failing(change):
            if fails:
                raise fails.pop()
            await edit(change)

        fleet.hubs["b"].edit = failing
        await (await fleet.desired()).write({Keys.STOP: encode(Stop("an incident"))})
        await fleet.have()
        await eventually(lambda: all(node.report().stopped for node in fleet.nodes.values()))

    play(whole)


def test_proxies_of_the_nodes_are_theirs(play):
    async def whole(fleet):
        desired = await fleet.desired()
        for edit in (
            desired.delete("own"),
            desired.update("own", lambda one: msgspec.structs.replace(one, enabled=False)),
        ):
            with pytest.raises(VaurienError, match="proxy 'own' is one of the nodes' own; expected only its faults"):
                await edit
        with pytest.raises(UnknownName, match="unknown proxy 'nobody'"):
            await desired.update_policy("nobody", lambda _: Policy())

    play(whole)


def test_two_edits_at_the_same_time(play):
    async def whole(fleet):
        desired = await fleet.desired()
        revision = desired.config.revision
        adding = [
            desired.update_policy("own", lambda policy, name=name: policy.with_fault(Fault(name, "freeze")))
            for name in ("one", "two", "three")
        ]
        await asyncio.gather(*adding)
        await eventually(lambda: set(fleet.faults()["c"]) == {"one", "two", "three"})
        with pytest.raises(OutdatedRevision) as raised:
            await desired.update_policy("own", lambda _: Policy(), revision=revision)
        assert {one.name for one in raised.value.current.proxy("own").policy.faults} == {"one", "two", "three"}
        await desired.update_policy("own", lambda _: Policy(), revision=desired.config.revision)

    play(whole)


@pytest.mark.parametrize(("with_revision", "error"), [(True, OutdatedRevision), (False, Conflict)])
def test_an_edit_that_meets_another_one_leaves_nothing_of_itself(play, with_revision, error):
    async def whole(fleet):
        await fleet.add(Fault("kept", "freeze", ttl=60.0))
        await fleet.add(Fault("removed", "freeze"))
        desired, store = await fleet.desired(), fleet.nodes["a"].store
        await fleet.nodes["b"].refresh()
        write, sizes, seen = store.write, [], set()

        async def write_after_another(changes):
            sizes.append(len(changes))
            if len(sizes) == 1:
                await fleet.nodes["b"].desired.update_policy(
                    "own", lambda now: now.with_fault(Fault("second", "freeze", probability=0.2))
                )
            return await write(changes)

        def note():
            seen.update(one.name for one in Desired.of(store.entries).policy("own").faults)

        def edit(now):
            changed = now.without_fault("removed").with_changed_fault(
                "kept", lambda one: msgspec.structs.replace(one, probability=0.5)
            )
            return changed.with_fault(Fault("first", "freeze")).with_fault(Fault("second", "freeze"))

        store.write, fleet.nodes["b"].store.on_change = write_after_another, note
        with pytest.raises(error):
            await desired.update_policy("own", edit, revision=desired.config.revision if with_revision else None)
        assert sizes == [4]
        assert seen == {"kept", "removed", "second"}
        kept, removed, second = Desired.of(store.entries).policy("own").faults
        assert (removed, second) == (Fault("removed", "freeze"), Fault("second", "freeze", probability=0.2))
        assert (kept.name, kept.probability, kept.ttl) == ("kept", 1.0, 60.0)

    play(whole)


def test_a_report_that_is_not_answered_holds_up_no_fault(play):
    async def whole(fleet):
        async def unanswered(*_, **__):
            await asyncio.Event().wait()

        fleet.nodes["b"].store.claim = unanswered
        await fleet.add(ICE)
        await fleet.have("a", "b", "c")
        await (await fleet.desired()).update_policy("own", lambda _: Policy())
        await fleet.have()
        await fleet.add(Fault("second", "freeze"))
        await fleet.have("a", "b", "c")

    play(whole)


def test_a_store_that_has_lost_all_claims_takes_edits(play):
    async def whole(fleet):
        fleet.shared.claims.clear()
        await fleet.add(ICE)
        await fleet.have("a", "b", "c")

    play(whole)


def test_a_name_is_taken_until_its_process_is_gone(play, monkeypatch):
    monkeypatch.setattr("vaurien.fleet.node.RENEW", 0.05)

    async def whole(fleet):
        with pytest.raises(Conflict, match="node 'b' exists already"):
            await Node(MemoryStore(fleet.shared), Hub(), "b", {}).start(required=True)
        await fleet.nodes["b"].stop()
        again = fleet.nodes["b"] = Node(MemoryStore(fleet.shared), fleet.hubs["b"], "b", {})
        await again.start(required=True)
        assert again.trouble is None

    play(whole)


def test_a_node_that_dies_is_listed_no_longer(play, monkeypatch):
    monkeypatch.setattr(stores, "CLAIM_TTL", 0.3)

    async def whole(fleet):
        await fleet.join("dying")
        assert set(await fleet.nodes["a"].reports()) >= {"a", "dying"}
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if "_renew" in repr(task):
                task.cancel()
        await eventually(lambda: _names(fleet))
        fleet.nodes.pop("dying")

    async def _names(fleet):
        return "dying" not in await fleet.nodes["a"].reports()

    play(whole)


def test_stop_everything_ends_faults_of_all_kinds_and_lets_none_begin(play):
    async def whole(fleet):
        await fleet.hubs["b"].update_policy("own", lambda policy: policy.with_fault(Fault("mine", "freeze")))
        await fleet.add(ICE)
        await fleet.have("a", "b", "c")
        desired = await fleet.desired("somebody")
        await desired.write({Keys.STOP: encode(Stop("an incident"))})
        await fleet.have()
        await fleet.add(Fault("later", "freeze"))
        await eventually(lambda: all(node.report().stopped for node in fleet.nodes.values()))
        assert not any(fleet.faults().values())
        await desired.write({Keys.STOP: None})
        await eventually(lambda: fleet.faults() == {name: ["ice", "later"] for name in "abc"})

    play(whole)


def test_without_a_heartbeat_faults_end(play):
    async def whole(fleet):
        desired = await fleet.desired()
        await desired.write({Keys.LIMITS: encode(Limits(heartbeat=0.3))})
        await fleet.add(ICE)
        await desired.write({Keys.ALIVE: encode(Alive())})
        await fleet.have("a", "b", "c")
        await fleet.have()
        await desired.write({Keys.ALIVE: encode(Alive())})
        await fleet.have("a", "b", "c")

    play(whole)


class LateStore(MemoryStore):
    """Goes away between the first `open` and the claim of the name."""

    claimed = False

    async def claim(self, key, value, **more):
        if not self.claimed:
            self.claimed = True
            raise StoreAway("away")
        return await super().claim(key, value, **more)


def test_a_store_that_goes_away_while_a_node_joins_is_opened_once(monkeypatch):
    monkeypatch.setattr("vaurien.fleet.node._RETRY", 0.01)

    async def whole():
        shared = SharedMemory()
        node = Node(LateStore(shared), Hub(), "a", {})
        assert await node.start(required=False) == "away"
        await eventually(lambda: "node.a" in shared.claims)
        assert shared.stores == [node.store]
        await node.stop()
        assert not shared.stores

    asyncio.run(whole())


def test_limits_hold_for_every_edit(play):
    async def whole(fleet):
        desired = await fleet.desired()
        await desired.write({Keys.LIMITS: encode(Limits(max_nodes=1, max_share=0.2, require_ttl=True))})
        with pytest.raises(OptionError, match="expected a time to live: the fleet requires one"):
            await fleet.add(Fault("ice", "freeze", probability=0.1))
        with pytest.raises(OptionError, match=r"expected at most 0.2 of the exchanges of proxy 'own' in total"):
            await fleet.add(Fault("ice", "freeze", probability=0.3, ttl=60))
        assert fleet.shared.entries.keys() == {"limits"}
        await fleet.add(Fault("ice", "freeze", probability=0.1, ttl=60))
        await eventually(lambda: sum(map(bool, fleet.faults().values())) == 1)
        [hit] = [name for name, some in fleet.faults().items() if some]
        with pytest.raises(OptionError, match=r"these make 0\.25"):
            await fleet.add(Fault("second", "freeze", probability=0.15, ttl=60))
        await fleet.add(Fault("second", "freeze", probability=0.1, ttl=60))
        await eventually(lambda: fleet.faults()[hit] == ["ice", "second"])
        assert sum(map(bool, fleet.faults().values())) == 1

    play(whole)


def test_a_limit_counts_the_faults_behind_the_one_that_is_changed_too(play):
    def more(fault):
        return msgspec.structs.replace(fault, probability=0.3)

    async def whole(fleet):
        desired = await fleet.desired()
        await desired.write({Keys.LIMITS: encode(Limits(max_share=0.5))})
        await fleet.add(Fault("first", "freeze", probability=0.1))
        await fleet.add(Fault("second", "freeze", probability=0.4))
        with pytest.raises(OptionError, match=r"fault 'first' option probability: 0\.3 .* these make 0\.7"):
            await (await fleet.desired()).update_policy("own", lambda policy: policy.with_changed_fault("first", more))

    play(whole)


def test_faults_of_one_edit_are_on_no_more_nodes_than_permitted(play):
    async def whole(fleet):
        desired = await fleet.desired()
        await desired.write({Keys.LIMITS: encode(Limits(max_nodes=1))})
        for number in range(6):
            two = Policy(faults=(Fault(f"one-{number}", "freeze"), Fault(f"other-{number}", "freeze")))
            await (await fleet.desired()).update_policy("own", lambda _: Policy())
            await (await fleet.desired()).update_policy("own", lambda _, two=two: two)
            await eventually(lambda two=two: [one.name for one in two.faults] in fleet.faults().values())
            assert sum(map(bool, fleet.faults().values())) == 1

    play(whole)


def test_a_node_may_ask_for_times_to_live_by_itself(play):
    async def whole(fleet):
        fleet.nodes["a"].desired.require_ttl = True
        with pytest.raises(OptionError, match="a time to live"):
            await fleet.add(ICE)
        await fleet.add(Fault("ice", "freeze", ttl=60))
        await fleet.have("a", "b", "c")

    play(whole)


def test_at_most_so_many_nodes(play):
    async def whole(fleet):
        await fleet.add(ICE, max_nodes=2)
        await eventually(lambda: sum(map(bool, fleet.faults().values())) == 2)
        await fleet.join("late")
        assert sum(map(bool, fleet.faults().values())) == 2

    play(whole)


def test_the_audit_trail_says_who_when_through_which_node_and_what(play):
    async def whole(fleet):
        desired = await fleet.desired("somebody")
        await desired.update_policy("own", lambda policy: policy.with_fault(ICE))
        await desired.update_policy("own", lambda policy: policy.without_fault("ice"))
        lines = [msgspec.json.decode(line) for line in await fleet.nodes["b"].store.records(10)]
        assert [(one["by"], one["via"], one["key"], bool(one["entry"])) for one in lines] == [
            ("somebody", "a", "fault.own.ice", True),
            ("somebody", "a", "fault.own.ice", False),
        ]
        assert lines[0]["at"] <= lines[1]["at"]
        assert lines[0]["entry"]["fault"]["behavior"] == "freeze"

    play(whole)


def test_a_fault_is_selected_anew_and_runs_on_where_it_was(play):
    async def whole(fleet):
        await fleet.add(Fault("ice", "freeze", ttl=60.0), nodes="zone=1")
        await fleet.have("a", "b")
        before = fleet.hubs["a"].config.proxy("own").policy.fault("ice")
        desired = await fleet.desired("somebody")
        await desired.select("own", "ice", Selector("name=a"))
        await fleet.have("a")
        assert fleet.hubs["a"].config.proxy("own").policy.fault("ice") is before
        await desired.select("own", "ice", Selector())
        await fleet.have("a", "b", "c")
        assert fleet.hubs["a"].config.proxy("own").policy.fault("ice") is before
        assert 50 < fleet.hubs["c"].config.proxy("own").policy.fault("ice").ttl <= 60
        with pytest.raises(UnknownName, match="unknown fault 'fire' of the fleet"):
            await desired.select("own", "fire", Selector())
        with pytest.raises(OptionError, match="expected conditions"):
            await desired.select("own", "ice", Selector("a b"))
        await desired.write({Keys.LIMITS: encode(Limits(max_nodes=1))})
        await desired.select("own", "ice", Selector())
        await eventually(lambda: sum(map(bool, fleet.faults().values())) == 1)

    play(whole)


def test_what_is_selected_anew_ends_when_it_was_to_end(play):
    async def whole(fleet):
        await fleet.add(Fault("short", "freeze", ttl=1.0), nodes="name=a")
        await fleet.have("a")
        end = fleet.shared.entries[Keys.fault("own", "short")].at + 1.0
        await (await fleet.desired()).select("own", "short", Selector())
        await fleet.have("a", "b", "c")
        entry = fleet.shared.entries[Keys.fault("own", "short")]
        assert abs(entry.at + decode(Keys.fault("own", "short"), entry).fault.ttl - end) < 0.05
        await fleet.have()
        assert fleet.shared.entries == {}

    play(whole)
