"""No reader fails but in words; more cases by `python -m tests.annotate.fuzzed_files CASES`."""

from collections import Counter

import pytest

from tests.annotate.fuzzed_files import fuzz_reader, list_fuzzers

READERS = ("header", "segmentation", "coco", "labelme", "descriptor")


def test_every_fuzzer_runs_here():
    assert tuple(list_fuzzers()) == READERS


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_refused_or_read(reader):
    seen = Counter()
    fuzz_reader(reader, 50, seen)
    assert seen[f"{reader} refused"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_two_thousand_damaged_files_of_each_kind(reader):
    seen = Counter()
    fuzz_reader(reader, 2_000, seen)
    print(dict(seen))
    assert sum(seen.values()) >= 2_000
