import json
from dataclasses import replace

import numpy as np
import pytest

from medprior.dicom import Policy, Radiograph, RawIdentifiers
from medprior.errors import Rejected
from medprior.ingest.decoding import (
    DecodedImage,
    RejectedFile,
    decode_source,
    deserialize_result,
    deserialize_source,
    read_raw_image,
    serialize_result,
    serialize_source,
    stretch_contrast,
)
from medprior.ingest.descriptor import MaskRule, RawFormat
from medprior.ingest.plan import ImageSource, MaskFile
from medprior.workers.secret_bytes import SecretBytes, pack_message, unpack_message
from tests.ingest.radiograph_files import CANARY, EIGHT_BITS, write_png


def test_what_travels_is_sealed():
    message = serialize_source(ImageSource(f"/data/{CANARY}.dcm", "a", "a", None, ()))
    sealed = pack_message(message, [])
    assert CANARY not in repr(sealed) + str(sealed)
    assert unpack_message(sealed) == (message, [])
    objects = b'{"facts": {}, "arrays": [["|O", [1]]]}'
    with pytest.raises(ValueError, match="not a message"):
        unpack_message(SecretBytes(len(objects).to_bytes(8, "little") + objects + bytes(8)))


def test_contrast_is_stretched_to_the_whole_range():
    stretched = stretch_contrast(np.array([[0.25, 0.75], [0.5, 0.375]], np.float32))
    assert stretched.tolist() == [[0, 1], [0.5, 0.25]]


@pytest.mark.parametrize(("big_endian", "code"), [(True, ">u2"), (False, "<u2")])
@pytest.mark.parametrize(("inverted", "expected"), [(False, [0, 1, 0.2, 0.4]), (True, [1, 0, 0.8, 0.6])])
def test_a_headerless_file_is_read_by_its_layout(tmp_path, big_endian, code, inverted, expected):
    # 0x1333 has a bit above the 12 that are used: 0x333 / 0xFFF = 0.2.
    stored = np.array([0, 0xFFF, 0x1333, 0x666])
    (tmp_path / "a").write_bytes(stored.astype(code).tobytes())
    layout = RawFormat(rows=2, cols=2, bits=12, big_endian=big_endian, inverted=inverted, spacing_mm=0.175)
    radiograph = read_raw_image(tmp_path / "a", layout, Policy())
    np.testing.assert_allclose(radiograph.pixels.ravel(), expected, atol=1e-6)
    assert radiograph.polarity_inverted is inverted
    assert (radiograph.spacing_mm, radiograph.spacing_kind) == ((0.175, 0.175), "film")
    without = read_raw_image(tmp_path / "a", layout.model_copy(update={"spacing_mm": None}), Policy())
    assert (without.spacing_mm, without.spacing_kind) == (None, "none")


def test_headerless_files_of_another_length_or_without_contrast_are_refused(tmp_path):
    path, layout = tmp_path / "a", RawFormat(rows=2, cols=2, bits=12)
    for content, code in ((bytes(8), "constant"), (bytes(10), "pixel_length"), (bytes(6), "pixel_length")):
        path.write_bytes(content)
        with pytest.raises(Rejected, match=code):
            read_raw_image(path, layout, Policy())
        source = ImageSource(str(path), "a", "a", layout, ())
        assert decode_source(source, Policy(), 64).code == code


def test_a_source_stretched_on_request_is_black_to_white(tmp_path):
    write_png(tmp_path / "a.png", (100 + EIGHT_BITS // 4).astype(np.uint8))
    source = ImageSource(str(tmp_path / "a.png"), "a.png", "a", None, ())
    plain = decode_source(source, Policy(), 512)
    assert plain.stored.max() < 65535
    stretched = decode_source(replace(source, stretch=True), Policy(), 512)
    assert (stretched.stored.min(), stretched.stored.max()) == (0, 65535)
    assert stretched.valid is None
    assert stretched.size == EIGHT_BITS.shape
    reduced = decode_source(source, Policy(), 48)
    assert max(reduced.stored.shape) == 48
    assert reduced.size == EIGHT_BITS.shape


def test_sources_survive_the_way_to_a_process():
    rule = MaskRule(match="(?P<id>x)", bits={2: "heart"}, split_components=("a", "b"))
    raw = RawFormat(rows=2, cols=3, bits=12, inverted=True)
    source = ImageSource("/a", "a", "key", raw, (MaskFile("/m", "heart", rule),), True)
    assert deserialize_source(json.loads(json.dumps(serialize_source(source)))) == source
    plain = ImageSource("/a", "a", "key", None, ())
    assert deserialize_source(serialize_source(plain)) == plain


@pytest.mark.parametrize("has_valid", [False, True])
@pytest.mark.parametrize("names", [(), ("heart", "spine")])
def test_results_survive_the_way_back(has_valid, names):
    metadata = Radiograph(np.zeros((0, 0), np.float32), np.zeros((0, 0), bool), spacing_mm=(0.1, 0.2), flags=("x",))
    valid = np.array([[True, False]]) if has_valid else None
    masks = {name: np.array([[number == 0, True]]) for number, name in enumerate(names)}
    identity = RawIdentifiers("patient", "1.2", "1.3")
    image = DecodedImage(np.array([[1, 2]], np.uint16), valid, masks, (10, 20), metadata, identity)
    message, arrays = serialize_result(image)
    back = deserialize_result(json.loads(json.dumps(message)), arrays)
    assert back.stored.tolist() == [[1, 2]]
    assert {name: mask.tolist() for name, mask in back.masks.items()} == {n: m.tolist() for n, m in masks.items()}
    assert (back.valid is None) is not has_valid
    assert not has_valid or back.valid.tolist() == [[True, False]]
    assert (back.size, back.identity, back.metadata.spacing_mm) == ((10, 20), identity, (0.1, 0.2))
    assert back.metadata.identity == RawIdentifiers()
    assert back.metadata.pixels.size == 0
    refused = RejectedFile("empty", "no bytes")
    assert deserialize_result(*serialize_result(refused)) == refused
