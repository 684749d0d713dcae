"""Where findings truly are: masks named like a label, or boxes, of the images that have them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.evaluate.localisation.boxes import rasterise_boxes
from medprior.evaluate.localisation.targets import check_mask_size
from medprior.ingest.boxes import BOX_SIDES

FindingMasks = NDArray[np.bool_]


@dataclass(frozen=True)
class FindingTruth:
    """Masks and boxes of findings.

    Attributes:
        boxes: `image_id, label, x, y, width, height` on the unit square; see `boxes.boxes_of`.
    """

    boxes: pd.DataFrame

    def located(self, cohort: Cohort, names: Iterable[str]) -> NDArray[np.bool_]:
        """Which images are positive for which finding and say where: bool [n, C]."""
        names = list(names)
        columns = []
        for name in names:
            where = cohort.manifest["image_id"].isin(self.boxes.image_id[self.boxes.label == name])
            if f"mask_{name}" in cohort.manifest:
                where |= cohort.manifest[f"mask_{name}"].notna()
            columns.append(where.to_numpy(dtype=bool))
        positive = cohort.labels(names) == 1
        return np.asarray(np.stack(columns, axis=1) & positive if columns else positive)

    def findings(self, cohort: Cohort, labels: Iterable[str]) -> list[str]:
        """Those of `labels` that at least one image has and says where."""
        known = [label for label in labels if label in cohort.label_names]
        there = np.asarray(self.located(cohort, known).any(axis=0))
        return [label for label, some in zip(known, there, strict=True) if some]

    def part(self, cohort: Cohort, names: Iterable[str], most: int, seed: int) -> Cohort | None:
        """The images with at least one located finding, at most `most` of them; None without."""
        rows = np.flatnonzero(self.located(cohort, names).any(axis=1))
        if not len(rows):
            return None
        return cohort.select([cohort.image_ids[row] for row in rows]).take(most, seed)

    def masks(self, cohort: Cohort, names: Iterable[str], size: int) -> FindingMasks:
        """Truth on unit squares: bool [n, C, size, size], empty where absent or not located.

        Where an image has a mask and boxes of one finding, the mask counts.

        Raises:
            InputMissing: a stored mask does not lie on the grid of its picture.
        """
        names = list(names)
        there = self.located(cohort, names)
        result = np.zeros((*there.shape, size, size), dtype=bool)
        for column, name in enumerate(names):
            check_mask_size(cohort, name)
            coverage, known = cohort.mask_squares(name, size)
            # A small finding may cover no pixel by half; then the pixels it touches most count.
            most = coverage.max(axis=(1, 2), keepdims=True)
            result[:, column] = (coverage >= np.minimum(0.5, most)) & (coverage > 0)
            own = self.boxes[self.boxes.label == name]
            boxes = {key: rows[list(BOX_SIDES)].to_numpy() for key, rows in own.groupby("image_id")}
            for row, image_id in enumerate(cohort.image_ids):
                if not known[row] and image_id in boxes:
                    result[row, column] = rasterise_boxes(boxes[image_id], size)
        result[~there] = False
        return result
