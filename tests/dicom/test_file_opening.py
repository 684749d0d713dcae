"""Only regular files are opened, and content decides what a file is."""

import gzip
import os
import socket

import pytest

from medprior.dicom import Policy, read_radiograph
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
