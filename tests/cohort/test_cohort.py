import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medprior.cohort import Cohort, CohortWriter, columns
from medprior.cohort import writer as writing
from medprior.cohort.journal import encode_json_line
from medprior.cohort.records import ImageRecords
from medprior.cohort.store import ShardAppender, encode_stored_pixels
from medprior.cohort.writer import COMMIT_IMAGES
from medprior.errors import ConfigError, InputMissing, MedpriorError


def picture(seed, rows=40, cols=30):
    return np.random.default_rng(seed).random((rows, cols), dtype=np.float32)


def write(path: Path, count=12, store_size=512, **finish):
    with CohortWriter(path, store_size) as writer:
        for i in range(count):
            mask = picture(i) > 0.5
            writer.add(
                image_id=f"i{i:03d}", pixels=picture(i), patient_id=f"p{i // 2}", sex="F",
                labels={"a": i % 2, "b": float("nan")}, view="PA", age=50 + i,
                masks={"heart": mask} if i % 3 == 0 else {},
            )  # fmt: skip
        writer.finish(**finish)
    return Cohort.open(path)


def test_what_is_written_is_read_back(tmp_path):
    cohort = write(tmp_path / "c")
    assert len(cohort) == 12
    assert cohort.label_names == ("a", "b")
    assert cohort.structures == ("heart",)
    np.testing.assert_allclose(cohort.pixels("i003"), picture(3), atol=1 / 65535)
    np.testing.assert_array_equal(cohort.mask("i003", "heart"), picture(3) > 0.5)
    assert cohort.mask("i004", "heart") is None
    assert cohort.valid("i003").all()
    labels = cohort.labels()
    assert labels.dtype == np.float32
    assert np.isnan(labels[:, 1]).all()
    np.testing.assert_array_equal(labels[:, 0], [i % 2 for i in range(12)])
    np.testing.assert_allclose(cohort.aspect, 0.75)


def test_manifest_columns_are_the_contract(tmp_path):
    columns = list(write(tmp_path / "c").manifest.columns)
    assert columns == [
        "image_id", "patient_id", "study_id", "dataset", "view", "sex", "age", "rows", "cols",
        "spacing_mm", "spacing_kind", "polarity_inverted", "flags", "pixel_sha256", "split",
        "a", "b", "mask_heart",
    ]  # fmt: skip


def test_pictures_are_reduced_to_the_store_size_with_aspect_and_mean_kept(tmp_path):
    cohort = write(tmp_path / "c", store_size=20)
    assert cohort.pixels("i000").shape == (20, 15)
    assert cohort.mask("i000", "heart").shape == (20, 15)
    blocks = picture(0).reshape(20, 2, 15, 2).mean((1, 3))
    np.testing.assert_allclose(cohort.pixels("i000"), blocks, atol=1e-4)
    assert (cohort.manifest.rows == 40).all()


def test_squares_are_area_averages_cached_and_shared_by_parts(tmp_path):
    cohort = write(tmp_path / "c")
    squares = cohort.squares(10)
    assert squares.shape == (12, 10, 10)
    assert squares.dtype == np.float32
    np.testing.assert_allclose(squares[2], picture(2).reshape(10, 4, 10, 3).mean((1, 3)), atol=1e-4)
    assert (tmp_path / "c" / "cache" / "squares_10.npy").is_file()
    part = cohort.select(["i005", "i001"])
    np.testing.assert_array_equal(part.squares(10), squares[[5, 1]])
    coverage, known = part.select(["i005"]).mask_squares("heart", 10)
    assert not known.any()
    assert not coverage.any()
    coverage, known = cohort.mask_squares("heart", 10)
    assert known.tolist() == [i % 3 == 0 for i in range(12)]
    np.testing.assert_allclose(coverage[3], (picture(3) > 0.5).reshape(10, 4, 10, 3).mean((1, 3)), atol=1e-5)


def test_a_longer_cohort_never_shows_an_old_cache(tmp_path):
    write(tmp_path / "c", 6).squares(8)
    assert write(tmp_path / "c", 9).squares(8).shape == (9, 8, 8)


