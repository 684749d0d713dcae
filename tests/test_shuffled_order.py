"""A shuffled run holds every test once, file by file, in an order that its seed decides."""

import itertools

from tests.shuffled_order import shuffle_by_file

ITEMS = [f"{file}::{number}" for file in "abcdefgh" for number in range(9)]


def find_file(item):
    return item.split("::")[0]


def test_every_test_runs_once_and_files_stay_together():
    found = shuffle_by_file(ITEMS, find_file, seed=3)
    assert sorted(found) == sorted(ITEMS)
    assert len(list(itertools.groupby(found, find_file))) == 8


def test_files_and_the_tests_within_them_change_their_order():
    found = shuffle_by_file(ITEMS, find_file, seed=3)
    files = [name for name, _ in itertools.groupby(found, find_file)]
    assert files != sorted(files)
    within = [[item for item in found if find_file(item) == name] for name in files]
    assert sum(tests != sorted(tests) for tests in within) >= 7


def test_the_seed_decides_the_order_whatever_the_order_was():
    assert shuffle_by_file(ITEMS, find_file, seed=3) == shuffle_by_file(ITEMS, find_file, seed=3)
    assert shuffle_by_file(ITEMS, find_file, seed=3) != shuffle_by_file(ITEMS, find_file, seed=4)
