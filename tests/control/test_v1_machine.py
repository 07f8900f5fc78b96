"""``/api/v1`` against a model: what it lists is what was asked for, and what is refused changes nothing."""

from __future__ import annotations

import asyncio
import urllib.parse
from operator import itemgetter

import httpx
import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.hubs import taken
from tests.running import PATIENCE
from vaurien.control.app import app
from vaurien.control.events import RecentEvents
from vaurien.model import Address, Fault
from vaurien.proxies.hub import Hub

ANYWHERE = "127.0.0.2:0"
"""Where nobody else listens: a proxy that was off can have its port again."""

NEW = {"listen": ANYWHERE, "backend": "127.0.0.1:9"}
NAMES = st.sampled_from(["a", "ü c"])
FAULTS = st.sampled_from(["one", "delay"])
CHOICES = {
    "backend": st.sampled_from(["127.0.0.1:9", "localhost:7", "unix:/nowhere"]),
    "mix": st.sampled_from(["", "20:delay", "10:error,30.5:noop"]),
    "enabled": st.booleans(),
    "timeout": st.sampled_from([1.5, 30.0]),
    "seed": st.sampled_from(["0", "other"]),
    "max_connections": st.sampled_from([None, 3]),
    "protocol": st.sampled_from(["tcp", "redis"]),
    "faults": st.lists(
        FAULTS.map(lambda name: msgspec.to_builtins(Fault(name, "delay"))), unique_by=itemgetter("name")
    ),
}
DEFAULTS = {
    "mix": "",
    "enabled": True,
    "timeout": 30.0,
    "seed": "0",
    "max_connections": None,
    "protocol": "tcp",
    "faults": [],
}
FACTS = st.fixed_dictionaries({}, optional=CHOICES)
CHANGES = st.fixed_dictionaries(
    {}, optional={name: st.none() | some if name in DEFAULTS else some for name, some in CHOICES.items()}
)
"""Facts, and nulls, which mean the default."""

OF_A_FAULT = st.fixed_dictionaries(
    {},
    optional={
        "probability": st.sampled_from([0.25, 1.0]),
        "stream": st.sampled_from(["upstream", "both"]),
        "window": st.sampled_from([{}, {"count": 2}, {"skip": 1, "every": 3}]),
        "options": st.sampled_from([{}, {"sleep": 2.0}]),
        "ttl": st.sampled_from([None, 900.0]),
    },
)
WRONG = st.sampled_from(
    [
        {"backend": "nowhere"},
        {"listen": "127.0.0.1:99999"},
        {"mix": "20:delay", "timeout": -1},
        {"enabled": False, "timeout": "soon"},
        {"enabled": False, "mix": "120:delay"},
        {"backend": "localhost:8", "mix": "10:nope"},
        {"enabled": False, "protocol": "nope"},
        {"protocol": "redis", "protocol_options": {"nope": 1}},
        {"mix": "", "faults": [{"behavior": "delay", "options": {"sleep": -1}}]},
        {"faults": [{"behavior": "noop"}, {"behavior": "noop"}]},
        {"enabled": False, "nope": 1},
    ]
)
WRONG_OF_A_FAULT = st.sampled_from(
    [
        {"behavior": "nope"},
        {"probability": 0.5, "options": {"sleep": "long"}},
        {"options": {"nope": 1}},
        {"probability": 1.5},
        {"stream": "sideways"},
        {"window": {"every": 0}},
        {"ttl": -1},
        {"name": "a/b"},
        {"nope": 1},
    ]
)


def shares(mix):
    """The shares of the text *mix*, as they are listed."""
    parts = [part.split(":") for part in mix.split(",") if part]
    return [{"percent": float(percent), "behavior": behavior, "options": {}} for percent, behavior in parts]


def with_facts(proxy, facts):
    """*proxy*, as it is listed, with other *facts*."""
    facts = {name: DEFAULTS[name] if value is None else value for name, value in facts.items()}
    return proxy | facts | ({"mix": shares(facts["mix"])} if "mix" in facts else {})