def test_splits_are_disjoint_by_patient_and_empty_ones_are_named(tmp_path):
    cohort = write(tmp_path / "c", 40)
    parts = [cohort.split(name) for name in ("train", "val", "test")]
    patients = [set(part.patient_ids.tolist()) for part in parts]
    assert sum(map(len, parts)) == 40
    assert sum(map(len, patients)) == 20
    one = write(tmp_path / "one", 2)
    held = one.manifest.split.iloc[0]
    other = next(name for name in ("train", "val", "test") if name != held)
    with pytest.raises(InputMissing, match=f"split '{other}' is empty"):
        one.split(other)
    with pytest.raises(ConfigError):
        one.split("dev")


def test_take_is_deterministic_and_select_refuses_strangers(tmp_path):
    cohort = write(tmp_path / "c")
    assert cohort.take(4, 1).image_ids == cohort.take(4, 1).image_ids
    assert cohort.take(4, 1).image_ids != cohort.take(4, 2).image_ids
    with pytest.raises(InputMissing, match="nobody"):
        cohort.select(["nobody"])
    with pytest.raises(InputMissing, match="no label"):
        cohort.labels(["z"])


def test_digest_follows_content(tmp_path):
    a, b, c = write(tmp_path / "a"), write(tmp_path / "b"), write(tmp_path / "c", 10)
    assert a.digest == b.digest != c.digest
    assert a.take(3).digest != a.digest


def test_a_writer_that_stopped_goes_on_and_gives_the_same_bytes(tmp_path):
    whole = write(tmp_path / "whole")
    path = tmp_path / "torn"
    with CohortWriter(path) as writer:
        for i in range(5):
            mask = picture(i) > 0.5
            writer.add(
                image_id=f"i{i:03d}", pixels=picture(i), patient_id=f"p{i // 2}", sex="F",
                labels={"a": i % 2, "b": float("nan")}, view="PA", age=50 + i,
                masks={"heart": mask} if i % 3 == 0 else {},
            )  # fmt: skip
    with (path / "journal.jsonl").open("ab") as file:
        file.write(b'{"image_id": "i00')
    with (path / "pixels" / "00000.u16").open("ab") as file:
        file.write(b"torn")
    write(path)
    for file in sorted(whole.path.rglob("*")):
        if file.is_file():
            assert file.read_bytes() == (path / file.relative_to(whole.path)).read_bytes(), file


def test_columns_keep_their_order_when_a_writer_was_stopped(tmp_path):
    for stops in (False, True):
        path = tmp_path / str(stops)
        for part in (range(3), range(3, 6)) if stops else (range(6),):
            with CohortWriter(path) as writer:
                for i in part:
                    add(writer, i, labels={"zoster": 1.0, "ascites": 0.0, "mass": 0.5})
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
        good = {"image_id": "a", "patient_id": "p", "pixels": picture(0)}
        for change in (
            {"image_id": "../a"},
            {"pixels": picture(0) * np.nan},
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


def test_an_index_in_another_order_is_followed_and_a_short_one_refused(tmp_path):
    cohort = write(tmp_path / "c")
    path = tmp_path / "c" / "pixels" / "index.parquet"
    index = pd.read_parquet(path)
    index.iloc[::-1].to_parquet(path, index=False)
    np.testing.assert_array_equal(Cohort.open(cohort.path).pixels("i003"), cohort.pixels("i003"))
    index.iloc[1:].to_parquet(path, index=False)
    with pytest.raises(InputMissing, match="pixel index"):
        Cohort.open(cohort.path)


def test_a_missing_shard_is_said_in_one_line(tmp_path):
    cohort = write(tmp_path / "c")
    (cohort.path / "pixels" / "00000.u16").unlink()
    with pytest.raises(InputMissing, match="shard"):
        cohort.pixels("i000")


def add(writer, i, **more):
    writer.add(image_id=f"i{i:03d}", pixels=picture(i), patient_id=f"p{i}", **more)


def lines(path):
    return (path / "journal.jsonl").read_text().count("image_id")


def test_a_journal_line_is_written_only_after_pixels_and_masks_are_on_disk(tmp_path, monkeypatch):
    # What reaches the disk, in order: descriptors name the file that is forced out.
    synced = []
    real = os.fsync

    def recorded(handle):
        name = Path(f"/proc/self/fd/{handle}").readlink()
        synced.append((name.name, lines(tmp_path / "c")))
        real(handle)

    monkeypatch.setattr(os, "fsync", recorded)
    with CohortWriter(tmp_path / "c") as writer:
        synced.clear()
        for i in range(COMMIT_IMAGES):
            assert lines(tmp_path / "c") == 0
            add(writer, i, masks={"heart": picture(i) > 0.5})
        writer.commit()
        names = [name for name, _ in synced]
        assert len([name for name in names if name.endswith(".png")]) == COMMIT_IMAGES
        assert names[-3:] == ["heart", "00000.u16", "journal.jsonl"]
        assert [count for _, count in synced] == [0] * (COMMIT_IMAGES + 2) + [COMMIT_IMAGES]


def test_images_are_committed_after_a_time_on_closing_and_by_hand(tmp_path, monkeypatch):
    with CohortWriter(tmp_path / "c") as writer:
        add(writer, 0)
        assert lines(tmp_path / "c") == 0
        writer.commit()
        assert lines(tmp_path / "c") == 1
        add(writer, 1)
        monkeypatch.setattr(writing, "COMMIT_SECONDS", 0.0)
        add(writer, 2)
        writer._committer.wait()
        assert lines(tmp_path / "c") == 3
        monkeypatch.setattr(writing, "COMMIT_SECONDS", 60.0)
        add(writer, 3)
    assert lines(tmp_path / "c") == 4


def test_full_shards_are_forced_out_before_the_next_begins(tmp_path, monkeypatch):
    appender = ShardAppender(tmp_path, None, shard_bytes=5000)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda h: synced.append(Path(f"/proc/self/fd/{h}").readlink()))
    places = [appender.append(encode_stored_pixels(picture(i), (40, 30))) for i in range(4)]
    appender.close()
    assert [place.shard for place in places] == [0, 0, 1, 1]
    assert [path.name for path in synced] == ["00000.u16"]


