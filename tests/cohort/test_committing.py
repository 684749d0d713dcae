import os
from pathlib import Path

import pytest

from medprior.cohort import CohortWriter
from medprior.cohort.committing import Committer
from medprior.cohort.journal import Journal
from medprior.cohort.writer import COMMIT_IMAGES
from tests.cohort.images import add_picture, count_journal_lines, random_picture


def test_a_journal_line_is_written_only_after_pixels_and_masks_are_on_disk(tmp_path, monkeypatch):
    # What reaches the disk, in order: descriptors name the file that is forced out.
    synced = []
    real = os.fsync

    def recorded(handle):
        name = Path(f"/proc/self/fd/{handle}").readlink()
        synced.append((name.name, count_journal_lines(tmp_path / "c")))
        real(handle)

    monkeypatch.setattr(os, "fsync", recorded)
    with CohortWriter(tmp_path / "c") as writer:
        synced.clear()
        for i in range(COMMIT_IMAGES):
            assert count_journal_lines(tmp_path / "c") == 0
            add_picture(writer, i, masks={"heart": random_picture(i) > 0.5})
        writer.commit()
        names = [name for name, _ in synced]
        assert len([name for name in names if name.endswith(".png")]) == COMMIT_IMAGES
        assert names[-3:] == ["heart", "00000.u16", "journal.jsonl"]
        assert [count for _, count in synced] == [0] * (COMMIT_IMAGES + 2) + [COMMIT_IMAGES]


def test_a_batch_that_cannot_be_committed_ends_the_writing(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    writer = CohortWriter(tmp_path / "c")
    with writer:
        add_picture(writer, 0)
        writer.commit()
        monkeypatch.setattr(os, "fsync", full)
        add_picture(writer, 1)
        with pytest.raises(OSError, match="No space"):
            writer.commit()
    assert count_journal_lines(tmp_path / "c") == 1
    monkeypatch.undo()
    with CohortWriter(tmp_path / "c") as again:
        assert len(again) == 1


def test_a_failed_batch_writes_no_line_and_is_raised_by_the_next_once(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    committer = Committer(journal)

    def open_shard():
        return os.open(tmp_path / "shard", os.O_RDWR | os.O_CREAT)

    committer.begin([b'{"n": 1}\n'], [tmp_path / "no" / "mask.png"], open_shard())
    shard = open_shard()
    with pytest.raises(FileNotFoundError):
        committer.begin([b'{"n": 2}\n'], [], shard)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(shard)
    committer.begin([b'{"n": 3}\n'], [], open_shard())
    committer.wait()
    committer.close()
    journal.close()
    assert journal.path.read_bytes() == b'{"n": 3}\n'
