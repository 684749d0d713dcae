"""Folders of DICOM files with canaries in names and headers, and what an ingest made of them."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from medprior.dicom.decoding.samples import (
    compress_dataset,
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)
from medprior.ingest import IngestSettings

ONE_WORKER = IngestSettings(workers=1, store_size=64)
CANARY = "CANARY7"
EIGHT_BITS = create_sample_picture(bits=8).astype("u1")
SYNTAXES = (None, "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90")


def encode_radiograph(number, patient=None, sop=None, **elements):
    """Bytes of a distinct DX file."""
    stored = np.roll(create_sample_picture(), number, axis=1)
    dataset = create_sample_dataset(
        stored,
        PatientID=patient or f"{CANARY}-{number // 2}",
        SOPInstanceUID=sop or f"1.2.3.{number}",
        StudyInstanceUID=f"1.2.4.{number // 2}",
        PatientName=f"{CANARY}^NAME",
        **elements,
    )
    syntax = SYNTAXES[number % len(SYNTAXES)]
    return serialise_dataset(compress_dataset(dataset, syntax) if syntax else dataset)


def fill_with_dicom(folder, count=8, **elements):
    """A folder with `count` radiographs, two of each patient, each in a folder of its own."""
    for number in range(count):
        path = folder / f"{CANARY}_{number:03d}" / "x.dcm"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_radiograph(number, **elements))
    return folder


def read_sources(cohort):
    """Rows of the private `sources.csv` by the last two parts of the path."""
    frame = pd.read_csv(cohort.with_name(cohort.name + ".private") / "sources.csv")
    return {Path(row.source).parent.name + "/" + Path(row.source).name: row for row in frame.itertuples()}


def read_files(folder):
    """Every file's bytes; of `config.json` all but the commit of the checkout, which may move."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "cache" not in path.parts
    }
    if "config.json" in files:
        config = json.loads(files["config.json"]) | {"git_commit": ""}
        files["config.json"] = json.dumps(config).encode()
    return files


def upload_folder(fs, folder, prefix):
    """Copy every file of `folder` to an fsspec file system."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            fs.pipe_file(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())


def write_png(path: Path, array=EIGHT_BITS):
    """Write an 8-bit PNG and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def shift_picture(number):
    """A picture of its own for every number, uint8 [h, w]."""
    return np.roll(EIGHT_BITS, 3 * number, axis=1)


def write_pictures(folder, names):
    """Write one distinct picture per name; JPEG or PNG by suffix."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shift_picture(number)).save(path)


def write_table(path, header, rows, opener=open):
    """A table as the csv module writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with opener(path, "wt", newline="") as file:
        csv.writer(file).writerows([header, *rows])