def test_stored_values_are_kept_as_they_are(tmp_path):
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    with CohortWriter(tmp_path / "c") as writer:
        writer.add(image_id="a", pixels=every, patient_id="a")
        writer.add(image_id="b", pixels=every / np.float32(65535), patient_id="b")
    written = np.fromfile(tmp_path / "c" / "pixels" / "00000.u16", "<u2")
    np.testing.assert_array_equal(written[:65536], every.ravel())
    np.testing.assert_array_equal(written[65536:], every.ravel())
    smaller = encode_stored_pixels(every, (128, 128)).astype(float)
    np.testing.assert_allclose(smaller, every.reshape(128, 2, 128, 2).mean((1, 3)), atol=1)


def test_a_batch_that_cannot_be_committed_ends_the_writing(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    writer = CohortWriter(tmp_path / "c")
    with writer:
        add(writer, 0)
        writer.commit()
        monkeypatch.setattr(os, "fsync", full)
        add(writer, 1)
        with pytest.raises(OSError, match="No space"):
            writer.commit()
    assert lines(tmp_path / "c") == 1
    monkeypatch.undo()
    with CohortWriter(tmp_path / "c") as again:
        assert len(again) == 1


def test_a_manifest_made_in_parts_is_the_same(tmp_path, monkeypatch):
    records = [
        {
            "image_id": f"i{i}", "patient_id": "p", "study_id": "s", "dataset": "d", "view": "PA",
            "sex": None, "age": None, "rows": 1, "cols": 1, "spacing_mm": None,
            "spacing_kind": "none", "polarity_inverted": False, "flags": "", "pixel_sha256": "h",
            "labels": {"late": 1.0} if i > 6 else {"first": None},
            "masks": {"heart": "m"} if i == 8 else {},
        }
        for i in range(10)
    ]  # fmt: skip
    whole = columns.build_manifest(records)
    monkeypatch.setattr(columns, "CHUNK_ROWS", 3)
    parts = columns.build_manifest(records)
    pd.testing.assert_frame_equal(parts, whole)
    assert list(whole.columns)[-3:] == ["first", "late", "mask_heart"]
    assert whole["mask_heart"].isna().sum() == 9
    assert whole.late.isna().sum() == 7


def test_records_are_kept_as_lines_and_read_in_order():
    kept = ImageRecords()
    for name in ("b", "a"):
        record = {"image_id": name, "labels": {"z": 1.0, "a": 0.0}}
        kept.add(record, encode_json_line(record))
    kept.add({"store_size": 1}, b"{}")
    assert list(kept) == ["b", "a"]
    assert [record["image_id"] for record in kept.sorted_records()] == ["a", "b"]
    assert list(kept["a"]["labels"]) == ["z", "a"]
    assert "c" not in kept
    assert len(kept) == 2
