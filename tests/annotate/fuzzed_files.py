"""Damaged headers, segmentations, COCO, LabelMe and descriptors: every reader refuses in words or reads.

`python -m tests.annotate.fuzzed_files CASES` tries that many cases and prints what it found.
"""

import copy
import io
import json
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medprior.annotate.mask_inputs import MaskFileReader
from medprior.annotate.sources import read_dicom_masks
from medprior.dicom import read_radiograph
from medprior.errors import MedpriorError
from medprior.ingest.descriptor import descriptor_folder, load_descriptor
from tests.annotate.dicom_files import ON_LEFT, ON_RIGHT, segmentation, source

COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 30}],
    "categories": [{"id": 1, "name": "heart"}],
    "annotations": [
        {"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 20, 1, 20, 20]]},
        {"image_id": 1, "category_id": 1, "segmentation": {"size": [40, 30], "counts": [100, 50, 1050]}},
    ],
}
LABELME = {
    "imageHeight": 40, "imageWidth": 30,
    "shapes": [
        {"label": "heart", "shape_type": "polygon", "points": [[1, 1], [20, 1], [20, 20]]},
        {"label": "lung", "shape_type": "rectangle", "points": [[1, 1], [9, 9]]},
        {"label": "lung", "shape_type": "circle", "points": [[5, 5], [9, 9]]},
    ],
}  # fmt: skip
STRANGE = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(), st.text(max_size=6),
    st.sampled_from([[], {}, [[]], [1, 2], {"id": 1}, "1", 1e308, -1, 0, 2**31, [None], [[1, 1]], "(?P<id>.*)", "["]),
)  # fmt: skip


@cache
def load_samples():
    """Bytes of a radiograph and of a segmentation of it, and the radiograph as it is read."""
    picture = source()
    data = picture if isinstance(picture, bytes) else picture.getvalue()
    return data, segmentation([ON_RIGHT, ON_LEFT]), read_radiograph(io.BytesIO(data))


@st.composite
def damaged_bytes(draw, data):
    """The bytes with some replaced, cut out, doubled or cut off; most in the header."""
    result = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        end = draw(st.sampled_from([132, 400, 1500, len(result)]))
        place = draw(st.integers(0, max(min(end, len(result)) - 1, 0)))
        kind = draw(st.sampled_from(["replace", "cut", "double", "end"]))
        if kind == "replace":
            new = draw(st.binary(min_size=1, max_size=8))
            result[place : place + len(new)] = new
        elif kind == "cut":
            del result[place : place + draw(st.integers(1, 64))]
        elif kind == "double":
            result[place:place] = result[place : place + draw(st.integers(1, 64))]
        elif draw(st.booleans()):
            del result[place:]
    return bytes(result)


def list_places(value, path=()):
    """Paths of all values inside nested lists and mappings."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from list_places(child, (*path, key))


@st.composite
def damaged_records(draw, record):
    """The record with some values replaced or removed, keys added."""
    result = copy.deepcopy(record)
    for _ in range(draw(st.integers(1, 3))):
        places = [path for path in list_places(result) if path]
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        parent = result
        for key in path:
            parent = parent[key]
        if draw(st.booleans()):
            parent[last] = draw(STRANGE)
        elif isinstance(parent, dict) and draw(st.booleans()):
            parent[draw(st.text(max_size=5))] = draw(STRANGE)
        else:
            del parent[last]
    return result


def read_segmentation(data):
    """Masks of a damaged segmentation of the sample."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "seg.dcm")
        path.write_bytes(data)
        read_dicom_masks(path, load_samples()[2], None, "seg")


def read_shapes(record):
    """Masks of a damaged COCO or LabelMe file, which need no grids of the image."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shapes.json")
        path.write_text(json.dumps(record), encoding="utf-8")
        MaskFileReader(grids=None, picture="a.png", read_dicom=None).read_json(path, "--annotations")


def read_descriptor(record):
    """A damaged descriptor from its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "own.yaml")
        path.write_text(yaml.safe_dump(record), encoding="utf-8")
        load_descriptor(str(path))


def read_header(data):
    """Pixels and header of a damaged radiograph."""
    radiograph = read_radiograph(io.BytesIO(data))
    assert np.isfinite(radiograph.pixels).all()
    assert 0 <= radiograph.pixels.min() <= radiograph.pixels.max() <= 1


def list_fuzzers():
    """Name -> strategy and reader."""
    radiograph, segments, _ = load_samples()
    descriptors = [yaml.safe_load(path.read_text()) for path in sorted(descriptor_folder().glob("*.yaml"))]
    return {
        "header": (damaged_bytes(radiograph), read_header),
        "segmentation": (damaged_bytes(segments), read_segmentation),
        "coco": (damaged_records(COCO), read_shapes),
        "labelme": (damaged_records(LABELME), read_shapes),
        "descriptor": (st.sampled_from(descriptors).flatmap(damaged_records), read_descriptor),
    }


def fuzz_reader(name, count, seen):
    """Give `count` damaged files to one reader: any error but MedpriorError is a fault."""
    strategy, read = list_fuzzers()[name]

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def check(value):
        try:
            read(value)
        except MedpriorError as refusal:
            error = refusal
        else:
            seen[f"{name} read"] += 1
            return
        seen[f"{name} refused"] += 1
        assert error.exit_code == 2
        assert "\n" not in str(error)

    check()


if __name__ == "__main__":
    results = Counter()
    for reader in list_fuzzers():
        fuzz_reader(reader, int(sys.argv[1]) // len(list_fuzzers()), results)
    print(f"{sum(results.values())} cases, no error but a refusal: {json.dumps(results, sort_keys=True)}")
