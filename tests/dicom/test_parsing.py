"""The parser: byte orders, deflated data sets, and limits that no file passes."""

import io
import struct
import zlib

import numpy as np
from pydicom.dataset import Dataset

from medprior.dicom import Policy, read_radiograph
from medprior.dicom.decoding.samples import (
    create_sample_dataset,
    serialise_dataset,
)
from tests.dicom.sample_files import GOOD_FILE, PICTURE, get_reject_code, read_dataset


def test_big_endian_and_implicit_files_give_the_same_picture():
    dataset = create_sample_dataset(PICTURE)
    for syntax, order in (("1.2.840.10008.1.2.2", ">u2"), ("1.2.840.10008.1.2", "<u2")):
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.set_original_encoding(syntax.endswith("1.2"), order == "<u2")
        dataset.PixelData = PICTURE.astype(order).tobytes()
        np.testing.assert_allclose(read_dataset(dataset).pixels, PICTURE / 4095, atol=1e-6)


def deflated(payload: bytes) -> bytes:
    dataset = create_sample_dataset(PICTURE)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    data = serialise_dataset(dataset).replace(b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.1.99", 1)
    # The UID is two bytes longer: its own length and the group's length follow.
    at = data.index(b"UI\x14\x00" + b"1.2.840.10008.1.2.1.99")
    data = data[: at + 2] + b"\x16\x00" + data[at + 4 :]
    group = struct.unpack_from("<L", data, 140)[0] + 2
    data = data[:140] + struct.pack("<L", group) + data[144:]
    body = 144 + group
    machine = zlib.compressobj(9, wbits=-15)
    return data[:body] + machine.compress(data[body:] + payload) + machine.flush()


def test_deflated_reads_and_a_bomb_is_stopped():
    result = read_radiograph(io.BytesIO(deflated(b"")))
    np.testing.assert_allclose(result.pixels, PICTURE / 4095, atol=1e-6)
    bomb = deflated(bytes(30_000_000))
    assert len(bomb) < 100_000
    assert get_reject_code(bomb, Policy(max_bytes=10_000_000)) == "too_large"


def test_deep_nesting_is_stopped():
    inner = Dataset()
    for _ in range(400):
        outer = Dataset()
        outer.RequestAttributesSequence = [inner]
        outer["RequestAttributesSequence"].is_undefined_length = True
        inner = outer
    head = serialise_dataset(create_sample_dataset(PICTURE))
    start = head.index(b"\x18\x00\x15\x00CS")
    nested = b"".join(b"\x10\x00\x02\x10SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" for _ in range(3000))
    assert get_reject_code(head[:start] + nested + head[start:]) in {"too_deep", "malformed", "truncated"}


def test_too_many_elements_are_refused():
    many = b"".join(struct.pack("<HH2sH", 0x0011, i % 65536, b"LO", 0) for i in range(2000))
    start = GOOD_FILE.index(b"\x18\x00\x15\x00CS")
    data = GOOD_FILE[:start] + many + GOOD_FILE[start:]
    assert get_reject_code(data, Policy(max_elements=500)) == "too_many_elements"
