import os
import stat
from pathlib import Path

import pytest

from medprior.cohort.journal import Journal, encode_json_line


@pytest.mark.parametrize("torn", [b'{"n": 3}', b'{"n": 3, \n{"n": 4}\n', b'{"n'])
def test_reading_ends_at_the_first_line_that_is_not_whole(tmp_path, torn):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n' + torn)
    journal = Journal(path)
    assert [record["n"] for record in journal.records] == [1, 2]
    journal.append({"n": 5})
    journal.close()
    assert path.read_bytes() == b'{"n": 1}\n{"n": 2}\n{"n": 5}\n'


def test_records_are_handed_on_with_their_line_and_not_kept(tmp_path):
    path, lines = tmp_path / "journal.jsonl", []
    path.write_bytes(b'{"b": 1, "a": 2}\n')
    journal = Journal(path, on_record=lambda record, line: lines.append((list(record), line)))
    journal.append({"c": 3})
    journal.close()
    assert lines == [(["b", "a"], b'{"b": 1, "a": 2}\n')]
    assert journal.records == []
    assert path.read_bytes().count(b"\n") == 2


def test_appended_records_are_kept_without_a_reader(tmp_path):
    journal = Journal(tmp_path / "new" / "journal.jsonl", mode=0o600)
    journal.append({"n": 1})
    journal.sync()
    journal.close()
    assert journal.records == [{"n": 1}]
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600


def test_lines_keep_the_order_of_keys_and_refuse_nan():
    assert encode_json_line({"b": None, "a": 0.5}) == b'{"b": null, "a": 0.5}\n'
    with pytest.raises(ValueError):
        encode_json_line({"a": float("nan")})


def count_writes():
    """Calls of `write` of this process so far."""
    return int(Path("/proc/self/io").read_text().split("syscw: ")[1].split()[0])


def test_a_batch_of_lines_is_one_write(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    lines = [encode_json_line({"n": number, "text": "x" * 100}) for number in range(2000)]
    before = count_writes()
    journal.append_lines(lines)
    assert count_writes() - before == 1
    journal.close()
    assert journal.path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize(("umask", "expected"), [(0, 0o644), (0o027, 0o640)])
def test_others_may_read_a_new_journal_where_the_umask_lets_them(tmp_path, umask, expected):
    before = os.umask(umask)
    try:
        Journal(tmp_path / "journal.jsonl").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "journal.jsonl").stat().st_mode) == expected
