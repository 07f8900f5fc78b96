from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.control import bodies, checks
from vaurien.control.responses import BadRequest
from vaurien.model import Address, Fault, Mix, Policy, ProxyConfig, Scope, Share, Stream

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/"), min_size=1, max_size=20)
NAMES = NAMES.filter(lambda name: name not in (".", ".."))
SLEEPS = st.fixed_dictionaries({}, optional={"sleep": st.floats(0, 100), "before": st.booleans()})
FAULTS = st.builds(
    Fault,
    name=NAMES,
    behavior=st.just("delay"),
    options=SLEEPS,
    stream=st.sampled_from(Stream),
    probability=st.floats(0, 1),
    scope=st.sampled_from(Scope),
)
SHARES = st.lists(st.builds(Share, percent=st.floats(0, 33), behavior=st.just("delay"), options=SLEEPS), max_size=3)
CONFIGS = st.builds(
    ProxyConfig,
    name=NAMES,
    listen=st.builds(Address, st.sampled_from(["", "localhost", "::1"]), st.integers(0, 65535)),
    backend=st.builds(Address, st.just("h"), st.integers(1, 65535)) | st.just(Address(path="/run/x")),
    policy=st.builds(
        Policy,
        mix=SHARES.map(lambda shares: Mix(tuple(shares))),
        faults=st.lists(FAULTS, max_size=3, unique_by=lambda fault: fault.name).map(tuple),
    ),
    seed=st.text(max_size=5),
    timeout=st.floats(0, 1e6),
    max_connections=st.none() | st.integers(1, 100),
    enabled=st.booleans(),
)


@given(CONFIGS)
def test_a_configuration_survives_being_sent(config):
    sent = msgspec.json.encode(bodies.flat(config))
    for kind in (bodies.ProxyBody, bodies.KeptBody):
        assert bodies.config(checks.decode(sent, kind), "another seed") == config


@given(CONFIGS, st.text(), st.text(min_size=1))
def test_so_does_one_that_only_other_interfaces_make(config, backend, name):
    faults = tuple(msgspec.structs.replace(fault, name=fault.name + name) for fault in config.policy.faults)
    policy = msgspec.structs.replace(config.policy, faults=faults)
    config = msgspec.structs.replace(config, name=name, backend=Address(backend), policy=policy)
    body = checks.decode(msgspec.json.encode(bodies.flat(config)), bodies.KeptBody)
    assert bodies.config(body, "another seed") == config


@given(st.binary(max_size=200))
def test_bytes_are_a_proxy_or_a_bad_request(data):
    with pytest.raises(BadRequest):
        bodies.config(checks.decode(data, bodies.ProxyBody), "1")


FIELDS = st.sampled_from(["name", "backend", "faults", "mix", "listen", "options"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(FIELDS, inner),
    max_leaves=10,
)


@given(JSON)
def test_whatever_is_sent_is_a_proxy_or_a_bad_request(raw):
    try:
        bodies.config(checks.convert(raw, bodies.ProxyBody), "1")
        refused = None
    except BadRequest as error:
        refused = error
    assert refused is None or (refused.status == 400 and refused.pointer is not None)


@given(st.text(max_size=5))
def test_a_step_of_a_pointer_can_be_read_back(name):
    step = checks.escaped(name)
    assert "/" not in step
    assert step.replace("~1", "/").replace("~0", "~") == name


@pytest.mark.parametrize(
    ("old", "patch", "new"),
    [
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}}, {"a": {"c": 2, "d": 3}}),
        ({"a": [1]}, {"a": [2, 3]}, {"a": [2, 3]}),
        ({"a": 1}, {"a": {"b": None}}, {"a": {}}),
        ({"a": 1}, [2], [2]),
    ],
)
def test_patches_are_those_of_rfc_7396(old, patch, new):
    assert checks.merged(old, patch) == new