def with_facts_of_a_fault(fault, facts):
    return fault | facts | {name: fault[name] | facts.get(name, {}) for name in ("window", "options")}


HITS = {"fault_states", "hits", "last_hit", "mix_hits"}  # no traffic passes here


class V1(RuleBasedStateMachine):
    """What every proxy is, as ``/api/v1/config`` lists it, in order; a proxy keeps the port that it once has had."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.hub = Hub()
        transport = httpx.ASGITransport(app(self.hub, RecentEvents(), Address.parse("127.0.0.1:0")))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://localhost")
        self.listening, self.taken = taken()
        self.model: dict[str, dict[str, object]] = {}

    def run(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, PATIENCE))

    def ask(self, status, method, *path, body=None):
        """The answer to a call, which must have *status*, or one of them."""
        where = "/".join(["/api/v1", *(urllib.parse.quote(part) for part in path)])
        answer = self.run(self.client.request(method, where, json=body))
        statuses = status if isinstance(status, tuple) else (status,)
        assert answer.status_code in statuses, (method, where, body, answer.text)
        if answer.status_code >= 400:
            assert answer.json()["error"]["message"]
        return answer.json() if answer.content else None

    def known(self, name, status=200):
        """The status of a call about the proxy *name* that is otherwise answered with *status*."""
        return status if name in self.model else 404

    def bad(self, known):
        """The statuses of a call with a bad body about something that is *known*, or is not."""
        return 400 if known else (400, 404)

    def faults(self, name):
        """The faults of the proxy *name* by name; there is none where there is no proxy."""
        return {fault["name"]: fault for fault in self.model.get(name, {}).get("faults", [])}

    @initialize(facts=FACTS)
    def begin(self, facts):
        self.create("a", facts)

    # Proxies.

    @rule(name=NAMES, facts=FACTS)
    def create(self, name, facts):
        body = {"name": name, **NEW, **facts}
        answer = self.ask(409 if name in self.model else 201, "POST", "proxies", body=body)
        if name not in self.model:
            rest = {"connections", "accepted", "address", "differs", "warning", *HITS}
            made = {field: value for field, value in answer.items() if field not in rest}
            assert with_facts(made, {**DEFAULTS, **body, "listen": made["listen"]}) == made
            self.model[name] = made

    @rule(name=NAMES, changes=CHANGES)
    def change(self, name, changes):
        self.ask(self.known(name), "PATCH", "proxies", name, body=changes)
        if name in self.model:
            self.model[name] = with_facts(self.model[name], changes)

    @rule(name=NAMES)
    def delete(self, name):
        self.ask(self.known(name, 204), "DELETE", "proxies", name)
        self.model.pop(name, None)

    @rule(name=NAMES, mix=CHOICES["mix"], as_text=st.booleans())
    def mix(self, name, mix, as_text):
        self.ask(self.known(name), "PUT", "proxies", name, "mix", body={"mix": mix if as_text else shares(mix)})
        if name in self.model:
            self.model[name]["mix"] = shares(mix)

    # Faults.

    @rule(name=NAMES, fault=FAULTS, facts=OF_A_FAULT)
    def add(self, name, fault, facts):
        named = {} if fault == "delay" else {"name": fault}
        status = 409 if fault in self.faults(name) else self.known(name, 201)
        self.ask(status, "POST", "proxies", name, "faults", body={"behavior": "delay", **named, **facts})
        if status == 201:
            made = with_facts_of_a_fault(msgspec.to_builtins(Fault(fault, "delay")), facts)
            self.model[name]["faults"] = [*self.model[name]["faults"], made]

    @rule(name=NAMES, fault=FAULTS, facts=OF_A_FAULT)
    def change_fault(self, name, fault, facts):
        known = self.faults(name)
        self.ask(200 if fault in known else 404, "PATCH", "proxies", name, "faults", fault, body=facts)
        if fault in known:
            known[fault] = with_facts_of_a_fault(known[fault], facts)
            self.model[name]["faults"] = list(known.values())

    @rule(name=NAMES, fault=FAULTS)
    def remove(self, name, fault):
        known = self.faults(name)
        self.ask(204 if fault in known else 404, "DELETE", "proxies", name, "faults", fault)
        if known.pop(fault, None):
            self.model[name]["faults"] = list(known.values())

    # All of them.

    @rule()
    def reset(self):
        self.ask(204, "POST", "reset")
        self.model = {name: one | {"enabled": True, "mix": [], "faults": []} for name, one in self.model.items()}

    @rule(wanted=st.dictionaries(NAMES, FACTS))
    def replace(self, wanted):
        """Proxies that stay keep their places, and new ones come behind them."""
        bodies = [{**self.model.get(name, NEW), "name": name, **facts} for name, facts in wanted.items()]
        listed = self.ask(200, "PUT", "config", body={"proxies": bodies})["proxies"]
        new = {one["name"]: one for one in listed if one["name"] not in self.model}
        assert list(new) == [name for name in wanted if name not in self.model]
        for name, one in new.items():
            assert with_facts(one, {**DEFAULTS, **NEW, **wanted[name], "listen": one["listen"]}) == one
        kept = {name: with_facts(one, wanted[name]) for name, one in self.model.items() if name in wanted}
        self.model = kept | new

    # What is refused.

    @rule(name=NAMES, wrong=WRONG)
    def wrong(self, name, wrong):
        self.ask(self.bad(name in self.model), "PATCH", "proxies", name, body=wrong)
        one = {"name": name, **NEW, **wrong}
        self.ask(400, "POST", "proxies", body=one)
        others = [other for other in self.model.values() if other["name"] != name]
        self.ask(400, "PUT", "config", body={"proxies": [*(other | {"mix": "30:noop"} for other in others), one]})

    @rule(name=NAMES, fault=FAULTS, wrong=WRONG_OF_A_FAULT)
    def wrong_fault(self, name, fault, wrong):
        new = {"behavior": "delay", "name": "new", **wrong}
        self.ask(self.bad(name in self.model), "POST", "proxies", name, "faults", body=new)
        self.ask(self.bad(fault in self.faults(name)), "PATCH", "proxies", name, "faults", fault, body=wrong)

    @rule(name=NAMES, changes=st.just({}) | CHANGES)
    def taken_address(self, name, changes):
        """A proxy that cannot listen where it is to goes on as it was."""
        changes = changes | {"listen": str(self.taken), "enabled": True}
        self.ask(self.known(name, 409), "PATCH", "proxies", name, body=changes)
        self.ask(409, "POST", "proxies", body={"name": name, **NEW, "listen": str(self.taken)})

    @invariant()
    def agrees(self):
        listed = self.ask(200, "GET", "config")["proxies"]
        for one in listed:
            known = self.model[one["name"]]
            if known["enabled"] and known["listen"] == ANYWHERE:  # its first port
                assert one["listen"] != ANYWHERE
                known["listen"] = one["listen"]
        assert listed == list(self.model.values())
        shown = self.ask(200, "GET", "proxies")["proxies"]
        plain = {"connections": 0, "accepted": 0, "differs": None, "warning": None}
        state = [{"address": one["listen"], **plain} for one in listed]
        expected = [one | more for one, more in zip(listed, state, strict=True)]
        assert [{key: value for key, value in one.items() if key not in HITS} for one in shown] == expected
        assert [proxy.enabled for proxy in self.hub.proxies.values()] == [one["enabled"] for one in listed]

    def teardown(self):
        self.listening.close()
        self.run(self.client.aclose())
        self.run(self.hub.stop())
        left = asyncio.all_tasks(self.loop)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        assert not left


TestV1 = V1.TestCase
TestV1.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
