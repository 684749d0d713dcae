"""A stage as a MONAI engine, and the numbers it leaves."""

from medprior.bundle.stage_engine import flatten_numbers


def test_flattened_keeps_plain_numbers():
    nested = {"a": {"value": 1, "ci95": [0, 2]}, "b": {"c": 2.0, "d": None}, "e": True, "f": "x"}
    assert flatten_numbers(nested) == {"a": 1.0, "b.c": 2.0}
