import subprocess
import sys

import numpy as np
import pytest

from medprior.cohort.journal import encode_json_line
from medprior.errors import InputMissing
from medprior.priors import SpatialPrior, build_prior
from medprior.priors import per_image as per_image_module
from medprior.priors.per_image import (
    compute_image_maps,
    load_registrations,
    open_maps_file,
    resume_journal,
    transfer_chunks,
)
from medprior.priors.registration import Example
from medprior.priors.settings import PriorSettings
from medprior.priors.transfer import LabelTransfer


def test_two_workers_give_the_same_bytes_as_one(thoraxes, drawing, registered, tmp_path):
    build_prior(thoraxes, tmp_path, drawing, workers=2)
    for name in ("per_image.npy", "prior.npz", "per_image.parquet", "prior.json"):
        assert (tmp_path / name).read_bytes() == (registered[1] / name).read_bytes(), name


def test_a_killed_run_is_taken_up(thoraxes, drawing, registered, tmp_path, monkeypatch):
    asked = []
    original = per_image_module.transfer_chunks

    def dying(rows, *rest):
        asked.append(len(rows))
        for count, answer in enumerate(original(rows, *rest)):
            if count == 1 and len(asked) == 1:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setattr(per_image_module, "transfer_chunks", dying)
    names = thoraxes.image_ids[4:14]
    part = thoraxes.select(names)
    with pytest.raises(KeyboardInterrupt):
        build_prior(part, tmp_path, drawing, workers=1)
    with pytest.raises(InputMissing, match="no finished result"):
        SpatialPrior.load(tmp_path)
    again = build_prior(part, tmp_path, drawing, workers=1)
    assert asked == [10, 10 - per_image_module.CHUNK_SIZE]
    np.testing.assert_array_equal(again.batch(names), registered[0].batch(names))
    build_prior(part, tmp_path, drawing, workers=1)
    assert asked[2] == 0
    # Other settings are other work.
    build_prior(part, tmp_path, drawing, "affine", workers=1)
    assert asked[3] == 10


@pytest.fixture
def still(drawing):
    """A transfer that only compares: quick, with a record that differs from picture to picture."""
    settings = PriorSettings.from_values({"size": 32, "registration": {"size": 64}})
    return LabelTransfer((Example(drawing.square(64), drawing.coverage(64)),), "static", settings, drawing.structures)


def test_progress_is_written_where_stderr_is_a_file(thoraxes, still, tmp_path, capsys):
    image_ids = list(thoraxes.image_ids[:10])
    compute_image_maps(tmp_path, "key", image_ids, np.asarray(thoraxes.squares(64))[:10], still, workers=1)
    progress = capsys.readouterr().err
    assert "prior" in progress
    assert "10/10" in progress


def test_records_and_maps_are_those_of_each_image(thoraxes, still, tmp_path):
    squares = np.asarray(thoraxes.squares(64))[:10]
    image_ids = list(thoraxes.image_ids[:10])
    maps, table = compute_image_maps(tmp_path, "key", image_ids, squares, still, workers=1)
    assert table.columns[:3].tolist() == ["image_id", "trust", "status"]
    assert "row" not in table
    assert table.image_id.tolist() == image_ids
    singles = [still(square[None]) for square in squares]
    np.testing.assert_array_equal(maps, np.concatenate([values for values, _ in singles]))
    assert table.correlation.tolist() == [records[0]["correlation"] for _, records in singles]
    assert table.correlation.nunique() == 10


@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 4])
def test_registrations_are_read_in_parts_without_the_key_and_sorted_by_row(tmp_path, monkeypatch, rows_at_once):
    monkeypatch.setattr(per_image_module, "CHUNK_ROWS", rows_at_once)
    records = [
        {"row": row, "image_id": f"i{row}", "local": row / 4, "trust": 1.0, "status": "affine"} for row in (2, 0, 1)
    ]
    path = tmp_path / "registrations.jsonl"
    path.write_bytes(b"".join(encode_json_line(record) for record in [{"key": "k"}, *records]))
    table = load_registrations(path)
    assert table.columns.tolist() == ["image_id", "trust", "status", "local"]
    assert table.image_id.tolist() == ["i0", "i1", "i2"]
    assert table.local.tolist() == [0, 0.25, 0.5]
    assert table.index.tolist() == [0, 1, 2]


