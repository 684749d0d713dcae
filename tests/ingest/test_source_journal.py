import os
import stat

import pytest

from medprior.errors import InputMissing
from medprior.ingest.source_journal import SourceJournal, get_size_and_mtime, private_folder


def record(journal, path, image_id="", code="", stamp=(5, 7)):
    journal.record_outcome(path, list(stamp), "own", item="item", image_id=image_id, code=code, message="")


@pytest.fixture
def journal(tmp_path):
    journal = SourceJournal(tmp_path / "c")
    yield journal
    journal.close()


def test_a_file_is_done_while_stamp_data_set_and_image_are_the_same(journal):
    record(journal, "/a", image_id="i1")
    assert journal.is_done("/a", [5, 7], "own", {"i1"})
    assert not journal.is_done("/b", [5, 7], "own", {"i1"})
    assert not journal.is_done("/a", [5, 8], "own", {"i1"})
    assert not journal.is_done("/a", [5, 7], "other", {"i1"})
    # The image was lost in a power cut.
    assert not journal.is_done("/a", [5, 7], "own", set())


def test_a_refused_file_is_done_too(journal):
    record(journal, "/a", code="empty")
    assert journal.is_done("/a", [5, 7], "own", set())


def test_outcomes_are_read_again_and_the_last_one_of_a_source_holds(tmp_path):
    for code in ("empty", "truncated"):
        journal = SourceJournal(tmp_path / "c")
        record(journal, "/b", code=code)
        record(journal, "/a", image_id="i1")
        assert len(journal) == 2
        journal.close()
    again = SourceJournal(tmp_path / "c")
    assert [(row["source"], row["code"]) for row in again.records()] == [("/a", ""), ("/b", "truncated")]
    again.close()


def test_the_list_of_sources_is_private_and_sorted(journal, tmp_path):
    record(journal, "/b, with a comma", code="empty")
    record(journal, "/a", image_id="i1")
    journal.write_sources()
    path = tmp_path / "c.private" / "sources.csv"
    assert path.read_text().splitlines() == ["source,image_id,code", "/a,i1,", '"/b, with a comma",,empty']
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_opening_removes_drafts_and_names_a_folder_that_cannot_be_made(tmp_path):
    folder = private_folder(tmp_path / "c")
    assert folder == tmp_path / "c.private"
    folder.mkdir()
    (folder / ".sources.csv.x").touch()
    SourceJournal(tmp_path / "c").close()
    assert [path.name for path in folder.iterdir()] == ["journal.jsonl"]
    (tmp_path / "file").touch()
    with pytest.raises(InputMissing, match=r"c\.private: cannot be written"):
        SourceJournal(tmp_path / "file" / "c")


def test_a_stamp_is_size_and_time(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    os.utime(path, ns=(1, 123456789))
    assert get_size_and_mtime(str(path)) == [5, 123456789]
    assert get_size_and_mtime(str(tmp_path / "gone")) == [-1, -1]


def test_a_file_is_not_done_by_other_rules(journal):
    journal.record_outcome("/a", [5, 7], "own", item="i", image_id="i1", code="", message="", decoding="d")
    assert journal.is_done("/a", [5, 7], "own", {"i1"}, "d")
    assert not journal.is_done("/a", [5, 7], "own", {"i1"}, "e")
    assert journal.find_outcome("/a")["decoding"] == "d"
    assert journal.find_outcome("/b") is None


@pytest.mark.parametrize(
    ("change", "superseded"),
    [
        ({"image_id": "i2"}, {"i1"}),
        ({"code": "view"}, {"i1"}),
        ({"code": "conflict"}, set()),
        ({"image_id": "i1"}, set()),
        ({"image_id": "i2", "stamp": (6, 7)}, set()),
        ({"code": "truncated", "stamp": (6, 7)}, set()),
    ],
)
def test_an_image_is_superseded_where_its_unchanged_file_has_another_outcome(journal, tmp_path, change, superseded):
    record(journal, "/a", image_id="i1")
    record(journal, "/a", **change)
    assert journal.list_superseded_images() == superseded
    journal.close()
    again = SourceJournal(tmp_path / "c")
    assert again.list_superseded_images() == superseded
    # Another file stands for the image.
    record(again, "/b", image_id="i1")
    assert again.list_superseded_images() == set()
    again.close()


def test_a_copied_file_with_the_same_pixels_is_the_same_file(journal):
    for image_id, stamp in (("i1", (5, 7)), ("i2", (5, 9))):
        journal.record_outcome("/a", list(stamp), "own", item="i", image_id=image_id, code="", message="", pixels="sha")
    assert journal.list_superseded_images() == {"i1"}
