from __future__ import annotations

import pytest

from vaurien.config.toml_lines import TomlLines

TEXT = '''# [[step]] in a comment
[vaurien]
name = "[[step]]"
text = """
[[step]]
at = 1
"""
list = [
  ["a"],
  [1, 2]
]

[[step]]   # the first
at = 1
add = [{behavior = "latency"}]

[[ step ]]
"at" = 2
raw = \'\'\'
[[step]]
\'\'\'
[other]
at = 3
'''


@pytest.mark.parametrize(
    ("where", "line"),
    [
        (("vaurien", 0), 2),
        (("vaurien", 0, "list"), 8),
        (("step", 0), 13),
        (("step", 0, "at"), 14),
        (("step", 0, "add"), 15),
        (("step", 0, "behavior"), 13),
        (("step", 1), 17),
        (("step", 1, "at"), 18),
        (("step", 2), None),
        (("other", 0, "at"), 23),
    ],
)
def test_lines(where, line):
    assert TomlLines(TEXT).of(*where) == line
