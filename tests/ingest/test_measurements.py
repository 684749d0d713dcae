"""Published measurements of images: read from tables, kept beside the manifest, and tied to their images."""

import json

import pandas as pd
import pytest

from medprior.errors import ConfigError, InputMissing
from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest.descriptor import DatasetDescriptor
from medprior.ingest.identity import Pseudonymizer
from medprior.ingest.measurements import ImageMeasurement, read_measurements, write_measurements
from tests.ingest.radiograph_files import EIGHT_BITS, upload_folder, write_png

ONE = IngestSettings(workers=1, store_size=48)


def describe(columns):
    """A descriptor whose table m.csv has the given measurements."""
    return DatasetDescriptor.from_values(
        {"name": "own", "title": "t", "licence": "x", "images": [{"match": r"(?P<id>.*)\.png$"}],
         "measurements": [{"files": ["m.csv"], "key": ["image"], "columns": columns}]}
    )  # fmt: skip


def read_text(folder, text):
    """Measurements `ctr` of a table with this text, as key -> value."""
    (folder / "m.csv").write_text(text)
    return {item.key: item.value for item in read_measurements(folder, describe({"ctr": ["ratio", "CTR"]}))}


def test_numbers_are_read_and_empty_cells_skipped(tmp_path):
    assert read_text(tmp_path, "image;ctr\nb/a.png;0,45\nc.png;\nd.png;NaN\ne;12\na.png;0.45\n") == {"a": 0.45, "e": 12}


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("image,CTR\na.png,wide\n", ConfigError, "no number: m.csv, column CTR|m.csv, column CTR.*'wide'"),
        ("image,CTR\na.png,inf\n", ConfigError, "'inf'"),
        ("image,CTR\na.png,0.4\nb/a.png,0.5\n", ConfigError, r"0\.4 and 0\.5"),
        ("image,ctr_old\na.png,0.4\n", InputMissing, "ratio or CTR.*ctr_old"),
    ],
)
def test_what_cannot_be_a_measurement_is_named(tmp_path, text, error, words):
    with pytest.raises(error, match=words):
        read_text(tmp_path, text)


def fill_wingspan(folder):
    """Two pictures; the table names one of them and a third."""
    for number in (1, 2):
        write_png(folder / "images" / f"wing{number:03d}.png", EIGHT_BITS[:, number:])
    (folder / "ctr.csv").write_text("image,cardiothoracic_ratio\nwing001.png,0.5839\nwing002.png,\nwing003.png,0.4\n")
    return folder


def test_measurements_lie_beside_the_manifest_and_follow_the_table(tmp_path):
    cohort = ingest_images(fill_wingspan(tmp_path / "in"), tmp_path / "c", "wingspan", ONE)
    table = pd.read_parquet(cohort.path / "measurements.parquet")
    assert list(table) == ["image_id", "name", "value"]
    assert table[["name", "value"]].to_numpy().tolist() == [["ctr", 0.5839]]
    assert table.image_id[0] in cohort.image_ids
    assert cohort.label_names == ()
    summary = json.loads((cohort.path / "summary.json").read_text())
    assert (summary["measurements"], summary["measurements_without_image"]) == (1, 1)
    (tmp_path / "in" / "ctr.csv").write_text("image,cardiothoracic_ratio\nwing001.png,0.6\nwing002.png,0.5\n")
    ingest_images(tmp_path / "in", tmp_path / "c", "wingspan", ONE)
    assert sorted(pd.read_parquet(cohort.path / "measurements.parquet").value) == [0.5, 0.6]
    (tmp_path / "in" / "ctr.csv").unlink()
    ingest_images(tmp_path / "in", tmp_path / "c", "wingspan", ONE)
    assert not (cohort.path / "measurements.parquet").exists()


def test_measurements_come_from_the_store_of_the_images(tmp_path):
    import fsspec

    upload_folder(fsspec.filesystem("memory"), fill_wingspan(tmp_path / "in"), "/measured")
    cohort = ingest_images("memory://measured", tmp_path / "c", "wingspan", ONE)
    assert pd.read_parquet(cohort.path / "measurements.parquet").value.tolist() == [0.5839]


def test_measurements_of_other_data_sets_are_kept(tmp_path):
    pseudonyms = Pseudonymizer(b"k" * 32)
    manifest = pd.DataFrame(
        {"image_id": [pseudonyms.pseudonym("image", f"{name}\0x") for name in "ab"], "dataset": ["a", "b"]}
    )
    for dataset, value in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        item = ImageMeasurement("x", "ctr", value)
        counts = write_measurements(tmp_path, [item], dataset, pseudonyms, manifest)
    assert counts == {"measurements": 2, "measurements_without_image": 0}
    table = pd.read_parquet(tmp_path / "measurements.parquet").set_index("image_id").value
    assert table[manifest.image_id].tolist() == [3, 2]
