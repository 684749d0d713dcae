"""The measurements of a GPU, tried on the CPU at their smallest; a machine with CUDA runs them there too."""

import json
import subprocess
import sys

import pytest

from medprior.bench import gpu
from medprior.bench.gpu_suite.trainers import Bench

ABSENT = (
    "mlflow", "timm", "SimpleITK", "pydicom", "highdicom", "skimage", "sklearn", "matplotlib", "pyarrow", "fastapi",
    "dask", "distributed", "requests", "gdcm", "openjpeg",
)  # fmt: skip
WITHOUT_THEM = """
import sys
sys.modules.update(dict.fromkeys({absent}))
from medprior.bench import gpu
raise SystemExit(gpu.main(["--device", "cpu", "--tiny", "--minutes", "0", "--out", sys.argv[1]]))
"""
PARTS = {
    "machine", "same numbers as the CPU", "SPAN beside DINO", "SPAN beside DINO, compiled", "trainer with its loader",
    "resume", "out of memory",
}  # fmt: skip


def test_every_part_runs_on_the_cpu(tmp_path, capsys):
    assert gpu.main(["--device", "cpu", "--tiny", "--out", str(tmp_path / "gpu.json")]) == 0
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert set(report) == PARTS
    assert report["machine"]["bf16 product, TFLOP/s"] > 0
    parity = report["same numbers as the CPU"]
    for recipe in ("dino", "span", "sar", "loca", "ibot", "span+life", "all"):
        assert parity[f"{recipe}, float32"] == {"loss": 0.0, "cosine": pytest.approx(1.0)}
        assert parity[f"{recipe}, bfloat16"]["loss"] > 0
        assert parity[f"{recipe}, bfloat16"]["cosine"] > 0.9
    speed = report["SPAN beside DINO"]
    ratio = speed["SPAN / DINO, batch 4"]
    assert ratio["least"] <= ratio["median"] <= ratio["greatest"]
    assert speed["dino, batch 4"]["images/s"] == pytest.approx(4000 / speed["dino, batch 4"]["ms"])
    assert 0 <= report["trainer with its loader"]["all"]["share of waiting for data"] < 1
    assert report["resume"]["largest difference"] == 0
    assert "CUDA" in report["SPAN beside DINO, compiled"]["skipped"]
    assert "GPU" in report["out of memory"]["skipped"]
    printed = capsys.readouterr().out
    assert "SPAN beside DINO | SPAN / DINO, batch 4 | median" in printed


def test_a_part_that_fails_is_recorded_and_the_next_one_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "compare_recipes_with_cpu", lambda bench: 1 / 0)
    for name in ("compare_with_dino", "measure_trainer"):
        monkeypatch.setattr(gpu, name, lambda *_, **__: {})
    out = tmp_path / "gpu.json"
    assert gpu.main(["--device", "cpu", "--tiny", "--out", str(out)]) == 1
    report = json.loads(out.read_text())
    assert report["same numbers as the CPU"]["failed"].startswith("ZeroDivisionError")
    assert report["resume"]["largest difference"] == 0


def test_parts_without_time_are_skipped(tmp_path):
    report = gpu.measure_parts(Bench(gpu.select_device("cpu"), tiny=True), 1.0, tmp_path / "gpu.json")
    assert {name: part.get("skipped") for name, part in report.items() if name != "machine"} == dict.fromkeys(
        PARTS - {"machine"}, "no time left"
    )


def test_neither_tracker_nor_readers_are_needed(tmp_path):
    """A GPU machine may have the wheels of torch, MONAI, ignite and pydantic alone: None is a module not installed."""
    code = WITHOUT_THEM.format(absent=ABSENT)
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "gpu.json")], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert "no time left" in (tmp_path / "gpu.json").read_text()


@pytest.mark.gpu
def test_every_part_runs_on_a_gpu(tmp_path):
    assert gpu.main(["--device", "cuda", "--tiny", "--out", str(tmp_path / "gpu.json")]) == 0
    report = json.loads((tmp_path / "gpu.json").read_text())
    for name, row in report["same numbers as the CPU"].items():
        if name.endswith("float32"):
            assert row["loss"] < 1e-3
            assert row["cosine"] > 0.999
    waits = report["trainer with its loader"]
    assert all(len(waits[recipe]["waits of the host in a step"]) <= 1 for recipe in ("dino", "span"))
    assert report["out of memory"]["parts"] > 1
    assert report["out of memory"]["finite"]
