import numpy as np
import pytest

from medprior.cohort import Cohort, CohortWriter
from medprior.cohort import writer as writer_module
from medprior.errors import ConfigError, InputMissing, MedpriorError
from tests.cohort.images import add_picture, count_journal_lines, random_picture, write_cohort


def test_pictures_are_reduced_to_the_store_size_with_aspect_and_mean_kept(tmp_path):
    cohort = write_cohort(tmp_path / "c", store_size=20)
    assert cohort.pixels("i000").shape == (20, 15)
    assert cohort.mask("i000", "heart").shape == (20, 15)
    blocks = random_picture(0).reshape(20, 2, 15, 2).mean((1, 3))
    np.testing.assert_allclose(cohort.pixels("i000"), blocks, atol=1e-4)
    assert (cohort.manifest.rows == 40).all()


def test_a_writer_that_stopped_goes_on_and_gives_the_same_bytes(tmp_path):
    whole = write_cohort(tmp_path / "whole")
    path = tmp_path / "torn"
    with CohortWriter(path) as writer:
        for i in range(5):
            mask = random_picture(i) > 0.5
            writer.add(
                image_id=f"i{i:03d}", pixels=random_picture(i), patient_id=f"p{i // 2}", sex="F",
                labels={"a": i % 2, "b": float("nan")}, view="PA", age=50 + i,
                masks={"heart": mask} if i % 3 == 0 else {},
            )  # fmt: skip
    with (path / "journal.jsonl").open("ab") as file:
        file.write(b'{"image_id": "i00')
    with (path / "pixels" / "00000.u16").open("ab") as file:
        file.write(b"torn")
    write_cohort(path)
    for file in sorted(whole.path.rglob("*")):
        if file.is_file():
            assert file.read_bytes() == (path / file.relative_to(whole.path)).read_bytes(), file


def test_columns_keep_their_order_when_a_writer_was_stopped(tmp_path):
    for stops in (False, True):
        path = tmp_path / str(stops)
        for part in (range(3), range(3, 6)) if stops else (range(6),):
            with CohortWriter(path) as writer:
                for i in part:
                    add_picture(writer, i, labels={"zoster": 1.0, "ascites": 0.0, "mass": 0.5})
        with CohortWriter(path) as writer:
            writer.finish()
    parquet = [(tmp_path / str(stops) / "manifest.parquet").read_bytes() for stops in (False, True)]
    assert parquet[0] == parquet[1]
    assert Cohort.open(tmp_path / "True").label_names == ("zoster", "ascites", "mass")


def test_two_writers_cannot_share_a_folder(tmp_path):
    with CohortWriter(tmp_path / "c"), pytest.raises(MedpriorError, match="another run"):
        CohortWriter(tmp_path / "c")
    CohortWriter(tmp_path / "c").close()


def test_wrong_input_is_refused(tmp_path):
    with CohortWriter(tmp_path / "c") as writer:
        good = {"image_id": "a", "patient_id": "p", "pixels": random_picture(0)}
        for change in (
            {"image_id": "../a"},
            {"pixels": random_picture(0) * np.nan},
            {"masks": {"heart": np.ones((3, 3), bool)}},
            {"labels": {"split": 1.0}},
        ):
            with pytest.raises(ConfigError):
                writer.add(**(good | change))
        with pytest.raises(MedpriorError, match="no image"):
            writer.finish()
    with pytest.raises(ConfigError, match="store_size"):
        CohortWriter(tmp_path / "c", 256)
    with pytest.raises(InputMissing):
        Cohort.open(tmp_path / "c")


def test_images_are_committed_after_a_time_on_closing_and_by_hand(tmp_path, monkeypatch):
    with CohortWriter(tmp_path / "c") as writer:
        add_picture(writer, 0)
        assert count_journal_lines(tmp_path / "c") == 0
        writer.commit()
        assert count_journal_lines(tmp_path / "c") == 1
        add_picture(writer, 1)
        monkeypatch.setattr(writer_module, "COMMIT_SECONDS", 0.0)
        add_picture(writer, 2)
        writer._committer.wait()
        assert count_journal_lines(tmp_path / "c") == 3
        monkeypatch.setattr(writer_module, "COMMIT_SECONDS", 60.0)
        add_picture(writer, 3)
    assert count_journal_lines(tmp_path / "c") == 4


