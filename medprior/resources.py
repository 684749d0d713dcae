"""Finds the files that come with medprior beside its code: bundles, data set descriptors, the anatomy model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import medprior
from medprior.errors import InputMissing

ResourceName = Literal["bundles", "data_manifests"]
MODEL_VARIABLE = "MEDPRIOR_MODEL"
ANATOMY_MODEL = "chest_xray_segmentation/models/segmenter"  # below bundles
REINSTALL = "reinstall medprior"


def find_resource_folder(name: ResourceName) -> Path:
    """Find a folder that comes with medprior: inside an installed package, beside it in a checkout.

    Raises:
        InputMissing: this installation lacks it.
    """
    package = Path(medprior.__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise InputMissing("missing from this installation", where=str(package / name), fix=REINSTALL)


def find_anatomy_model() -> Path:
    """Find the model folder that is used where no model is named: lungs and heart.

    `MEDPRIOR_MODEL` names another folder.

    Raises:
        InputMissing: this installation lacks it, or `MEDPRIOR_MODEL` names no folder.
    """
    chosen = os.environ.get(MODEL_VARIABLE)
    if chosen:
        if not Path(chosen).is_dir():
            fix = f"correct or unset {MODEL_VARIABLE}"
            raise InputMissing("no such model folder", where=MODEL_VARIABLE, found=chosen, fix=fix)
        return Path(chosen)
    folder = find_resource_folder("bundles") / ANATOMY_MODEL
    if not folder.is_dir():
        fix = f"{REINSTALL}, or name another model with --model"
        raise InputMissing("the anatomy model is missing from this installation", where=str(folder), fix=fix)
    return folder
