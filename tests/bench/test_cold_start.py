"""The bench of a cold start runs the real command, and nothing heavy is imported by it."""

import subprocess
import sys

import pytest

from medprior.bench.cold_start import measure_cold_start
from medprior.bench.deploy_inputs import create_random_model
from medprior.deploy.inference.example import create_example_dicom

UNUSED_LIBRARIES = {
    "pandas", "sklearn", "pydicom", "monai", "mlflow", "matplotlib", "SimpleITK", "pyarrow", "timm", "skimage",
    "scipy.optimize", "scipy.stats", "torchvision", "highdicom", "fastapi",
}  # fmt: skip
LIST_IMPORTS = """
import sys
from medprior.cli import main
status = main(sys.argv[1:])
print(status, *sorted(sys.modules), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    network = {"width": 24, "depth": 2, "heads": 3, "patch": 16, "image_size": 64}
    return create_random_model(tmp_path_factory.mktemp("model") / "segmenter", "segmentation", network)


@pytest.fixture(scope="module")
def dicom(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "one.dcm"
    path.write_bytes(create_example_dicom(seed=4, side=256))
    return path


def test_prediction_imports_only_what_it_needs(model, dicom, tmp_path):
    command = [sys.executable, "-c", LIST_IMPORTS, "predict", str(dicom), "-o", str(tmp_path / "out")]
    completed = subprocess.run([*command, "--model", str(model)], capture_output=True, text=True, timeout=300)
    status, *modules = completed.stderr.splitlines()[-1].split()
    assert (status, "torch" in modules) == ("0", True)
    assert not UNUSED_LIBRARIES & set(modules)


def test_a_cold_start_is_measured_and_a_failure_told(model, dicom, tmp_path):
    times = measure_cold_start(dicom, model, repeats=1)
    assert times["processor"] > 0
    assert times["elapsed"] > 0
    with pytest.raises(RuntimeError, match="no such model"):
        measure_cold_start(dicom, tmp_path / "absent", repeats=1)
