"""The list of the Python interface says what is there, and its example runs."""

import doctest
import inspect
import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

import medprior

API = Path(medprior.__file__).parent / "API.md"
ENTRY = re.compile(r"^- `(?P<name>medprior[\w.]+)(?:\((?P<arguments>[\w, ]*)\))?` - (?P<text>.+)$")
ENTRIES = [ENTRY.match(line) for line in API.read_text().splitlines() if line.startswith("- ")]


def test_every_line_is_an_entry():
    assert len(ENTRIES) > 15
    assert all(ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_names_and_arguments_are_those_of_the_code(entry):
    item = resolve_name(entry["name"])
    assert item.__doc__
    if entry["arguments"] is None:
        assert inspect.isclass(item)
        return
    listed = [name for name in entry["arguments"].split(", ") if name]
    assert listed == [name for name in inspect.signature(item).parameters if name != "self"]


def test_the_example_runs():
    failed, tried = doctest.testfile(str(API), module_relative=False)
    assert tried > 10
    assert failed == 0
