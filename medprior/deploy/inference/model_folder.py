"""Checks and loads model folders, and names them by digest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import medprior
from medprior.errors import InputMissing, MedpriorError
from medprior.finetune.model import MODEL_WEIGHTS_FILE, Model, load_finetuned_model
from medprior.networks.backbone import check_weights_digest, load_weights
from medprior.provenance import read_config, sha256_file

MODEL_TASKS = ("classification", "segmentation")
ARTIFACT_NAMES = ("model", "segmenter")


def find_model_folders(artifacts: Path) -> dict[str, Path]:
    """Artifact name -> model folder, of those that a package's artifacts folder holds."""
    return {name: artifacts / name for name in ARTIFACT_NAMES if (artifacts / name).is_dir()}


def read_checked_config(folder: Path) -> dict[str, Any]:
    """Read the `config.json` of a model folder after checking its weights.

    The weights must be whole, finite, those of the recorded digest, and as large as the recorded
    architecture needs.

    Raises:
        InputMissing: the model is not finished, or its weights are damaged, replaced or not finite.
    """
    config = read_plausible_config(folder)
    load_weights(folder / MODEL_WEIGHTS_FILE, config["outputs"][MODEL_WEIGHTS_FILE])
    return config


def read_plausible_config(folder: Path) -> dict[str, Any]:
    """Read the `config.json` of a model folder; digest and size of the weights are checked, not their values.

    Raises:
        InputMissing: the model is not finished, or its weights are damaged, replaced or too small.
    """
    try:
        config = read_config(folder, "finetune")
    except (ValueError, AttributeError, RecursionError):
        raise InputMissing("config.json is broken", where=str(folder), fix="run `medprior finetune` again") from None
    outputs = config.get("outputs")
    digest = outputs.get(MODEL_WEIGHTS_FILE) if isinstance(outputs, dict) else None
    if config.get("task") not in MODEL_TASKS or not isinstance(digest, str):
        raise InputMissing(
            "config.json names no task or no digest of the weights",
            where=str(folder),
            expected=" or ".join(MODEL_TASKS),
            found=repr(config.get("task")),
            fix="run `medprior finetune` again",
        )
    weights = folder / MODEL_WEIGHTS_FILE
    check_weights_digest(weights, digest)
    if compute_min_weight_bytes(config) > weights.stat().st_size:
        raise InputMissing(
            "the recorded architecture is larger than the weights",
            where=str(folder),
            fix="run `medprior finetune` again",
        )
    return config


def compute_min_weight_bytes(config: dict[str, Any]) -> float:
    """Least size in bytes of the recorded architecture's weights, if all were 16 bit.

    Without this bound a forged `config.json` could make a small file allocate all memory. For a CNN
    it is 0: `load_finetuned_model` compares every shape before anything is allocated.
    """
    network = config.get("network")
    if isinstance(network, dict) and "architecture" in network:
        return 0.0
    try:
        network, settings = config["network"], config["settings"]
        width, ratio = float(network["width"]), float(network["mlp_ratio"])
        tokens = (float(network["image_size"]) / float(network["patch"])) ** 2
        blocks = float(network["depth"]) * (4 + 2 * ratio) * width**2
        pyramid = config["task"] == "segmentation" and settings["decoder"] != "linear"
        decoder = 9 * float(settings["channels"]) ** 2 if pyramid else 0.0
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return float("inf")
    return 2 * (blocks + tokens * width + decoder)


def compute_models_digest(folders: dict[str, Path]) -> str:
    """Hex sha256 that identifies the models: their settings, thresholds and weights."""
    digests = {name: sha256_file(folder / "config.json") for name, folder in folders.items()}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def load_checked_model(folder: Path, device: str = "cpu") -> Model:
    """Load a model folder onto `device` after the checks of `read_checked_config`.

    Raises:
        InputMissing: the folder is not whole, its `config.json` lacks an entry, or another version of
            medprior wrote it in a form that this one cannot read.
    """
    config = read_plausible_config(folder)
    try:
        return load_finetuned_model(folder, device)
    except MedpriorError as error:
        versions = config.get("versions")
        writer = versions.get("medprior") if isinstance(versions, dict) else None
        if writer in {None, medprior.__version__}:
            raise
        raise InputMissing(
            f"a model of another version of medprior, which this one cannot read ({error.what})",
            where=str(folder),
            expected=medprior.__version__,
            found=str(writer),
            fix="install that version, or run `medprior finetune` again",
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputMissing(
            f"config.json is not a model's ({type(error).__name__})",
            where=str(folder),
            fix="run `medprior finetune` again",
        ) from None
