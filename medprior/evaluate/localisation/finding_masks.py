"""True locations of findings: masks named like a label, or boxes rasterised to masks."""

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
        boxes: `image_id, label, x, y, width, height` on the unit square; see `boxes.load_finding_boxes`.
    """

    boxes: pd.DataFrame

    def find_located(self, cohort: Cohort, names: Iterable[str]) -> NDArray[np.bool_]:
        """Images that are positive for a finding and have a mask or box of it: bool [n, C]."""
        names = list(names)
        columns = []
        for name in names:
            has_location = cohort.manifest["image_id"].isin(self.boxes.image_id[self.boxes.label == name])
            if f"mask_{name}" in cohort.manifest:
                has_location |= cohort.manifest[f"mask_{name}"].notna()
            columns.append(has_location.to_numpy(dtype=bool))
        positive = cohort.labels(names) == 1
        return np.asarray(np.stack(columns, axis=1) & positive if columns else positive)

    def list_located_findings(self, cohort: Cohort, labels: Iterable[str]) -> list[str]:
        """Those of `labels` that at least one positive image has a mask or box of."""
        available = [label for label in labels if label in cohort.label_names]
        is_located = np.asarray(self.find_located(cohort, available).any(axis=0))
        return [label for label, located in zip(available, is_located, strict=True) if located]

    def select_located_images(self, cohort: Cohort, names: Iterable[str], limit: int, seed: int) -> Cohort | None:
        """The images with at least one located finding, at most `limit` of them; None without."""
        rows = np.flatnonzero(self.find_located(cohort, names).any(axis=1))
        if not len(rows):
            return None
        return cohort.select([cohort.image_ids[row] for row in rows]).take(limit, seed)

    def load_masks(self, cohort: Cohort, names: Iterable[str], size: int) -> FindingMasks:
        """Masks on unit squares: bool [n, C, size, size], empty where absent or not located.

        Where an image has both a mask and boxes of a finding, the mask is used.

        Raises:
            InputMissing: a stored mask and its image differ in size.
        """
        names = list(names)
        located = self.find_located(cohort, names)
        result = np.zeros((*located.shape, size, size), dtype=bool)
        for column, name in enumerate(names):
            check_mask_size(cohort, name)
            coverage, has_mask = cohort.mask_squares(name, size)
            # A small finding may cover no pixel by half; then the pixels with the largest share count.
            peak = coverage.max(axis=(1, 2), keepdims=True)
            result[:, column] = (coverage >= np.minimum(0.5, peak)) & (coverage > 0)
            finding_boxes = self.boxes[self.boxes.label == name]
            boxes_by_image = {key: rows[list(BOX_SIDES)].to_numpy() for key, rows in finding_boxes.groupby("image_id")}
            for row, image_id in enumerate(cohort.image_ids):
                if not has_mask[row] and image_id in boxes_by_image:
                    result[row, column] = rasterise_boxes(boxes_by_image[image_id], size)
        result[~located] = False
        return result
