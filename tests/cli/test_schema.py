"""The JSON Schema takes the files of the docs, and refuses what a start refuses."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from vaurien.cli import main, schema

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parents[2]
FILES = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for number, text in enumerate(re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
]


@pytest.fixture(scope="module")
def validator():
    made = schema.schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


@pytest.mark.parametrize("text", FILES)
def test_the_files_of_the_docs_are_valid(validator, text):
    assert [error.message for error in validator.iter_errors(tomllib.loads(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "[vaurien]\nprotocl = 'http'",
        "[vaurien]\nhttp_port = 70000",
        "[vaurien]\nlog_level = 'loud'",
        "[vaurien]\nstay_connected = 3",
        "[statsd]\nhots = 'x'",
        "[[fault]]\nlatency = 3",
        "[[fault]]\nbehavior = 'latency'\nlatncy = 3",
        "[[fault]]\nbehavior = 'latency'\nlatency = -1",
        "[[fault]]\nbehavior = 'latency'\nprobability = 30",
        "[[proxy]]\nlisten = ':1'",
        "[[proxy]]\nname = 'x'\ngrace = 3",
        "[[step]]\nat = -1",
        "[[prxy]]\nname = 'x'",
        "[behavior.delay]\nslep = 3",
    ],
)
def test_what_a_start_refuses(validator, text):
    assert not validator.is_valid(tomllib.loads(text))


def test_a_plugin_of_a_user_may_have_any_option(validator):
    assert validator.is_valid({"behavior": {"mine": {"callable": "pkg.Mine", "anything": [1]}}})


def test_it_is_printed(capsys):
    assert main.main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(schema.schema()))
