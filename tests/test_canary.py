"""Nothing of a patient gets out: canaries in every text, name and folder, looked for everywhere."""

from __future__ import annotations

import base64
import getpass
import gzip
import hashlib
import io
import os
import re
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset

from medprior.dicom import read_image
from medprior.dicom.bounded_reader import BoundedReader
from medprior.dicom.decoding.samples import (
    compress_dataset,
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)
from medprior.errors import Rejected

SQLITE = "sqlite:///"
# Tag -> VR of elements that hold text, in groups that medprior has no use for and in some it reads.
TEXTS = {
    0x00080050: "SH", 0x00080080: "LO", 0x00080081: "ST", 0x00080090: "PN", 0x00081010: "SH",
    0x00081030: "LO", 0x0008103E: "LO", 0x00081040: "LO", 0x00081048: "PN", 0x00081050: "PN",
    0x00081070: "PN", 0x00081090: "LO", 0x00082111: "ST", 0x00100010: "PN", 0x00100020: "LO",
    0x00100021: "LO", 0x00101000: "LO", 0x00101001: "PN", 0x00101040: "LO", 0x00102154: "SH",
    0x00102160: "SH", 0x001021B0: "LT", 0x00104000: "LT", 0x00120063: "LO", 0x00181000: "LO",
    0x00181030: "LO", 0x00181400: "LO", 0x00200010: "SH", 0x00204000: "LT", 0x00280303: "CS",
    0x00281055: "LO", 0x00321032: "PN", 0x00324000: "LT", 0x00380300: "LO", 0x00400254: "LO",
    0x00402400: "LT", 0x00420010: "ST", 0x00081190: "UR", 0x0040A160: "UT", 0x00189074: "DT",
    0x00080055: "AE", 0x0040A161: "UC", 0x20300020: "LO", 0x40080114: "PN",
}  # fmt: skip
NUMBERS = {
    "DA": "19370519", "TM": "133742.911", "DT": "19370519133742", "DS": "7319046.25",
    "IS": "739104682", "AS": "",
}  # fmt: skip


@dataclass
class Canaries:
    """Unique strings; every one that was given out must be found nowhere."""

    given: list[str]

    def one(self, vr: str = "LO") -> str:
        """A new one, fit for a value representation."""
        count = len(self.given)
        text = f"1.2.999.7391.{4000 + count}" if vr == "UI" else f"CNRY{4000 + count}X"
        if vr == "UR":
            text = f"http://127.0.0.1:9/{text}"
        self.given.append(text)
        return text


def person(canaries: Canaries, seed: int, **elements: object) -> Dataset:
    """A good image with canaries in every text, nested and private ones included."""
    rng = np.random.default_rng(seed)
    picture = create_sample_picture() // 2 + rng.integers(0, 900, (96, 80)).astype("u2")
    data = create_sample_dataset(picture)
    for tag, vr in TEXTS.items():
        data.add_new(tag, vr, NUMBERS[vr] if vr in NUMBERS else canaries.one(vr))
    for tag in (0x00080018, 0x0020000D, 0x0020000E, 0x00200052):
        data.add_new(tag, "UI", canaries.one("UI"))
    for tag, vr in ((0x00080020, "DA"), (0x00080030, "TM"), (0x00100030, "DA"), (0x00200013, "IS")):
        data.add_new(tag, vr, NUMBERS[vr])
    block = data.private_block(0x0029, canaries.one(), create=True)
    for offset, vr in enumerate(("LO", "PN", "UT", "LT", "SH"), 1):
        block.add_new(offset, vr, canaries.one(vr))
    block.add_new(9, "UN", canaries.one().encode())
    inner = Dataset()
    inner.add_new(0x00080100, "SH", canaries.one())
    inner.add_new(0x00080104, "LO", canaries.one())
    inner.add_new(0x0040A123, "PN", canaries.one())
    outer = Dataset()
    outer.add_new(0x00401101, "SQ", [inner])
    data.add_new(0x00321064, "SQ", [outer])
    data.add_new(0x00400275, "SQ", [inner])
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    return data


