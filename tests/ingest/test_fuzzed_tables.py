"""Tables x descriptors x folders against an oracle; more cases by `python -m tests.ingest.fuzzed_tables CASES`."""

from collections import Counter

import pytest

from tests.ingest.fuzzed_tables import fuzz_tables


def test_no_image_is_lost_no_label_wrong_and_every_discrepancy_counted():
    seen = Counter()
    fuzz_tables(250, seen)
    assert min(seen[kind] for kind in ("joined", "ConfigError", "InputMissing")) > 0


@pytest.mark.slow
def test_ten_thousand_tables():
    seen = Counter()
    fuzz_tables(10_000, seen)
    print(dict(seen))
    assert sum(seen.values()) >= 10_000
