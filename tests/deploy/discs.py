"""A cohort whose one finding, a brighter disc, a tiny network learns in seconds; and its models."""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from medprior.cohort import CohortWriter
from medprior.provenance import sha256_file
from tests.deploy.tiny_models import train


def disc_cohort(path: Path, patients: int = 200, first: int = 0, size: int = 64) -> Path:
    """One picture per patient; fixed shares 40 / 20 / 40."""
    y, x = np.mgrid[:size, :size] / size
    disc = (y - 0.6) ** 2 + (x - 0.5) ** 2 < 0.2**2
    with CohortWriter(path, store_size=size) as writer:
        for seed in range(first, first + patients):
            rng = np.random.default_rng(seed)
            there = float(rng.random() < 0.5)
            noise = 0.3 + 0.1 * rng.random() + 0.05 * rng.standard_normal((size, size))
            pixels = noise + disc * (0.12 * there + 0.12 * rng.random())
            writer.add(
                image_id=f"i{seed:04d}",
                pixels=np.clip(pixels, 0, 1).astype(np.float32),
                patient_id=f"q{seed:04d}",
                labels={"disc": there},
                masks={"heart": disc},
                dataset="discs",
                view="PA",
                sex="F",
                age=50.0,
            )
        writer.finish(fractions=(0.4, 0.2, 0.4), seed=1)
    return path


def good_model(cohort: Path, out: Path) -> Path:
    """Tells most discs apart: mAUC about 0.97."""
    return train(cohort, out, "classification", epochs=12, lr=3e-3)


def weak_model(cohort: Path, out: Path, **changes) -> Path:
    """Little better than chance."""
    return train(cohort, out, "classification", **({"epochs": 1, "lr": 1e-5} | changes))


def segmenter_model(cohort: Path, out: Path, epochs: int) -> Path:
    return train(cohort, out, "segmentation", epochs=epochs, lr=3e-3)


def changed(model: Path, out: Path, scale: float = 1.0, sharpen: float = 1.0) -> Path:
    """A copy whose weights are `scale` times as large, or whose probabilities are sharpened."""
    shutil.copytree(model, out, ignore=shutil.ignore_patterns("checkpoints"))
    config = json.loads((out / "config.json").read_text())
    path = out / "model.safetensors"
    save_file({k: np.asarray(v * scale, v.dtype) for k, v in load_file(path).items()}, path)
    config["outputs"]["model.safetensors"] = sha256_file(path)
    temperature = config["calibration"]["temperature"]
    config["calibration"]["temperature"] = {k: v / sharpen for k, v in temperature.items()}
    (out / "config.json").write_text(json.dumps(config))
    return out
