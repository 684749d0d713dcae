"""Only regular files are opened, and content decides what a file is."""

import gzip
import io
import os
import socket

import pytest

from medprior.dicom import Policy, read_radiograph
from medprior.dicom.file_opening import check_file_size, detect_file_type, open_regular_file
from medprior.errors import Rejected
from tests.dicom.sample_files import GOOD_FILE, PICTURE, get_reject_code


@pytest.mark.parametrize(
    "data",
    [gzip.compress(GOOD_FILE), b"PK\x03\x04" + GOOD_FILE, b"hello world" * 40, b"\x00\x05\x16\x07" + GOOD_FILE],
)
def test_other_content_is_not_dicom(data):
    assert get_reject_code(data) == "not_dicom"


def test_only_regular_files_are_opened(tmp_path):
    good = tmp_path / "good"
    good.write_bytes(GOOD_FILE)
    assert read_radiograph(good).pixels.shape == PICTURE.shape
    (tmp_path / "link").symlink_to(good)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
    for name in ("link", "pipe", "s", "."):
        assert get_reject_code(tmp_path / name) == "not_a_file"
    assert get_reject_code(tmp_path / "absent") == "unreadable"
    assert get_reject_code(good, Policy(max_bytes=100)) == "too_large"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (bytes(128) + b"DICM", "dicom"),
        (b"GIF8".ljust(128) + b"DICM", "dicom"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff", "jpeg"),
        (b"\xff\xd8", "unknown"),
        (b"II*\0", "tiff"),
        (b"MM\0*", "tiff"),
        (b"II+\0", "tiff"),
        (b"MM\0+", "tiff"),
        (b"BM".ljust(14, b"\0") + b"\x28\0\0\0", "bmp"),
        (b"BM".ljust(14, b"\0") + b"\x29\0\0\0", "unknown"),
        (b"BMI of the patient: 24 kg/m2", "unknown"),
        (b"\x08\x00\x05\x00CS\x0a\x00", "bare_dicom"),
        (b"\x08\x00\x05\x00CS\x0a", "unknown"),
        (b"\x08\x00\x05\x01CS\x0a\x00", "unknown"),
        (b"", "unknown"),
    ],
)
def test_the_first_bytes_tell_the_kind_of_a_file(head, kind):
    assert detect_file_type(head) == kind


def test_a_file_may_have_one_byte_up_to_the_limit():
    policy = Policy(max_bytes=3)
    check_file_size(1, policy)
    check_file_size(3, policy)
    for size, code in ((0, "empty"), (4, "too_large")):
        with pytest.raises(Rejected) as caught:
            check_file_size(size, policy)
        assert caught.value.code == code


def test_paths_and_streams_are_opened_at_their_first_byte(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    stream = io.BytesIO(b"abc")
    stream.seek(2)
    for given in (tmp_path / "file", str(tmp_path / "file"), stream):
        with open_regular_file(given, Policy()) as (file, size):
            assert (file.read(), size) == (b"abc", 3)
