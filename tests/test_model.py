"""The pure edits of the configuration, and the laws that hold for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.errors import Conflict, OptionError, UnknownName
from vaurien.model import Address, Config, Fault, HitRange, Mix, Policy, ProxyConfig

A, B, C = (Fault(name, "dummy") for name in "abc")


def proxy(name, port=1):
    return ProxyConfig(name=name, listen=Address("127.0.0.1", port), backend=Address("localhost", 80))


def test_faults_keep_their_order():
    policy = Policy().with_fault(A).with_fault(B).with_mix(Mix.parse("20:delay"))
    slow = Fault("a", "latency", {"latency": 5})
    assert policy.with_changed_fault("a", lambda _: slow) == Policy(Mix.parse("20:delay"), (slow, B))
    assert policy.without_fault("a").with_fault(A).faults == (B, A)
    assert policy.fault("b") is B
    assert policy.faults == (A, B)  # no edit changed it


def test_names_of_faults_are_unique_however_a_policy_is_made():
    with pytest.raises(Conflict, match="fault 'a' exists already"):
        Policy(faults=(A, B, A))
    with pytest.raises(Conflict):
        Policy(faults=(A, B)).with_fault(A)
    with pytest.raises(Conflict):
        Policy(faults=(A, B)).with_changed_fault("b", lambda _: A)


def test_names_of_proxies_are_unique_however_a_configuration_is_made():
    with pytest.raises(Conflict, match="proxy 'p' exists already"):
        Config.of((proxy("p"), proxy("p", 2)))
    with pytest.raises(Conflict):
        Config.of((proxy("p"),)).with_proxy(proxy("p"))
    with pytest.raises(Conflict):
        Config.of((proxy("p"), proxy("q"))).with_changed_proxy("q", lambda _: proxy("p"))


@pytest.mark.parametrize(
    "edit",
    [
        lambda policy: policy.fault("x"),
        lambda policy: policy.without_fault("x"),
        lambda policy: policy.with_changed_fault("x", lambda old: old),
    ],
)
def test_unknown_faults(edit):
    with pytest.raises(UnknownName, match="unknown fault 'x'"):
        edit(Policy(faults=(A,)))


@pytest.mark.parametrize(
    "edit",
    [
        lambda config: config.proxy("redos"),
        lambda config: config.without_proxy("redos"),
        lambda config: config.with_changed_proxy("redos", lambda old: old),
    ],
)
def test_unknown_proxies(edit):
    with pytest.raises(UnknownName, match="unknown proxy 'redos'; did you mean 'redis'"):
        edit(Config.of((proxy("redis"),)))


def test_another_set_of_proxies_keeps_the_order_of_those_that_exist():
    before = Config.of((proxy("a"), proxy("b"), proxy("c")))
    assert before.with_proxies([proxy("z"), proxy("c"), proxy("y"), proxy("a", 2)]).names == ["a", "c", "z", "y"]
    with pytest.raises(Conflict):
        before.with_proxies([proxy("a"), proxy("a")])


def test_changed_names():
    before = Config.of((proxy("same"), proxy("other"), proxy("gone")))
    after = (
        before.without_proxy("gone").with_changed_proxy("other", lambda _: proxy("other", 2)).with_proxy(proxy("new"))
    )
    assert before.changed_names(after) == after.changed_names(before) == {"other", "gone", "new"}
    assert before.changed_names(before) == set()


edits = st.lists(st.tuples(st.sampled_from(["add", "remove", "change"]), st.sampled_from("abc"), st.integers(1, 9)))


@given(edits)
def test_edits_are_those_of_a_dictionary(steps):
    """Each edit does to the names what it would do to a dictionary, in its order, and leaves the value before alone."""
    config, model = Config(), dict[str, ProxyConfig]()
    for kind, name, port in steps:
        before, order, made = config, list(model), proxy(name, port)
        try:
            if kind == "add":
                config = config.with_proxy(made)
            elif kind == "remove":
                config = config.without_proxy(name)
            else:
                config = config.with_changed_proxy(name, lambda _, made=made: made)
        except (Conflict, UnknownName):
            assert (name in model) == (kind == "add")
            continue
        if kind == "remove":
            del model[name]
        else:
            model[name] = made
        assert before.names == order
        assert {one.name: one for one in config.proxies} == model
        assert config.names == list(model)


@pytest.mark.parametrize(
    ("text", "inside", "outside", "shown"),
    [
        ("1..", [1, 9], [0], "1 or more"),
        ("2..5", [2, 5], [1, 6], "2 to 5"),
        ("..3", [0, 3], [4], "0 to 3"),
        ("3", [3], [2, 4], "3"),
        ("0", [0], [1], "0"),
    ],
)
def test_a_range_of_hits(text, inside, outside, shown):
    wanted = HitRange.parse(text)
    assert all(hits in wanted for hits in inside)
    assert not any(hits in wanted for hits in outside)
    assert str(wanted) == shown


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_can_stand_in_a_url(name):
    address = Address("127.0.0.1", 1)
    for make in (lambda: Fault(name, "delay"), lambda: ProxyConfig(name=name, listen=address, backend=address)):
        with pytest.raises(OptionError, match="a client cannot ask for this one in a URL"):
            make()
