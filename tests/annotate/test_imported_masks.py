"""The format of a mask file, from its first bytes."""

import gzip

import pytest

from medprior.annotate.imported_masks import detect_mask_format, read_gzip_head
from medprior.errors import MedpriorError
from tests.annotate.drawings import assert_refused


def test_an_unknown_format_is_refused_with_those_that_are_known(tmp_path):
    (tmp_path / "m.bin").write_bytes(b"what is this?" * 99)
    assert_refused(tmp_path, tmp_path / "m.bin", "format is not known.*LabelMe")


NIFTI_1 = b"\x5c\x01\0\0" + bytes(340) + b"n+1\0"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"\xff\xd8\xff\xe0", "picture"),
        (b"II*\0", "picture"),
        (b"MM\0*", "picture"),
        (b"BM", "picture"),
        (b"NRRD0005\n", "nrrd"),
        (NIFTI_1, "nifti"),
        (NIFTI_1.replace(b"n+1", b"ni1"), "nifti"),
        (b"\x1c\x02\0\0n+2\0", "nifti"),
        (gzip.compress(NIFTI_1), "nifti"),
        (bytes(128) + b"DICM", "dicom"),
        (b'\xef\xbb\xbf \n{"shapes"', "json"),
        (b"[1]", "json"),
    ],
)
def test_a_format_is_known_by_its_first_bytes(tmp_path, head, kind):
    (tmp_path / "file").write_bytes(head)
    assert detect_mask_format(tmp_path / "file", "--annotations") == kind


@pytest.mark.parametrize("head", [b"NRRX0005", b"\0" + NIFTI_1, gzip.compress(b"NII" * 300), b'"text"', b"\xfe\xff{"])
def test_what_only_resembles_a_format_is_refused(tmp_path, head):
    (tmp_path / "file").write_bytes(head)
    with pytest.raises(MedpriorError, match="not known"):
        detect_mask_format(tmp_path / "file", "--annotations")


def test_the_head_of_a_gzip_file_is_empty_where_it_is_damaged(tmp_path):
    packed = gzip.compress(bytes(range(256)))
    for content, head in ((packed, b"\0\1\2"), (packed[:12], b""), (b"\x1f\x8bnothing", b"")):
        (tmp_path / "file.gz").write_bytes(content)
        assert read_gzip_head(tmp_path / "file.gz", 3) == head