def files(canaries: Canaries) -> dict[str, bytes]:
    """Good and refused files, all with canaries."""
    good = serialise_dataset(person(canaries, 0))
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", canaries.one())
    png, jpeg, bad = io.BytesIO(), io.BytesIO(), io.BytesIO()
    grey = Image.fromarray(create_sample_picture(bits=8).astype("u1"))
    grey.save(png, "PNG", pnginfo=text)
    grey.save(jpeg, "JPEG", comment=canaries.one().encode())
    colour = np.stack([create_sample_picture(bits=8)] * 3, -1).astype("u1")
    colour[..., 0] //= 3
    Image.fromarray(colour).save(bad, "PNG", pnginfo=text)
    name = canaries.one().encode()
    odd = serialise_dataset(person(canaries, 1)).replace(b"\x28\x00\x02\x00US", b"\x28\x00\x02\x00QQ")
    refused = {
        "ct": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"},
        "hand": {"BodyPartExamined": "HAND"}, "modality": {"Modality": canaries.one()},
        "class": {"SOPClassUID": canaries.one("UI")},
        "rgb": {"PhotometricInterpretation": canaries.one()},
        "slope": {"RescaleSlope": "0", "RescaleIntercept": "0"}, "rows": {"Rows": 7000},
        "part": {"BodyPartExamined": canaries.one()},
    }  # fmt: skip
    made = {
        f"refused {key}": serialise_dataset(person(canaries, seed, **elements))
        for seed, (key, elements) in enumerate(refused.items(), 10)
    }
    made |= {
        f"good {seed}": serialise_dataset(person(canaries, seed, PatientID=f"CNRY{seed}PATIENT"))
        for seed in range(20, 24)
    }
    canaries.given += [f"CNRY{seed}PATIENT" for seed in range(20, 24)]
    jls = compress_dataset(person(canaries, 30), "1.2.840.10008.1.2.4.80")
    return made | {
        "whole": good, "cut": good[:-1000], "cut in header": good[:700],
        "gzip": gzip.compress(good),
        "png": png.getvalue(), "jpeg": jpeg.getvalue(), "colour": bad.getvalue(),
        "text": b"name: " + name + b"\n" * 200, "html": b"<html>" + name * 40, "odd": odd,
        "jls": serialise_dataset(jls), "torn": serialise_dataset(jls)[:-4000],
    }  # fmt: skip


