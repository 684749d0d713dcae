"""The parser: byte orders, deflated data sets, and limits that no file passes."""

import io
import logging
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from medprior.dicom import Policy, parsing, read_radiograph
from medprior.dicom.decoding.samples import (
    create_sample_dataset,
    serialise_dataset,
)
from medprior.dicom.parsing import (
    check_byte_order,
    check_element_length,
    convert_parser_errors,
    guess_transfer_syntax,
    inflate_dataset,
    parse_header,
)
from medprior.errors import Rejected
from tests.dicom.sample_files import GOOD_FILE, PICTURE, get_reject_code, read_dataset


def test_big_endian_and_implicit_files_give_the_same_picture():
    dataset = create_sample_dataset(PICTURE)
    for syntax, order in (("1.2.840.10008.1.2.2", ">u2"), ("1.2.840.10008.1.2", "<u2")):
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.set_original_encoding(syntax.endswith("1.2"), order == "<u2")
        dataset.PixelData = PICTURE.astype(order).tobytes()
        np.testing.assert_allclose(read_dataset(dataset).pixels, PICTURE / 4095, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_missing_sop_class_is_that_of_the_file_meta():
    for missing in (lambda d: delattr(d, "SOPClassUID"), lambda d: setattr(d, "SOPClassUID", "")):
        dataset = create_sample_dataset(PICTURE, SOPInstanceUID="")
        missing(dataset)
        dataset.preamble = bytes(128)
        dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        dataset.file_meta.MediaStorageSOPInstanceUID = "000434271f63a053c4128a0ba6352c7f"
        file = io.BytesIO()
        dataset.save_as(file, implicit_vr=False, little_endian=True, enforce_file_format=False)
        radiograph = read_radiograph(io.BytesIO(file.getvalue()))
        np.testing.assert_allclose(radiograph.pixels, PICTURE / 4095, atol=1e-6)
        breast = file.getvalue().replace(b"1.2.840.10008.5.1.4.1.1.1.1\0", b"1.2.840.10008.5.1.4.1.1.1.2\0")
        assert get_reject_code(breast) == "sop_class"


def test_the_sop_class_of_the_data_set_wins_over_the_file_meta():
    mammogram_in_meta = GOOD_FILE.replace(b"1.2.840.10008.5.1.4.1.1.1.1\0", b"1.2.840.10008.5.1.4.1.1.1.2\0", 1)
    np.testing.assert_allclose(read_radiograph(io.BytesIO(mammogram_in_meta)).pixels, PICTURE / 4095, atol=1e-6)


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


def get_code(call, *arguments):
    with pytest.raises(Rejected) as caught:
        call(*arguments)
    return caught.value.code


def test_a_data_set_inflates_with_and_without_a_zlib_header_up_to_the_limit():
    bare = zlib.compressobj(wbits=-15)
    bare = bare.compress(b"abc") + bare.flush()
    for data in (bare, zlib.compress(b"abc")):
        assert inflate_dataset(data, 3) == b"abc"
        assert get_code(inflate_dataset, data, 2) == "too_large"
    assert get_code(inflate_dataset, b"\xff" * 20, 100) == "malformed"


def test_above_64_mebibytes_a_data_set_inflates_at_most_a_hundredfold(monkeypatch):
    monkeypatch.setattr(parsing, "MIN_BOMB_INFLATED_BYTES", 1000)
    data = zlib.compress(bytes(200_000))
    assert 10 < len(data) < 1000
    assert get_code(inflate_dataset, data, 2**30) == "too_large"
    assert len(inflate_dataset(zlib.compress(bytes(1000)), 2**30)) == 1000
    assert len(inflate_dataset(zlib.compress(bytes(1001)), 2**30)) == 1001


def test_the_first_element_tells_explicit_from_implicit():
    explicit, implicit = io.BytesIO(b"\x08\0\x05\0CS\x0a\0"), io.BytesIO(b"\x08\0\x05\0\x0a\0\0\0")
    assert guess_transfer_syntax(explicit) == "1.2.840.10008.1.2.1"
    assert guess_transfer_syntax(implicit) == "1.2.840.10008.1.2"
    assert (explicit.tell(), implicit.tell()) == (0, 0)


def test_the_first_group_is_low_in_the_stated_byte_order():
    little, big = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
    for head, syntax in ((b"\x08\0", little), (b"\0\x08", big), (b"\xff\0", little), (b"\xe0\x7f", little)):
        stream = io.BytesIO(head)
        check_byte_order(stream, syntax)
        assert stream.tell() == 0
    for head, syntax, code in (
        (b"\x08\0", big, "malformed"),
        (b"\0\x08", little, "malformed"),
        (b"\0\x01", little, "malformed"),
        (b"\x08", little, "truncated"),
    ):
        assert get_code(check_byte_order, io.BytesIO(head), syntax) == code


def test_an_element_may_reach_the_end_of_the_file():
    stream = io.BytesIO(bytes(10))
    stream.seek(4)
    check_element_length(6, stream, 10)
    check_element_length(0xFFFFFFFF, stream, 10)
    assert get_code(check_element_length, 7, stream, 10) == "truncated"


@pytest.mark.parametrize(
    ("error", "code"),
    [(RecursionError(), "too_deep"), (MemoryError(), "memory"), (KeyError("name"), "malformed"),
     (Rejected("size", "too small"), "size")],
)  # fmt: skip
def test_errors_of_the_parser_become_codes_without_their_text(error, code):
    logger = logging.getLogger("pydicom")
    level = logger.level
    levels = []

    def fail():
        with convert_parser_errors():
            levels.append(logger.level)
            raise error

    with pytest.raises(Rejected) as caught:
        fail()
    assert caught.value.code == code
    assert levels[0] > logging.CRITICAL
    assert "name" not in str(caught.value)
    assert logger.level == level


def parse(content):
    return parse_header(io.BytesIO(content), len(content), Policy())


def test_a_header_stops_at_the_pixel_data():
    parsed = parse(GOOD_FILE)
    assert parsed.stream.read(4) == b"\xe0\x7f\x10\x00"
    assert (parsed.syntax, parsed.guessed_syntax, parsed.implicit) == ("1.2.840.10008.1.2.1", False, False)
    assert parsed.header.short(0x00280010) == 96


def test_a_file_without_a_preamble_is_dicom_only_with_a_class():
    start = GOOD_FILE.index(b"\x08\x00\x16\x00UI")
    parsed = parse(GOOD_FILE[start:])
    assert (parsed.syntax, parsed.guessed_syntax) == ("1.2.840.10008.1.2.1", True)
    nameless = GOOD_FILE.index(b"\x08\x00\x18\x00UI")
    assert get_code(parse, GOOD_FILE[nameless:]) == "not_dicom"


def test_an_implicit_file_is_known_as_such():
    dataset = create_sample_dataset(PICTURE)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    parsed = parse(serialise_dataset(dataset))
    assert (parsed.syntax, parsed.implicit) == ("1.2.840.10008.1.2", True)


@pytest.mark.parametrize(
    ("form", "name"), [("TIFF", "TIFF"), ("WEBP", "WebP"), ("GIF", "GIF"), ("JPEG2000", "JPEG 2000")]
)
def test_other_pictures_are_named_for_what_they_are(form, name):
    """A parser that is given a picture says which, whatever its file is called."""
    buffer = io.BytesIO()
    Image.new("L", (64, 64), 9).save(buffer, form)
    size = buffer.tell()
    buffer.seek(0)
    with pytest.raises(Rejected, match=f"not DICOM: the file is a {name} picture$") as caught:
        parse_header(buffer, size, Policy())
    assert caught.value.code == "not_dicom"
