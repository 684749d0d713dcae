"""A parser of mask files that an attacker has taken over, and files that crash or exhaust it."""

import gzip
import os
import socket
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from medprior.annotate.confined_masks import ConfinedMaskReader, restore_masks
from medprior.annotate.picture_grids import PictureGrids
from medprior.annotate.sources import read_dicom_masks
from medprior.dicom import read_image
from medprior.errors import MedpriorError
from medprior.workers.sandbox import ProcessLimits
from tests.annotate.drawings import SHAPE, affine, masks, picture_at
from tests.workers.test_confinement import needs_landlock, needs_seccomp

REPOSITORY = Path(__file__).parents[2]
# Stands for a parser that runs an attacker's code: it tries, and says in its error what came of it.
COMPROMISED_PARSER = """
import os, signal, socket
from pathlib import Path


class ProcessObject:
    SetGlobalWarningDisplay = staticmethod(lambda shown: None)


def attempt(name, attack):
    try:
        return f"{name} {attack()}"
    except OSError as error:
        return f"{name} refused"


class ImageFileReader:
    def SetImageIO(self, name): pass
    def SetFileName(self, name): pass
    def ReadImageInformation(self):
        from medprior.errors import MedpriorError
        results = [
            attempt("key", Path(KEY).read_text),
            attempt("writing", lambda: Path(KEY).with_name("planted").write_text("x")),
            attempt("connection", lambda: socket.create_connection(("127.0.0.1", PORT), timeout=5)),
            attempt("child", os.fork),
            attempt("secret", lambda: dict(os.environ).get("HOSPITAL_SECRET", "refused")),
            attempt("killing", lambda: os.kill(os.getppid(), signal.SIGKILL)),
        ]
        raise MedpriorError("; ".join(results))
"""


def volume_at(path):
    data = masks()["left_lung"].astype(np.uint8).T[..., None]
    nibabel.save(nibabel.Nifti1Image(data, affine(1, 1)), path)
    return path


def run_annotate(folder, planted, **variables):
    """`medprior annotate` with the modules of a folder before all others."""
    command = [
        sys.executable, "-m", "medprior", "annotate", folder / "out", "--image", picture_at(folder / "chest.png"),
        "--annotations", volume_at(folder / "lung.nii"), "--no-tracking",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": f"{planted}:{REPOSITORY}"} | variables
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)


@needs_landlock
@needs_seccomp
def test_a_compromised_parser_reads_no_key_opens_no_socket_and_leaves_no_child(tmp_path):
    key = tmp_path / "identity.key"
    key.write_text("the key")
    key.chmod(0o600)
    (tmp_path / "planted").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        values = f"KEY, PORT = {str(key)!r}, {server.getsockname()[1]}\n"
        (tmp_path / "planted" / "SimpleITK.py").write_text(values + COMPROMISED_PARSER)
        result = run_annotate(tmp_path, tmp_path / "planted", HOSPITAL_SECRET="stolen")
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    assert result.returncode == 2
    names = ("key", "writing", "connection", "child", "secret", "killing")
    assert "; ".join(f"{name} refused" for name in names) in result.stderr


def test_a_parser_that_crashes_is_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "SimpleITK.py").write_text("import os\ndef __getattr__(name): os.abort()\n")
    result = run_annotate(tmp_path, tmp_path / "planted")
    assert result.returncode == 2
    assert "--annotations: the file cannot be read (worker_died)" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def reader(tmp_path):
    radiograph = read_image(picture_at(tmp_path / "chest.png"))
    limits = ProcessLimits(memory_mb=600, cpu_seconds=2.0, wall_seconds=30.0)
    with ConfinedMaskReader(
        PictureGrids.from_file(radiograph), "chest.png", radiograph, read_dicom_masks, limits=limits
    ) as reader:
        yield reader


def test_one_process_reads_file_after_file_and_leaves_nothing(reader, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(masks()["left_lung"].astype(np.uint8)), tmp_path / "lung.nrrd")
    Image.fromarray(masks()["left_lung"].astype(np.uint8)).save(tmp_path / "lung.png")
    paths = (
        volume_at(tmp_path / "a.nii.gz"),
        tmp_path / "lung.nrrd",
        tmp_path / "lung.png",
        volume_at(tmp_path / "b.nii"),
    )
    pids = set()
    for path in paths:
        (mask,) = reader.read_file(path, "--annotations").masks.values()
        assert int(mask.sum()) == int(masks()["left_lung"].sum())
        pids.add(reader._process.pid)
    assert len(pids) == 1
    reader.close()
    assert not list((tmp_path / "temporary").glob("medprior-*"))
    with pytest.raises(ProcessLookupError):
        os.kill(pids.pop(), 0)


def test_an_inflated_volume_is_refused_and_the_reader_goes_on(reader, tmp_path):
    """1 MB that inflate to 1 GiB exceed the memory of the process; the next file is read."""
    header = nibabel.load(volume_at(tmp_path / "lung.nii")).header.binaryblock
    with gzip.open(tmp_path / "bomb.nii.gz", "wb", compresslevel=1) as file:
        file.write(header)
        for _ in range(64):
            file.write(bytes(2**24))
    with pytest.raises(MedpriorError, match=r"more memory|timeout|worker_died"):
        reader.read_file(tmp_path / "bomb.nii.gz", "--annotations")
    assert reader.read_file(tmp_path / "lung.nii", "--annotations").masks["1"].shape == SHAPE


@pytest.mark.parametrize(
    ("answer", "arrays"),
    [
        ({"names": ["heart"], "warnings": []}, [np.zeros((4, 4), np.float32)]),
        ({"names": ["heart"], "warnings": []}, [np.zeros(4, bool)]),
        ({"names": ["heart", "lung"], "warnings": []}, [np.zeros((4, 4), bool)]),
        ({"names": [1], "warnings": []}, [np.zeros((4, 4), bool)]),
        ({"names": [], "warnings": "text"}, []),
        ({}, []),
    ],
)
def test_an_answer_that_is_none_is_refused(answer, arrays):
    with pytest.raises(MedpriorError, match="the process that read the file"):
        restore_masks(answer, arrays, "--annotations")
