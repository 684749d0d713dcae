"""Grey PNG and JPEG pictures."""

import io

import numpy as np
import pytest
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
