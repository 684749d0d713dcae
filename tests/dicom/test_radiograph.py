"""The result of reading: its digest, its metadata and how it travels."""

import dataclasses
import hashlib
import json
import struct

import numpy as np

from medprior.dicom.radiograph import (
    Radiograph,
    RawIdentifiers,
    compute_pixel_sha256,
    dump_metadata,
    find_low_range,
    find_orientation_flag,
    restore_radiograph,
)


def test_the_digest_is_of_the_values_however_they_are_kept():
    values = np.arange(-2048, 2048, dtype=np.int32)
    picture = np.random.default_rng(11).integers(7, 4096, (700, 900)).astype("<u2")
    assert compute_pixel_sha256(picture, values) == compute_pixel_sha256(values[picture])
    assert compute_pixel_sha256(picture) == compute_pixel_sha256(picture.astype(">u2"))


def test_the_digest_is_of_the_shape_and_of_32_bit_little_endian_values():
    expected = hashlib.sha256(b"2x1:" + struct.pack("<ii", 1, -2)).hexdigest()
    assert compute_pixel_sha256(np.array([[1], [-2]], dtype=">i2")) == expected
    assert compute_pixel_sha256(np.array([[1, -2]])) != expected


def test_what_is_dumped_as_json_comes_back():
    radiograph = Radiograph(
        np.float32([[0.5]]), np.array([[True]]), view="PA", age=81.0, spacing_mm=(0.2, 0.1), flags=("derived",),
        identity=RawIdentifiers("patient", "study", "sop"), stored_rows=2, stored_cols=1,
    )  # fmt: skip
    facts = json.loads(json.dumps(dump_metadata(radiograph)))
    assert not {"pixels", "valid"} & set(facts)
    restored = restore_radiograph(facts, radiograph.pixels, radiograph.valid)
    for field in dataclasses.fields(Radiograph):
        assert getattr(restored, field.name) == getattr(radiograph, field.name), field.name
    assert isinstance(restored.spacing_mm, tuple)
    assert restore_radiograph(facts | {"spacing_mm": None}, radiograph.pixels, radiograph.valid).spacing_mm is None


def test_identifiers_do_not_show():
    assert repr(RawIdentifiers("patient", "study", "sop")) == "RawIdentifiers()"


def test_the_turn_is_found_among_other_flags():
    assert find_orientation_flag(["derived", "orientation_rotated"]) == "orientation_rotated"
    assert find_orientation_flag(["derived", "orientation_unusual"]) == ""


def test_a_picture_in_less_than_an_eighth_of_the_range_is_flagged():
    ramp = np.linspace(0, 1, 100 * 100, dtype=np.float32).reshape(100, 100)
    everywhere = np.ones(ramp.shape, bool)
    assert find_low_range(ramp, everywhere) == ()
    assert find_low_range(ramp * np.float32(0.13), everywhere) == ()
    assert find_low_range(ramp / 8 + np.float32(0.5), everywhere) == ("low_range",)
    grey = ramp / 16
    grey[:5, :10] = 1
    # A white marker is 0.5 % of the picture, a bright quarter belongs to it.
    assert find_low_range(grey, everywhere) == ("low_range",)
    grey[:50, :50] = 1
    assert find_low_range(grey, everywhere) == ()


def test_only_valid_pixels_count_for_the_range():
    picture = np.full((100, 100), 0.4, np.float32)
    picture[:50] = 0
    valid = picture > 0
    assert find_low_range(picture, np.ones_like(valid)) == ()
    assert find_low_range(picture, valid) == ("low_range",)
    assert find_low_range(picture, np.zeros_like(valid)) == ()
