"""A wheel, installed apart from the checkout, works from an empty folder."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medprior.bench.deploy_inputs import create_random_model
from medprior.deploy.inference.example import create_example_dicom
from medprior.resources import ANATOMY_MODEL

CHECKOUT = Path(__file__).parents[1]
BUILD_INPUTS = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "medprior", "bundles", "data_manifests")
TINY_NETWORK = {"width": 24, "depth": 2, "heads": 3, "patch": 16, "image_size": 64}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder into which the wheel of a copy of the checkout is installed."""
    root = tmp_path_factory.mktemp("wheel")
    tree = root / "tree"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in BUILD_INPUTS:
        source = CHECKOUT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        tree.mkdir(exist_ok=True)
        copy(source, tree / name, **({"ignore": ignored} if source.is_dir() else {}))
    if not (tree / "bundles" / ANATOMY_MODEL).is_dir():  # a checkout without weights gets a model that knows nothing
        create_random_model(tree / "bundles" / ANATOMY_MODEL, "segmentation", TINY_NETWORK)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", root, tree], check=True, timeout=300
    )
    (wheel,) = root.glob("medprior-*.whl")
    assert wheel.stat().st_size < 30e6
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", root / "site", wheel], check=True, timeout=300)
    return root / "site"


@pytest.fixture
def run_installed(site, tmp_path):
    """Run the installed package with arguments of `python`, in an empty folder; returns its output."""
    folder = tmp_path / "empty"
    folder.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MEDPRIOR", "MLFLOW", "PYTHON"))}

    def run(*arguments, status=0):
        completed = subprocess.run(
            [sys.executable, *map(str, arguments)], cwd=folder, env=kept | {"PYTHONPATH": str(site)},
            capture_output=True, text=True, timeout=500,
        )  # fmt: skip
        assert completed.returncode == status, completed.stderr
        return completed.stdout + completed.stderr

    return run


@pytest.fixture(scope="module")
def radiograph(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "chest.dcm"
    path.write_bytes(create_example_dicom(seed=4, side=256))
    return path


def test_the_code_that_runs_is_the_installed_one(run_installed, site):
    shown = run_installed("-c", "import medprior; print(medprior.__file__)")
    assert Path(shown.strip()) == site / "medprior/__init__.py"


def test_the_wheel_adds_one_top_level_package(site):
    names = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")} - {"bin"}
    assert names == {"medprior"}


def test_every_file_of_bundles_and_descriptors_is_installed(site):
    for name in ("bundles", "data_manifests"):
        files = {path.relative_to(CHECKOUT) for path in (CHECKOUT / name).rglob("*") if path.is_file()}
        missing = {
            file for file in files if "__pycache__" not in file.parts and not (site / "medprior" / file).is_file()
        }
        assert not missing


def test_the_doctor_names_what_is_installed(run_installed, site):
    shown = run_installed("-m", "medprior", "doctor")
    assert str(site / "medprior/bundles" / ANATOMY_MODEL) in shown
    assert str(site / "medprior/data_manifests") in shown


def test_one_command_reads_a_radiograph(run_installed, radiograph, tmp_path):
    assert "1 read, 0 rejected" in run_installed("-m", "medprior", "predict", radiograph, "-o", tmp_path / "out")
    written = sorted(path.name.split("_", 2)[-1] for path in (tmp_path / "out").glob("*.png"))
    assert written == ["heart.png", "left_lung.png", "overlay.png", "right_lung.png"]


def test_a_data_set_is_ingested_and_a_bundle_run(run_installed, site, tmp_path):
    run_installed("-m", "medprior", "phantom", tmp_path / "p", "--patients", 3, "--size", 128, "--no-tracking")
    command = ("-m", "medprior", "ingest", tmp_path / "p", tmp_path / "c", "--dataset", "phantom", "--no-tracking")
    run_installed(*command)
    assert (tmp_path / "c/manifest.parquet").is_file()
    config = site / "medprior/bundles/chest_xray_segmentation/configs/inference.json"
    run_installed(
        "-m",
        "monai.bundle",
        "run",
        "--config_file",
        config,
        "--dataset_dir",
        tmp_path / "p/dicom",
        "--out",
        tmp_path / "o",
    )
    assert list((tmp_path / "o").glob("*_heart.png"))


def test_damage_of_the_installed_model_is_one_line(run_installed, site, radiograph, tmp_path):
    model = site / "medprior/bundles" / ANATOMY_MODEL
    weights = model / "model.safetensors"
    whole = weights.read_bytes()
    command = ("-m", "medprior", "predict", radiograph, "-o", tmp_path / "out")
    try:
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        damaged = run_installed(*command, status=2)
        weights.unlink()
        without = run_installed(*command, status=2)
        model.rename(model.with_name("elsewhere"))
        missing = run_installed(*command, status=2)
        model.with_name("elsewhere").rename(model)
    finally:
        weights.write_bytes(whole)
    for line, words in ((damaged, "digest"), (without, "weights are missing"), (missing, "missing from this install")):
        assert words in line
        assert "reinstall medprior, or name another model with --model" in line
        assert line.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_two_commands_lead_from_the_wheel_to_the_first_contours(run_installed, site, tmp_path):
    """On the real radiograph that ships; prints the seconds of both (`pytest -s`) beside the download of packages."""
    (wheel,) = site.parent.glob("medprior-*.whl")
    radiograph = site / "medprior" / "bundles" / "chest_xray_segmentation" / "docs" / "example.png"
    start = time.perf_counter()
    run_installed("-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "fresh", wheel)
    installed = time.perf_counter()
    shown = run_installed("-m", "medprior", "predict", radiograph, "-o", tmp_path / "out")
    predicted = time.perf_counter()
    print(f"\nfirst contours: install {installed - start:.1f} s, predict {predicted - installed:.1f} s")
    assert "1 read, 0 rejected" in shown
    assert len(list((tmp_path / "out").glob("*_overlay.png"))) == 1
