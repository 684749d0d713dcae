"""Grey PNG and JPEG pictures."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from medprior.dicom import read_image, read_raster
from medprior.dicom.decoding.samples import (
    create_sample_picture,
)
from medprior.dicom.raster import convert_to_grey
from medprior.errors import Rejected
from tests.dicom.sample_files import GOOD_FILE


def test_grey_pictures_are_read_and_others_refused():

    def encoded(array, mode=None, **options):
        buffer = io.BytesIO()
        Image.fromarray(array, mode=mode).save(buffer, **({"format": "PNG"} | options))
        return io.BytesIO(buffer.getvalue())

    eight = create_sample_picture(bits=8).astype("u1")
    np.testing.assert_allclose(read_image(encoded(eight)).pixels, eight / 255, atol=1e-6)
    sixteen = create_sample_picture(bits=16)
    np.testing.assert_allclose(read_image(encoded(sixteen)).pixels, sixteen / 65535, atol=1e-6)
    grey = np.stack([eight] * 3, axis=-1)
    np.testing.assert_allclose(read_image(encoded(grey)).pixels, eight / 255, atol=1e-6)
    assert read_image(encoded(eight, format="JPEG")).syntax == "jpeg"
    colour = grey.copy()
    colour[..., 0] //= 2
    bad = {
        "colour": encoded(colour),
        "size": encoded(eight[:20]),
        "constant": encoded(eight * 0),
        "decode_failed": io.BytesIO(encoded(eight).getvalue()[:200]),
        "not_an_image": io.BytesIO(GOOD_FILE),
    }
    for code, stream in bad.items():
        with pytest.raises(Rejected) as caught:
            read_raster(stream)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("mode", "pixel", "stored", "white"),
    [
        ("L", 7, 7, 255),
        ("LA", (7, 0), 7, 255),
        ("I;16", 700, 700, 65535),
        ("I", 700, 700, 65535),
        ("RGB", (10, 12, 13), 12, 255),
        ("RGBA", (12, 12, 12, 0), 12, 255),
    ],
)
def test_every_grey_mode_has_its_white_level(mode, pixel, stored, white):
    grey, white_level = convert_to_grey(Image.new(mode, (3, 2), pixel))
    assert (grey.tolist(), white_level) == ([[stored] * 3] * 2, white)


def write_picture(array, kind, orientation=None):
    buffer, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(array).save(buffer, format=kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


# What a viewer does to the stored rows to show them upright (EXIF 2.3, tag 0x0112).
UPRIGHT = {
    2: np.fliplr,
    3: lambda array: array[::-1, ::-1],
    4: np.flipud,
    5: np.transpose,
    6: lambda array: np.rot90(array, -1),
    7: lambda array: array[::-1, ::-1].T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("bits", [8, 16])
def test_the_exif_orientation_turns_a_picture_upright(orientation, bits):
    array = create_sample_picture(bits=bits).astype(f"u{bits // 8}")
    radiograph = read_raster(io.BytesIO(write_picture(array, "PNG", orientation)))
    np.testing.assert_allclose(radiograph.pixels, UPRIGHT[orientation](array) / (2**bits - 1), atol=1e-6)
    assert radiograph.flags == ("exif_orientation",)
    assert radiograph.valid.shape == radiograph.pixels.shape


def test_a_jpeg_is_turned_too_and_other_orientations_leave_the_picture():
    array = create_sample_picture(bits=8).astype("u1")
    plain = read_raster(io.BytesIO(write_picture(array, "JPEG")))
    turned = read_raster(io.BytesIO(write_picture(array, "JPEG", 6)))
    np.testing.assert_array_equal(turned.pixels, np.rot90(plain.pixels, -1))
    assert (plain.flags, turned.flags) == ((), ("exif_orientation",))
    for orientation in (0, 1, 9):
        other = read_raster(io.BytesIO(write_picture(array, "JPEG", orientation)))
        np.testing.assert_array_equal(other.pixels, plain.pixels)
        assert other.flags == ()


def test_broken_exif_data_leave_the_picture():
    array = create_sample_picture(bits=8).astype("u1")
    content = write_picture(array, "JPEG", 6)
    start = content.index(b"Exif\0\0") + 6
    for broken in (b"XX*\0", b"MM\0*\xff\xff\xff\xff"):
        damaged = content[:start] + broken + content[start + len(broken) :]
        assert read_raster(io.BytesIO(damaged)).pixels.shape == array.shape


def test_twelve_bits_in_sixteen_are_flagged_and_left():
    array = create_sample_picture(bits=12)
    radiograph = read_raster(io.BytesIO(write_picture(array, "PNG")))
    assert radiograph.flags == ("low_range",)
    np.testing.assert_allclose(radiograph.pixels, array / 65535, atol=1e-6)
    assert read_raster(io.BytesIO(write_picture(array * 16, "PNG"))).flags == ()


def test_a_picture_of_one_bit_is_no_radiograph():
    picture = Image.fromarray(create_sample_picture(bits=8).astype("u1")).convert("1")
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    assert get_raster_code(buffer.getvalue()) == "bits_unsupported"


def test_channels_may_differ_by_three():
    picture = np.full((2, 3, 3), 10, np.uint8)
    picture[1, 2, 0] = 13
    convert_to_grey(Image.fromarray(picture))
    picture[1, 2, 0] = 14
    with pytest.raises(Rejected, match="colour"):
        convert_to_grey(Image.fromarray(picture))


def get_raster_code(content):
    with pytest.raises(Rejected) as caught:
        read_raster(io.BytesIO(content))
    return caught.value.code


def write_blank_png(cols, rows):
    buffer = io.BytesIO()
    Image.new("L", (cols, rows)).save(buffer, format="PNG")
    return buffer.getvalue()


def test_more_than_16_million_pixels_need_a_byte_for_every_hundred():
    content = write_blank_png(4097, 4096)
    assert get_raster_code(content) == "too_large"
    assert get_raster_code(content.ljust(170_000, b"\0")) == "constant"


def test_a_jpeg_of_too_many_scans_is_refused():
    assert get_raster_code(b"\xff\xd8\xff" + b"\xff\xda" * 101) == "too_large"
    assert get_raster_code(b"\xff\xd8\xff" + b"\xff\xda" * 100) == "decode_failed"


def write_file(picture, kind, **options):
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "packbits"}, {"big_tiff": True}])
def test_a_tiff_is_read_with_its_bits(bits, options):
    array = create_sample_picture(bits=bits).astype(f"u{bits // 8}")
    radiograph = read_image(io.BytesIO(write_file(array, "TIFF", **options)))
    np.testing.assert_allclose(radiograph.pixels, array / (2**bits - 1), atol=1e-6)
    assert (radiograph.syntax, radiograph.flags, radiograph.polarity_inverted) == ("tiff", (), False)


@pytest.mark.parametrize(("bits", "order"), [(8, "<"), (8, ">"), (16, "<")])
def test_a_tiff_whose_low_values_are_white_is_inverted(bits, order):
    array = create_sample_picture(bits=bits).astype(f"u{bits // 8}")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric="miniswhite", byteorder=order)
    radiograph = read_image(io.BytesIO(buffer.getvalue()))
    np.testing.assert_allclose(radiograph.pixels, 1 - array / (2**bits - 1), atol=1e-6)
    assert radiograph.polarity_inverted


def test_white_of_a_tiff_of_12_bits_is_4095():
    array = create_sample_picture(bits=12).astype("u2")
    high, middle, low = array[:, ::2] >> 4, (array[:, ::2] & 15) << 4 | array[:, 1::2] >> 8, array[:, 1::2] & 255
    packed = np.stack([high, middle, low], axis=-1).astype("u1").tobytes()
    radiograph = read_image(io.BytesIO(write_tiff(array.shape, 12, packed)))
    np.testing.assert_allclose(radiograph.pixels, array / 4095, atol=1e-6)


def write_tiff(shape, bits, strip):
    """A little-endian TIFF file of one uncompressed grey strip (TIFF 6.0, section 3)."""
    rows, cols = shape
    entries = [(256, cols), (257, rows), (258, bits), (259, 1), (262, 1), (273, 122), (277, 1), (278, rows)]
    entries.append((279, len(strip)))
    table = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<LH", 8, len(entries)) + table + bytes(4) + strip


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_tiff_is_turned_upright_once(orientation):
    array = create_sample_picture(bits=16).astype("u2")
    radiograph = read_raster(io.BytesIO(write_file(array, "TIFF", tiffinfo={274: orientation})))
    np.testing.assert_allclose(radiograph.pixels, UPRIGHT[orientation](array) / 65535, atol=1e-6)
    assert radiograph.flags == ("exif_orientation",)


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "PNG"])
def test_grey_palettes_and_opaque_colours_are_read_as_grey(kind):
    array = create_sample_picture(bits=8).astype("u1")
    palette = Image.fromarray(255 - array).convert("P")
    palette.putpalette([level for value in range(255, -1, -1) for level in (value,) * 3])
    grey = Image.fromarray(array)
    for picture in (palette, grey.convert("RGB"), grey.convert("RGBA"), grey):
        radiograph = read_image(io.BytesIO(write_file(picture, kind)))
        np.testing.assert_allclose(radiograph.pixels, array / 255, atol=1e-6)
        assert radiograph.syntax == kind.lower()


def test_tiff_and_bmp_files_that_are_no_radiograph_have_their_code():
    eight = create_sample_picture(bits=8).astype("u1")
    page = Image.fromarray(eight)
    coloured = np.stack([eight, eight // 2, eight], axis=-1)
    bad = [
        ("frames", write_file(page, "TIFF", save_all=True, append_images=[page])),
        ("bits_unsupported", write_file(eight.astype("f4"), "TIFF")),
        ("bits_unsupported", write_file(eight.astype("i4") * 1000, "TIFF")),
        ("bits_unsupported", write_file(eight.astype("i4") - 9, "TIFF")),
        ("bits_unsupported", write_file(page.convert("1"), "BMP")),
        ("colour", write_file(coloured, "TIFF")),
        ("colour", write_file(coloured, "BMP")),
        ("size", write_file(eight[:20], "BMP")),
        ("constant", write_file(eight * 0, "TIFF")),
        ("decode_failed", write_file(eight, "TIFF")[:200]),
        ("malformed", b"II*\0" + bytes(400)),
        ("decode_failed", write_file(eight, "BMP")[:200]),
        ("decode_failed", write_tiff((4000, 4000), 8, b"")),
    ]
    for code, content in bad:
        assert get_raster_code(content) == code
    assert get_raster_code(write_tiff((8000, 8000), 8, bytes(100))) == "too_large"


def test_a_refusal_says_what_the_file_is():
    with pytest.raises(Rejected, match="neither PNG, JPEG, TIFF nor BMP: the file is a DICOM file"):
        read_raster(io.BytesIO(GOOD_FILE))
    with pytest.raises(Rejected, match="the content is not DICOM: the file is a text file"):
        read_image(io.BytesIO(b"dear radiologist, see attachment"))
