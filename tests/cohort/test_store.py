import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from medprior.cohort import CohortWriter
from medprior.cohort.store import (
    PixelLocation,
    PixelStore,
    ShardAppender,
    encode_stored_pixels,
    fsync_masks,
    read_mask,
    remove_partial_files,
    shard_path,
    write_mask,
)
from medprior.errors import InputMissing
from tests.cohort.images import random_picture, write_cohort


def test_a_missing_shard_is_said_in_one_line(tmp_path):
    cohort = write_cohort(tmp_path / "c")
    (cohort.path / "pixels" / "00000.u16").unlink()
    with pytest.raises(InputMissing, match="shard"):
        cohort.pixels("i000")


def test_full_shards_are_forced_out_before_the_next_begins(tmp_path, monkeypatch):
    appender = ShardAppender(tmp_path, None, shard_bytes=5000)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda h: synced.append(Path(f"/proc/self/fd/{h}").readlink()))
    places = [appender.append(encode_stored_pixels(random_picture(i), (40, 30))) for i in range(4)]
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


def test_a_location_ends_after_two_bytes_per_pixel():
    assert PixelLocation(0, 10, 3, 4).end == 34


def test_a_shard_may_be_exactly_full(tmp_path):
    appender = ShardAppender(tmp_path, None, shard_bytes=48)
    places = [appender.append(np.full((3, 4), number, np.uint16)) for number in range(3)]
    appender.close()
    assert [(place.shard, place.offset) for place in places] == [(0, 0), (0, 24), (1, 0)]


def test_a_writer_that_goes_on_drops_what_the_journal_does_not_name(tmp_path):
    appender = ShardAppender(tmp_path, None, shard_bytes=48)
    first, *_ = [appender.append(np.full((3, 4), number, np.uint16)) for number in range(3)]
    appender.close()
    again = ShardAppender(tmp_path, first, shard_bytes=48)
    assert [path.name for path in (tmp_path / "pixels").iterdir()] == ["00000.u16"]
    assert shard_path(tmp_path, 0).stat().st_size == 24
    place = again.append(np.full((2, 2), 65535, np.uint16))
    again.close()
    assert place == PixelLocation(0, 24, 2, 2)


def test_a_reader_sees_what_was_appended_after_its_first_read(tmp_path):
    appender, store = ShardAppender(tmp_path, None), PixelStore(tmp_path)
    first = appender.append(np.full((1, 2), 65535, np.uint16))
    assert store.read(first).tolist() == [[1, 1]]
    second = appender.append(np.array([[0], [13107]], np.uint16))
    appender.close()
    np.testing.assert_allclose(store.read(second), [[0], [0.2]])
    assert pickle.loads(pickle.dumps(store)).read(first).tolist() == [[1, 1]]


def test_encoding_rounds_and_clips():
    stored = encode_stored_pixels(np.array([[-0.5, 0.5, 1.5]], np.float32), (1, 3))
    assert stored.tolist() == [[0, 32768, 65535]]


def test_masks_come_back_without_a_draft_and_broken_ones_are_named(tmp_path):
    path, mask = tmp_path / "masks" / "heart" / "a.png", np.eye(3, dtype=bool)
    write_mask(path, mask)
    fsync_masks([path])
    np.testing.assert_array_equal(read_mask(path), mask)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.png"]
    path.write_bytes(b"no picture")
    with pytest.raises(InputMissing, match=r"masks/heart/a\.png"):
        read_mask(path)


def test_drafts_are_removed_and_the_lock_stays(tmp_path):
    kept = ["pixels/00000.u16", "masks/heart/a.png", ".lock"]
    for name in (*kept, ".config.json.x", "pixels/.x", "masks/heart/.a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_partial_files(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(tmp_path)) for path in files) == sorted(kept)
