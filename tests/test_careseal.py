"""What every package shares."""

from __future__ import annotations

import subprocess
import sys

import pytest

from careseal import MAX_JSON_DEPTH, json_depth, read_json


def test_depth_counts_brackets_outside_of_strings():
    assert json_depth('{"a": [[], "[[[", {"b\\"[": {}}]}') == 4
    assert json_depth('"unterminated [[[') == 0


def test_json_is_read_up_to_the_depth():
    assert read_json(b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH)
    for text in ("[" * (MAX_JSON_DEPTH + 1), b'{"a":' * 100 + b"1" + b"}" * 100, b"\xff", b"{"):
        with pytest.raises(ValueError):
            read_json(text)


def test_deep_json_does_not_end_a_process_that_has_loaded_the_virtual_machine():
    program = "import eth\nfrom ledger import canonical\ntry:\n canonical.decode(b'[' * 300000)\nexcept Exception as error:\n print(error)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "not JSON, or with numbers that are no integers of 53 bits\n")
