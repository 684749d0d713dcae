import pickle
import subprocess
import sys

import numpy as np
import pytest

from medprior.cohort.array_file import ArrayFile
from medprior.errors import InputMissing


@pytest.fixture
def numbers(tmp_path):
    values = np.arange(60, dtype=np.uint16).reshape(10, 2, 3)
    np.save(tmp_path / "a.npy", values)
    return values, ArrayFile(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "rows", [slice(2, 5), slice(None), slice(-3, None), slice(8, 3), slice(0, 10, 3), np.array([7, 0, 7])], ids=str
)
def test_rows_are_those_of_the_array(numbers, rows):
    values, file = numbers
    np.testing.assert_array_equal(file.read(rows), values[rows])
    assert (file.shape, file.dtype, len(file)) == (values.shape, values.dtype, 10)


def test_there_is_no_eleventh_row(numbers):
    with pytest.raises(IndexError):
        numbers[1].read(np.array([10]))


def test_another_process_opens_the_file_anew(numbers):
    values, file = numbers
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(file)).read(np.array([3])), values[[3]])


def test_a_replaced_file_is_the_one_that_was_opened(numbers, tmp_path):
    values, file = numbers
    np.save(tmp_path / "b.npy", values + 1)
    (tmp_path / "b.npy").replace(tmp_path / "a.npy")
    np.testing.assert_array_equal(file.read(slice(0, 2)), values[:2])


def test_a_file_that_is_cut_off_is_said(numbers, tmp_path):
    with (tmp_path / "a.npy").open("r+b") as file:
        file.truncate(150)
    with pytest.raises(InputMissing, match="cut off"):
        numbers[1].read(slice(None))


def test_arrays_of_another_order_are_refused(tmp_path):
    np.save(tmp_path / "f.npy", np.asfortranarray(np.ones((3, 2))))
    with pytest.raises(ValueError, match="C order"):
        ArrayFile(tmp_path / "f.npy")


READ_ALL = """
from tests.memory import read_peak_kib
import sys
import numpy as np
from medprior.cohort.array_file import ArrayFile
array = np.load(sys.argv[1], mmap_mode="r") if sys.argv[2] == "map" else None
file = ArrayFile(sys.argv[1])
before = read_peak_kib()
for start in range(0, len(file), 8):
    part = array[start : start + 8] if array is not None else file.read(slice(start, start + 8))
    assert part.sum() == 0
print(read_peak_kib() - before)
"""


def test_what_was_read_does_not_stay_in_memory(tmp_path):
    """A sparse file of 512 MiB: the pages of a memory map count, read rows do not."""
    header = {"descr": "<u2", "fortran_order": False, "shape": (1024, 512, 512)}
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 2**29)
    growth = {}
    for kind in ("map", "file"):
        command = [sys.executable, "-c", READ_ALL, str(tmp_path / "a.npy"), kind]
        growth[kind] = (
            int(subprocess.run(command, capture_output=True, check=True, text=True, timeout=300).stdout) / 2**10
        )
    assert growth["map"] > 400
    assert growth["file"] < 40