@dataclass
class Place:
    """A folder of canaries and where everything went.

    Attributes:
        canaries: all that were given out.
        source: the input.
        root: holds all that was written.
        said: stdout and stderr of every command.
        codes: exit codes.
    """

    canaries: Canaries
    source: Path
    root: Path
    said: list[str]
    codes: list[int]

    def run(self, *arguments: str | Path) -> None:
        """Run the command line."""
        environment = os.environ | {
            "MLFLOW_TRACKING_URI": f"{SQLITE}{self.root}/mlflow.db",
            "MEDPRIOR_IDENTITY_KEY": str(self.root.parent / "key"),
            "HOME": str(self.root / "home"),
        }
        done = subprocess.run(
            [sys.executable, "-m", "medprior", *map(str, arguments)],
            capture_output=True, text=True, timeout=550, check=False, cwd=self.root,
            env=environment,
        )  # fmt: skip
        self.said.append(done.stdout + done.stderr)
        self.codes.append(done.returncode)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The folder after ingest, tracked, and after commands that must fail."""
    top = tmp_path_factory.mktemp("canary")
    canaries = Canaries([])
    source, root = top / canaries.one(), top / "work"
    (root / "home").mkdir(parents=True)
    for index, (kind, content) in enumerate(files(canaries).items()):
        folder = source / canaries.one()
        folder.mkdir(parents=True)
        name = canaries.one() + (".dcm" if index % 2 else "")
        (folder / name).write_bytes(content)
        assert kind
    (source / canaries.one()).symlink_to(source)
    os.mkfifo(source / canaries.one())
    result = Place(canaries, source, root, [], [])
    result.run("ingest", source, root / "cohort", "--workers", "1", "--store-size", "64")
    only = top / canaries.one()
    only.mkdir()
    (only / canaries.one()).write_bytes(b"nothing")
    result.run("ingest", only, root / "none")
    result.run("ingest", top / canaries.one(), root / "absent", "--no-tracking")
    result.run("ingest", source, root / "other", "--dataset", "nih", "--no-tracking")
    return result


def written(place: Place) -> bytes:
    """All that was written outside the private folders, packed columns unpacked."""
    parts = []
    for path in sorted(place.root.rglob("*")):
        relative = path.relative_to(place.root)
        if any(part.endswith(".private") for part in relative.parts):
            continue
        parts.append(str(relative).encode())
        if path.is_file():
            parts.append(path.read_bytes())
        if path.suffix == ".parquet":
            parts.append(pd.read_parquet(path).to_csv().encode())
    return b"\n".join(parts)


def forms(text: str) -> set[bytes]:
    """A canary in clear, in other encodings, and as unkeyed digests."""
    result: set[bytes] = set()
    for said in {text, text.lower(), text.upper()}:
        plain = said.encode()
        result |= {plain, said.encode("utf-16-le"), plain.hex().encode()}
        for kind in ("md5", "sha1", "sha256"):
            digest = hashlib.new(kind, plain)
            result |= {digest.hexdigest().encode(), base64.b64encode(digest.digest())}
    return result


def leaks(canaries: Canaries, told: bytes) -> list[str]:
    """The canaries that can be found in `told`."""
    texts = [*canaries.given, *(text for text in NUMBERS.values() if text)]
    return [text for text in texts if any(form in told for form in forms(text))]


def test_the_search_finds_what_is_there(place: Place) -> None:
    private = (place.root / "cohort.private" / "sources.csv").read_bytes()
    assert leaks(place.canaries, private)
    assert leaks(place.canaries, b"x" + hashlib.sha1(b"cnry4005x").hexdigest().encode())


def test_the_commands_did_what_they_should(place: Place) -> None:
    assert place.codes == [0, 2, 2, 2], place.said
    manifest = pd.read_parquet(place.root / "cohort" / "manifest.parquet")
    assert len(manifest) >= 8
    assert (place.root / "mlflow.db").is_file()
    quarantine = pd.read_csv(place.root / "cohort" / "quarantine.csv")
    assert len(set(quarantine.code)) >= 10


def test_nothing_in_what_was_written(place: Place) -> None:
    assert not leaks(place.canaries, written(place))


def test_nothing_in_what_was_said(place: Place) -> None:
    assert not leaks(place.canaries, "\n".join(place.said).encode())


def test_nothing_beside_the_outputs(place: Place) -> None:
    beside = {path.name for path in place.root.parent.iterdir()}
    assert beside - {path for path in beside if path.startswith("CNRY")} == {"work", "key"}


def test_private_folders_are_private(place: Place) -> None:
    folder = place.root / "cohort.private"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_cohort_is_its_owners_only(place: Place) -> None:
    paths = [place.root / "cohort", *(place.root / "cohort").rglob("*")]
    assert len(paths) > 10
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}


def test_the_store_holds_no_picture_no_user_and_no_folder(place: Place) -> None:
    artifacts = {path.name for path in (place.root / "mlruns").rglob("*") if path.is_file()}
    assert artifacts == {"config.json", "summary.json"}
    with sqlite3.connect(place.root / "mlflow.db") as store:
        names = [row[0] for row in store.execute("select name from runs")]
        tags = dict(store.execute("select key, value from tags"))
        users = {row[0] for row in store.execute("select user_id from runs")}
    assert len(names) >= 1
    assert all(re.fullmatch(r"ingest-20\d{6}T\d{6}\.\d{3}Z", name) for name in names)
    assert getpass.getuser() not in users
    assert "mlflow.user" not in tags


def test_nothing_in_exceptions(place: Place) -> None:
    said = []
    with BoundedReader() as reader:
        for path in sorted(place.source.rglob("*")):
            for read in (read_image, reader.read):
                try:
                    said.append(repr(read(path)))
                except Rejected as error:
                    chain: BaseException | None = error
                    while chain is not None:
                        said.append(f"{chain!s} {chain!r} {getattr(chain, '__notes__', '')}")
                        chain = chain.__cause__
                    hidden = error.__suppress_context__ or error.__context__ is None
                    said += [] if hidden else [repr(error.__context__)]
    assert len(said) > 50
    assert not leaks(place.canaries, "\n".join(said).encode())
