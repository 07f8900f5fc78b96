"""Go's rules of decoding and encoding, and its messages."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.control.toxiproxy import go_json
from vaurien.control.toxiproxy.go_json import ANY, BOOL, FLOAT32, INT64, STRING, BadBody, decode, members, plain

FIELDS = {"name": STRING, "on": BOOL, "size": INT64, "share": FLOAT32, "rest": ANY}


def read(text):
    return members(decode(text.encode()), "pkg.Thing", FIELDS)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("{}", {}),
        ("null", {}),
        ('{"NAME": "a", "oN": true}', {"name": "a", "on": True}),
        ('{"name": "a", "Name": "b"}', {"name": "b"}),
        ('{"name": "a", "name": null}', {"name": "a"}),
        ('{"size": -0}', {"size": 0}),
        ('{"share": 1e-1}', {"share": 0.1}),
        ('{"name": "a"} and more', {"name": "a"}),
        (' \n{"\u017fize": 1}', {"size": 1}),
        ('{"name": "\\ud800x"}', {"name": "\ufffdx"}),
    ],
)
def test_members(text, given):
    assert read(text) == (given, [])


def test_half_a_character_is_replaced_wherever_it_stands():
    assert read(r'{"n\ud800": 1, "rest": [{"\udfff": "\ud83d\ude00\ud800"}]}') == (
        {"rest": [[("\ufffd", "\U0001f600\ufffd")]]},
        ["n\ufffd"],
    )


def test_unknown_names_are_told():
    assert read('{"nome": 1, "name": "a"}') == ({"name": "a"}, ["nome"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "EOF"),
        (" \n", "EOF"),
        ("{", "unexpected EOF"),
        ('{"name": "a', "unexpected EOF"),
        ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("{name: 1}", "invalid character 'n' looking for beginning of object key string"),
        ('{"name" 1}', "invalid character '1' after object key"),
        ('{"size": 1 2}', "invalid character '2' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("{\"name\": ''}", "invalid character '\\'' looking for beginning of value"),
        ("[NaN]", "invalid character 'N' looking for beginning of value"),
        ("[-Infinity]", "invalid character 'I' in numeric literal"),
        ("[" * 100_000, "exceeded max depth"),
        ("[]", "json: cannot unmarshal array into Go value of type pkg.Thing"),
        ('"x"', "json: cannot unmarshal string into Go value of type pkg.Thing"),
        ('{"name": 1}', "json: cannot unmarshal number into Go struct field Thing.name of type string"),
        ('{"name": {}}', "json: cannot unmarshal object into Go struct field Thing.name of type string"),
        ('{"on": "true"}', "json: cannot unmarshal string into Go struct field Thing.on of type bool"),
        ('{"size": true}', "json: cannot unmarshal bool into Go struct field Thing.size of type int64"),
        ('{"size": 2.5}', "json: cannot unmarshal number 2.5 into Go struct field Thing.size of type int64"),
        ('{"size": 1e3}', "json: cannot unmarshal number 1e3 into Go struct field Thing.size of type int64"),
        (
            '{"size": 9223372036854775808}',
            "json: cannot unmarshal number 9223372036854775808 into Go struct field Thing.size of type int64",
        ),
        ('{"share": 1e39}', "json: cannot unmarshal number 1e39 into Go struct field Thing.share of type float32"),
        ('{"share": "1"}', "json: cannot unmarshal string into Go struct field Thing.share of type float32"),
    ],
)
def test_messages(text, message):
    with pytest.raises(BadBody) as caught:
        read(text)
    assert str(caught.value) == message


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_is_json_is_read_as_it_is(value):
    assert plain(decode(json.dumps(value).encode())) == value


@pytest.mark.parametrize("text", ["9223372036854775807", "-9223372036854775808", "9223372036854775296"])
def test_a_whole_number_of_64_bits_is_exact(text):
    assert plain(decode(text.encode())) == int(text)


@pytest.mark.parametrize("text", ["9223372036854775808", "-9223372036854775809", "9" * 300])
def test_a_larger_one_is_the_nearest_float(text):
    assert plain(decode(text.encode())) == float(text)
    assert type(plain(decode(text.encode()))) is float


@given(st.binary())
def test_no_body_raises_anything_else(body):
    with contextlib.suppress(BadBody):
        members(decode(body), "pkg.Thing", FIELDS)


@given(st.binary(max_size=3), st.integers(0, 40))
def test_a_broken_body_raises_nothing_else(piece, place):
    whole = b'{"name": "a\\u0041", "size": [1, {"b": -2e5}]}'
    test = whole[:place] + piece + whole[place:]
    with contextlib.suppress(BadBody):
        members(decode(test), "pkg.Thing", FIELDS)


def test_encoding_is_compact_and_safe_in_html():
    assert go_json.encode({"a": "<&>\u2028é", "b": [1, 0.5]}) == (
        '{"a":"\\u003c\\u0026\\u003e\\u2028é","b":[1,0.5]}'.encode()
    )


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, 1), (0, 0), (0.1, 0.1), (0.123456789, 0.12345679), (2 / 3, 0.6666667)]
)
def test_a_share_is_shown_with_32_bits(value, shown):
    assert go_json.float32(value) == shown
    assert type(go_json.float32(value)) is type(shown)