def test_an_image_that_exists_is_not_changed(tmp_path):
    with CohortWriter(tmp_path / "c") as writer:
        add_picture(writer, 0, view="PA", masks={"heart": random_picture(0) > 0.5})
        digest = writer.get_pixel_sha256("i000")
        writer.add(image_id="i000", pixels=random_picture(1), patient_id="other", view="AP")
        assert len(writer) == 1
        assert "i000" in writer
        assert writer.get_pixel_sha256("i000") == digest
        assert writer.manifest()["view"].tolist() == ["PA"]
        np.testing.assert_array_equal(writer.masks("i000")["heart"], random_picture(0) > 0.5)
        np.testing.assert_allclose(writer.pixels("i000"), random_picture(0), atol=1 / 65535)


def test_a_reduced_mask_holds_pixels_that_are_covered_by_half(tmp_path):
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = mask[0, 2] = mask[1, 3] = True
    valid = np.ones((4, 4), bool)
    valid[2:, :2] = False
    with CohortWriter(tmp_path / "c", store_size=2) as writer:
        pixels = np.zeros((4, 4), np.float32)
        writer.add(image_id="a", pixels=pixels, patient_id="a", masks={"heart": mask}, valid=valid)
        writer.add(image_id="b", pixels=pixels, patient_id="b", valid=np.ones((4, 4), bool), source_size=(40, 20))
        writer.finish()
    cohort = Cohort.open(tmp_path / "c")
    assert cohort.mask("a", "heart").tolist() == [[False, True], [False, False]]
    assert cohort.valid("a").tolist() == [[True, True], [False, True]]
    assert [path.name for path in (tmp_path / "c" / "masks" / "valid").iterdir()] == ["a.png"]
    assert cohort.manifest[["rows", "cols"]].to_numpy().tolist() == [[4, 4], [40, 20]]
    assert cohort.aspect.tolist() == [1, 0.5]


def test_a_commit_begins_with_as_many_images_as_it_may_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "COMMIT_IMAGES", 3)
    monkeypatch.setattr(writer_module, "COMMIT_SECONDS", 600.0)
    with CohortWriter(tmp_path / "c") as writer:
        for number, lines in ((0, 0), (1, 0), (2, 3), (3, 3)):
            add_picture(writer, number)
            writer._committer.wait()
            assert count_journal_lines(tmp_path / "c") == lines


def test_pixels_go_behind_the_last_of_all_places_in_the_journal(tmp_path):
    """Whichever line names it: a writer that went on after another line would overwrite images."""
    path = tmp_path / "c" / "journal.jsonl"
    with CohortWriter(tmp_path / "c") as writer:
        for number in range(3):
            add_picture(writer, number)
    first, *lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([first, *reversed(lines)]))
    with CohortWriter(tmp_path / "c") as writer:
        add_picture(writer, 3)
        for number in range(4):
            np.testing.assert_allclose(writer.pixels(f"i{number:03d}"), random_picture(number), atol=1 / 65535)


def test_a_new_image_without_padding_takes_the_mask_of_the_old_one_away(tmp_path):
    valid = np.ones((40, 30), bool)
    valid[:5] = False
    with CohortWriter(tmp_path / "c") as writer:
        add_picture(writer, 0, valid=valid)
        add_picture(writer, 1, valid=valid)
        add_picture(writer, 0, replace=True)
        add_picture(writer, 1)  # not replaced
        writer.finish()
    cohort = Cohort.open(tmp_path / "c")
    assert cohort.valid("i000").all()
    np.testing.assert_array_equal(cohort.valid("i001"), valid)
