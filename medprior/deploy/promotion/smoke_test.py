"""Smoke test: one prediction through a registered package, as a server would make it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from medprior.deploy.inference.model_folder import find_model_folders
from medprior.errors import MedpriorError


def run_smoke_prediction(package: Path) -> str:
    """Predict on the example radiograph with the pyfunc class of a fetched package.

    The installed class that MLflow serves loads the package's artifacts; code from a registry never
    runs.

    Args:
        package: the artifacts folder, `model/` and perhaps `segmenter/`.

    Returns:
        The number of findings and masks, in words.

    Raises:
        MedpriorError: the prediction is refused or not finite.
    """
    from mlflow.pyfunc import model as pyfunc_model

    from medprior.deploy.registry.pyfunc import RadiographModel
    from medprior.deploy.registry.register import build_input_example

    create_context: Any = pyfunc_model.PythonModelContext
    context = create_context({name: str(folder) for name, folder in find_model_folders(package).items()}, None)
    model = RadiographModel()
    model.load_context(context)
    with np.errstate(invalid="ignore"):  # rendering of non-finite values; they are refused below
        row = model.predict(context, build_input_example()).iloc[0].to_dict()
    try:
        json.dumps([row["findings"], row["cardiothoracic_ratio"]], allow_nan=False)
        finite = True
    except ValueError:
        finite = False
    if row["status"] != "ok" or not finite:
        raise MedpriorError(
            "the smoke prediction failed",
            where="the registered package",
            expected="a finite answer",
            found=str(row["code"]) if row["status"] != "ok" else "numbers that are not finite",
            fix="train it again; do not promote it",
        )
    return f"{len(row['findings'] or {})} findings, {len(row['masks'] or {})} masks"
