"""Evidence of where a model of discs looks, made by a real evaluation; and pictures of discs."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from medprior.cohort import Cohort
from medprior.evaluate.evaluate import evaluate_cohort
from medprior.evaluate.settings import EvaluateSettings

DISC_BOX = {"x": 0.3, "y": 0.4, "width": 0.4, "height": 0.4}


def evaluate_locations(cohort: Path, model: Path, folder: Path, with_boxes: bool = True) -> Path:
    """An evidence folder below `folder`, with or without boxes of the discs."""
    positive = Cohort.open(cohort).manifest.query("disc == 1").image_id
    table = pd.DataFrame({"image_id": positive, "label": "disc"}).assign(**DISC_BOX)
    table.to_csv(folder / "boxes.csv", index=False)
    settings = EvaluateSettings(resamples=50, probe=False, map_size=64, device="cpu")
    boxes = folder / "boxes.csv" if with_boxes else None
    evaluate_cohort(cohort, folder / "evidence", model=[str(model)], settings=settings, boxes=boxes)
    return folder / "evidence"


def save_disc_picture(cohort: Path, path: Path, row: int = 0, label: float = 1.0) -> Path:
    """A test image of the cohort with that label, as PNG."""
    test = Cohort.open(cohort).split("test")
    image_id = test.manifest.image_id[test.manifest.disc == label].iloc[row]
    Image.fromarray(np.rint(test.pixels(image_id) * 65535).astype(np.uint16)).save(path)
    return path
