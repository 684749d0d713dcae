import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from medprior.cohort import Cohort
from medprior.cohort.columns import COLUMN_TYPES
from medprior.cohort.manifest import ManifestFile
from medprior.errors import InputMissing
from tests.cohort.images import write_cohort

ROWS = 300_000


def test_columns_and_frame_are_those_of_pandas(tmp_path):
    write_cohort(tmp_path / "c")
    expected = pd.read_parquet(tmp_path / "c" / "manifest.parquet")
    manifest = ManifestFile(tmp_path / "c")
    assert (manifest.columns, len(manifest)) == (tuple(expected), 12)
    pd.testing.assert_frame_equal(manifest.frame, expected)
    for name in expected:
        pd.testing.assert_series_equal(manifest.read_column(name), expected[name])
    copy = pickle.loads(pickle.dumps(manifest))
    pd.testing.assert_series_equal(copy.read_column("split"), expected["split"])


def test_a_cohort_that_is_written_anew_leaves_open_ones_as_they_were(tmp_path):
    cohort = write_cohort(tmp_path / "c", 6)
    write_cohort(tmp_path / "c", 9)
    assert (len(cohort), len(cohort.manifest), len(cohort.patient_ids)) == (6, 6, 6)


def test_a_broken_column_is_said_when_it_is_read(tmp_path):
    write_cohort(tmp_path / "c")
    path = tmp_path / "c" / "manifest.parquet"
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")  # the schema stands behind the columns
    path.write_bytes(whole[:4] + bytes(footer - 4) + whole[footer:])
    manifest = ManifestFile(tmp_path / "c")
    with pytest.raises(InputMissing, match="missing or broken"):
        _ = manifest.frame
    with pytest.raises(InputMissing, match="missing or broken"):
        manifest.read_column("no such column")


OPEN = """
from tests.memory import read_peak_kib
import sys
from medprior.cohort import Cohort
before = read_peak_kib()
cohort = Cohort.open(sys.argv[1])
train = cohort.split("train")
assert len(train.aspect) == len(train) > 100_000
if sys.argv[2] == "all":
    assert len(cohort.manifest.columns) > 20 and len(train.manifest) == len(train)
print(read_peak_kib() - before)
"""


def test_opening_reads_only_the_columns_it_needs(tmp_path):
    """All columns of 300 000 rows, as every cohort and part once held them, take more than twice the memory."""
    small = write_cohort(tmp_path / "c", 2).path
    names = np.char.add("image-", np.arange(ROWS).astype(str))
    columns = {name: names if kind == "str" else np.zeros(ROWS, kind) for name, kind in COLUMN_TYPES.items()}
    columns |= {"split": np.where(np.arange(ROWS) % 2, "train", "test"), "rows": np.ones(ROWS, "int64")}
    columns |= {f"finding {number}": np.zeros(ROWS, np.float32) for number in range(14)}
    pd.DataFrame(columns).to_parquet(small / "manifest.parquet", index=False)
    places = {name: np.zeros(ROWS, "int64") for name in ("shard", "offset", "height", "width")}
    pd.DataFrame({"image_id": names, **places}).to_parquet(small / "pixels" / "index.parquet", index=False)
    growth = {}
    for kind in ("few", "all"):
        command = [sys.executable, "-c", OPEN, str(small), kind]
        growth[kind] = (
            int(subprocess.run(command, capture_output=True, check=True, text=True, timeout=300).stdout) / 2**10
        )
    assert growth["few"] < 160
    assert growth["all"] > 2 * growth["few"]


def test_the_digest_does_not_depend_on_chunks(tmp_path, monkeypatch):
    cohort = write_cohort(tmp_path / "c")
    whole = cohort.digest
    monkeypatch.setattr("medprior.cohort.cohort.CHUNK_ROWS", 5)
    assert Cohort.open(cohort.path).digest == whole
