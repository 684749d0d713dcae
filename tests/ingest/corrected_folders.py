"""A folder of PNG files with a table and a descriptor, to be corrected after an ingest."""

import json

import numpy as np
import yaml
from PIL import Image

from medprior.dicom.decoding.samples import create_sample_picture

EIGHT_BITS = create_sample_picture(bits=8).astype("u1")
HEADER = ("image", "patient_id", "effusion", "split")


def describe(**changes):
    """Values of a descriptor: ids from file names, patients, one label and the official split from a table."""
    table = {
        "files": ["labels.csv"],
        "key": ["image"],
        "facts": {"patient_id": ["patient_id"], "split": ["split"]},
        "labels": {"Effusion": ["effusion"]},
    }
    images = [{"match": r"(^|/)(?P<id>[^/]+)\.png$"}]
    return {"name": "mine", "title": "t", "licence": "internal", "images": images, "tables": [table]} | changes


class CorrectedFolder:
    """The input of an ingest and what corrects it.

    Attributes:
        rows: file -> [patient_id, effusion, split] of the table.
    """

    def __init__(self, path, count=12):
        self.path, self.descriptor_path = path, path.with_suffix(".yaml")
        path.mkdir()
        self.rows = {}
        for number in range(count):
            Image.fromarray(np.roll(EIGHT_BITS // 2 + 50, number, axis=1)).save(path / f"x{number:03d}.png")
            self.rows[f"x{number:03d}"] = [f"p{number // 2}", number % 2, ""]
        self.write()

    def write(self, **changes):
        """Write table and descriptor; the descriptor's path."""
        rows = [[name, *values] for name, values in self.rows.items()]
        text = "\n".join(",".join(map(str, row)) for row in (HEADER, *rows)) + "\n"
        (self.path / "labels.csv").write_text(text)
        self.descriptor_path.write_text(yaml.safe_dump(describe(**changes)))
        return str(self.descriptor_path)


def read_manifest(cohort, pseudonyms):
    """Patient, Effusion and split by file name, of a finished cohort of the data set `mine`."""
    from medprior.cohort import Cohort

    manifest = Cohort.open(cohort).manifest.set_index("image_id")
    result = {}
    for number in range(len(manifest)):
        name = f"x{number:03d}"
        row = manifest.loc[pseudonyms.pseudonym("image", f"mine\0{name}")]
        result[name] = (row.patient_id, row.Effusion, row.split)
    return result


def read_summary(cohort):
    """`summary.json`."""
    return json.loads((cohort / "summary.json").read_text())
