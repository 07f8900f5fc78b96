"""What is said of JSON that does not fit: the field, its value, what would be right; and nothing of the decoder's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.control import bodies, checks
from vaurien.control.responses import BadRequest
from vaurien.control.v1 import process, proxies

PROXY = {"name": "a", "backend": "h:1"}
FAULT = {"behavior": "latency"}


def refusal(wanted: Any, body: object) -> tuple[str | None, str]:
    with pytest.raises(BadRequest) as caught:
        checks.decode(json.dumps(body).encode(), wanted)
    assert caught.value.status == 400
    return caught.value.pointer, str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "body", "pointer", "message"),
    [
        (
            bodies.FaultBody,
            {**FAULT, "scope": "request"},
            "/scope",
            'scope: "request" is not valid; expected one of connection, exchange, chunk',
        ),
        (
            bodies.FaultBody,
            {**FAULT, "probability": 30},
            "/probability",
            "probability: 30 is not valid; expected a number from 0 to 1, such as 0.3 for 30 %",
        ),
        (
            bodies.FaultBody,
            {**FAULT, "stream": "upsteam"},
            "/stream",
            "stream: \"upsteam\" is not valid; expected one of upstream, downstream, both; did you mean 'upstream'?",
        ),
        (
            bodies.FaultBody,
            {**FAULT, "window": {"cuont": 3}},
            "/window/cuont",
            "unknown field 'cuont'; did you mean 'count'?",
        ),
        (
            bodies.FaultBody,
            {**FAULT, "window": {"count": -3}},
            "/window/count",
            "count: -3 is not valid; expected a whole number of 0 or more",
        ),
        (
            bodies.FaultBody,
            {**FAULT, "match": {"a": "b", "x/y": 3}},
            "/match/x~1y",
            "x/y: 3 is not valid; expected text",
        ),
        (bodies.FaultBody, {**FAULT, "options": []}, "/options", "options: [] is not valid; expected an object"),
        (bodies.ProxyChange, {"bakend": "x"}, "/bakend", "unknown field 'bakend'; did you mean 'backend'?"),
        (
            bodies.ProxyBody,
            {**PROXY, "name": "a/b c"},
            "/name",
            f'name: "a/b c" is not valid; expected text ({bodies.NAMEABLE})',
        ),
        (
            bodies.ProxyBody,
            {"name": "a"},
            "/backend",
            "backend is missing; expected text (host:port, :port, [ipv6]:port or unix:/path)",
        ),
        (
            bodies.ProxyBody,
            {**PROXY, "enabled": "yes"},
            "/enabled",
            'enabled: "yes" is not valid; expected true or false',
        ),
        (bodies.ProxyBody, {**PROXY, "mix": ["x"]}, "/mix/0", 'mix[0]: "x" is not valid; expected an object'),
        (
            bodies.ProxyBody,
            {**PROXY, "mix": [{"behavior": "x"}]},
            "/mix/0/percent",
            "percent is missing; expected a number from 0 to 100",
        ),
        (
            bodies.ProxyBody,
            {**PROXY, "faults": [FAULT, {**FAULT, "ttl": "soon"}]},
            "/faults/1/ttl",
            'ttl: "soon" is not valid; expected a number from 0 to 1000000000',
        ),
        (
            bodies.ProxyChange,
            {"dial_failure": "rst"},
            "/dial_failure",
            "dial_failure: \"rst\" is not valid; expected one of close, reset; did you mean 'reset'?",
        ),
        (process.ConfigBody, {"proxies": [PROXY, 3]}, "/proxies/1", "proxies[1]: 3 is not valid; expected an object"),
        (process.ConfigBody, {"proxies": {}}, "/proxies", "proxies: {} is not valid; expected a list"),
        (proxies.MixChange, [], "", "the body: [] is not valid; expected an object"),
    ],
)
def test_messages(wanted: Any, body: object, pointer: str, message: str) -> None:
    assert refusal(wanted, body) == (pointer, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty; expected a JSON object"),
        (b" \n", "the body is empty; expected a JSON object"),
        (b"{", "the body is not JSON: it ends too early, at line 1, column 2"),
        (b'{"a":\n nope}', "the body is not JSON: 'nope}' cannot stand at line 2, column 2"),
        (b'{"a" 1}', "the body is not JSON: '1}' cannot stand at line 1, column 6"),
        (b'{"a": "\xff"}', "the body is not JSON: byte 0xff at position 7 is not UTF-8"),
        (b"[NaN]", "the body is not JSON: numbers must be finite, and text must be Unicode"),
        (b'{"a": "\\ud800"}', "the body is not JSON: numbers must be finite, and text must be Unicode"),
        (b"[" * 100_000, "the body is nested too deeply"),
    ],
)
def test_what_is_no_json(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        checks.decode(body, bodies.ProxyBody)
    assert str(caught.value) == message


BODIES = [(bodies.ProxyBody, PROXY), (bodies.KeptBody, PROXY), (bodies.FaultBody, FAULT)]
WRONG = [None, True, 2**70, -1, 1.5, "x y", "", [], [3], {"no such": 1}]


def refused(wanted: Any, body: object) -> BadRequest | None:
    try:
        checks.decode(json.dumps(body).encode(), wanted)
    except BadRequest as error:
        return error
    return None


@pytest.mark.parametrize(("wanted", "body"), BODIES)
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_no_field_shows_a_decoders_text(wanted: Any, body: dict[str, object], value: object) -> None:
    """Every field is given every wrong value: what is refused names the field, the value and what would be right."""
    refusals = {field: refused(wanted, {**body, field: value}) for field in wanted.__struct_fields__}
    assert any(refusals.values())
    for field, error in refusals.items():
        if error is None:
            continue
        text = str(error)
        assert "`" not in text
        assert "Expected" not in text
        assert (error.pointer or "").startswith(f"/{field}")
        last = (error.pointer or "").rpartition("/")[2]
        assert text.startswith((f"{last}: ", f"{last} is missing", f"{field}[{last}]: ", f"unknown field {last!r}; "))
        assert "; expected " in text or "known are: " in text or "did you mean" in text


@pytest.mark.parametrize(("wanted", "body"), BODIES)
def test_every_misspelt_field_gets_its_name(wanted: Any, body: dict[str, object]) -> None:
    for field in wanted.__struct_fields__:
        pointer, message = refusal(wanted, {**body, f"{field}x": 1})
        assert pointer == f"/{field}x"
        assert message == f"unknown field {f'{field}x'!r}; did you mean {field!r}?"


FIELDS = st.sampled_from(["name", "backend", "faults", "behavior", "window", "count", "match", "mix", "options", "ttl"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.text(max_size=5), inner, max_size=4),
)


@given(
    st.dictionaries(FIELDS, JSON, max_size=6), st.sampled_from([bodies.ProxyBody, bodies.FaultBody, bodies.ProxyChange])
)
def test_every_mismatch_can_be_explained(body: object, wanted: Any) -> None:
    error = refused(wanted, body)
    assert error is None or "`" not in str(error) or "`" in json.dumps(body, ensure_ascii=False)