def test_a_transfer_that_forgets_an_image_is_no_result(thoraxes, still, tmp_path):
    class Forgetful:
        examples, settings = still.examples, still.settings

        def __call__(self, pictures):
            maps, records = still(pictures)
            return maps, records[:-1]

    with pytest.raises(ValueError, match="shorter"):
        compute_image_maps(
            tmp_path, "key", list(thoraxes.image_ids[:2]), np.asarray(thoraxes.squares(64))[:2], Forgetful(), 1
        )


def test_results_under_another_key_are_discarded(tmp_path):
    journal = resume_journal(tmp_path, "a")
    journal.append({"row": 0})
    journal.close()
    (tmp_path / "per_image.npy").write_bytes(b"maps")
    same = resume_journal(tmp_path, "a")
    assert same.records == [{"key": "a"}, {"row": 0}]
    same.close()
    assert (tmp_path / "per_image.npy").exists()
    other = resume_journal(tmp_path, "b")
    assert other.records == [{"key": "b"}]
    other.close()
    assert not (tmp_path / "per_image.npy").exists()


def test_maps_on_disk_are_kept_where_they_exist(tmp_path):
    maps = open_maps_file(tmp_path / "maps.npy", (2, 1, 3, 3), exists=False)
    maps[1] = 7
    maps.flush()
    assert open_maps_file(tmp_path / "maps.npy", (2, 1, 3, 3), exists=True)[1].min() == 7
    assert open_maps_file(tmp_path / "maps.npy", (2, 1, 3, 3), exists=False).max() == 0


def test_chunks_hold_eight_rows_in_order():
    squares = np.arange(40, dtype=np.float32).reshape(40, 1, 1)
    rows = [row for row in range(20) if row not in (3, 4, 5)]
    chunks = list(transfer_chunks(rows, squares, lambda pictures: pictures.ravel().tolist(), workers=1))
    assert [len(chunk) for chunk, _ in chunks] == [8, 8, 1]
    assert [row for chunk, _ in chunks for row in chunk] == rows
    assert [value for _, values in chunks for value in values] == rows
    assert list(transfer_chunks([], squares, None, workers=1)) == []


RESUME = """
from tests.memory import read_peak_kib
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from medprior.priors.per_image import compute_image_maps
ids = [f"image-{row}" for row in range(100_000)]
transfer = SimpleNamespace(examples=(SimpleNamespace(coverage=np.zeros((1, 2, 2))),), settings=SimpleNamespace(size=2))
before = read_peak_kib()
maps, table = compute_image_maps(Path(sys.argv[1]), "key", ids, np.zeros((len(ids), 2, 2), np.float32), transfer, 1)
assert table.image_id.tolist() == ids and table.columns.tolist() == ["image_id", "trust", "status", "local", "doubt"]
print(read_peak_kib() - before)
"""


def test_records_of_a_hundred_thousand_images_are_not_held(tmp_path):
    """As dictionaries, which were held once in the journal and once by row, they are 130 MiB."""
    journal = resume_journal(tmp_path, "key")
    order = np.random.default_rng(0).permutation(100_000).tolist()
    more = {"status": "deformable", "trust": 1.0, "local": 0.5, "doubt": "small heart"}
    journal.append_lines([encode_json_line({"row": row, "image_id": f"image-{row}"} | more) for row in order])
    journal.close()
    maps = open_maps_file(tmp_path / "per_image.npy", (100_000, 1, 2, 2), exists=False)
    maps.flush()
    command = [sys.executable, "-c", RESUME, str(tmp_path)]
    grown = int(subprocess.run(command, capture_output=True, check=True, text=True, timeout=300).stdout) / 2**10
    assert grown < 90
