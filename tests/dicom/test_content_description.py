"""Files that are no radiograph are named by what they are."""

import bz2
import gzip
import io
import lzma
import sqlite3
import sys
import tarfile
import zipfile
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medprior.dicom.content_description import DESCRIBED_BYTES, describe_content
from tests.dicom.sample_files import GOOD_FILE


def write_picture(kind):
    buffer = io.BytesIO()
    Image.new("L", (70, 70), 9).save(buffer, format=kind)
    return buffer.getvalue()


def write_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("chest.dcm", GOOD_FILE)
    return buffer.getvalue()


def write_tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("chest.dcm"))
    return buffer.getvalue()


def write_numpy():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (GOOD_FILE, "a DICOM file"),
        *((write_picture(kind), f"a {kind} picture") for kind in ("PNG", "JPEG", "TIFF", "GIF")),
        (write_picture("WEBP"), "a WebP picture"),
        (write_picture("JPEG2000"), "a JPEG 2000 picture"),
        (write_picture("PDF"), "a PDF document"),
        (write_zip(), "a ZIP archive"),
        (write_tar(), "a tar archive"),
        (gzip.compress(GOOD_FILE), "a gzip archive"),
        (bz2.compress(GOOD_FILE), "a bzip2 archive"),
        (lzma.compress(GOOD_FILE), "an xz archive"),
        (write_numpy(), "a NumPy array"),
        (Path(sys.executable).resolve().read_bytes()[:9000], "a program"),
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b"\n <html><body>", "an HTML page"),
        (b'<?xml version="1.0"?><a/>', "an XML file"),
        (b"file,label\nchest.dcm,1\n", "a text file"),
        ("Größe: 3 µm\n".encode() * 200, "a text file"),
        ("\ufeffid;wert\n".encode("utf-16-le"), "a text file"),
        (bytes(600), "of an unknown type"),
        (b"\x07bell", "of an unknown type"),
        ("caf\u00e9".encode("latin-1"), "of an unknown type"),
        (np.random.default_rng(0).bytes(600), "of an unknown type"),
    ],
)
def test_real_files_are_named(content, words):
    assert describe_content(content[:DESCRIBED_BYTES]) == words


def test_volumes_and_tables_are_named(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4)), np.eye(4)), tmp_path / "a.nii")
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((4, 4)))
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("create table t (a)")
    words = {
        "a.nii": "a NIfTI volume", "a.nrrd": "an NRRD volume", "a.parquet": "a Parquet table",
        "a.db": "an SQLite database",
    }  # fmt: skip
    for name, expected in words.items():
        assert describe_content((tmp_path / name).read_bytes()[:DESCRIBED_BYTES]) == expected


@pytest.mark.parametrize("cut", range(1, 4))
def test_a_character_that_is_cut_at_the_end_leaves_text(cut):
    content = "a" * (DESCRIBED_BYTES - cut) + "\U0001fac1"
    assert describe_content(content.encode()[:DESCRIBED_BYTES]) == "a text file"
