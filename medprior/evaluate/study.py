"""What one evaluation rests on: the images judged, those to choose on, and the resamples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from medprior.cohort import Cohort
from medprior.evaluate.inputs import select_evaluation_split, select_split_images, select_tuning_split
from medprior.evaluate.settings import EvaluateSettings
from medprior.metrics.bootstrap import Estimate, Resamples
from medprior.metrics.differences import Estimates


@dataclass(frozen=True)
class EvaluationStudy:
    """The frame of one evaluation.

    Attributes:
        cohort: all images; part: those judged; selection: those to choose on, if any.
        split: name of the split judged.
        draws: resamples of the patients of `part`, shared by every metric.
        excluded: images left out because a prior was made from them.
        annotated: the images priors were drawn on that have masks; None without.
        boxes: of findings, as of `boxes.boxes_of`; None: those of the cohort alone.
    """

    cohort: Cohort
    part: Cohort
    selection: Cohort | None
    split: str
    draws: Resamples
    settings: EvaluateSettings
    excluded: frozenset[str]
    annotated: Cohort | None = None
    boxes: pd.DataFrame | None = None

    @classmethod
    def of(cls, cohort: Cohort, split: str, excluded: frozenset[str], settings: EvaluateSettings) -> EvaluationStudy:
        """Choose the images and draw the resamples; errors as `inputs.chosen_split`."""
        part = select_evaluation_split(cohort, split, excluded)
        selection = select_tuning_split(cohort, split, excluded)
        draws = Resamples.draw(part.patient_ids, settings.resamples, settings.seed)
        left_out = excluded & set(select_split_images(cohort, split).image_ids)
        drawn = [image_id for image_id in cohort.image_ids if image_id in excluded]
        annotated = cohort.select(drawn) if drawn and cohort.structures else None
        return cls(cohort, part, selection, split, draws, settings, left_out, annotated)

    def facts(self) -> Estimates:
        """Images and patients per split, as plain numbers under `data.*`."""
        table, result = self.cohort.manifest, {}
        for name in ("train", "val", "test"):
            rows = table[table.split == name]
            result[f"data.images.{name}"] = exact_estimate(len(rows), len(rows))
            result[f"data.patients.{name}"] = exact_estimate(rows.patient_id.nunique(), len(rows))
        result["data.images.evaluated"] = exact_estimate(len(self.part), len(self.part))
        for column in ("view", "sex"):
            values = self.part.manifest[column].fillna("unknown").replace("", "unknown")
            for value, number in values.value_counts().items():
                result[f"data.{column}.{value}"] = exact_estimate(number, len(self.part))
        age = self.part.manifest["age"].dropna()
        if len(age):
            result["data.age.median"] = exact_estimate(age.median(), len(age))
        patients = len(set(self.part.patient_ids.tolist()))
        result["data.patients.evaluated"] = exact_estimate(patients, len(self.part))
        return result


@dataclass
class Section:
    """What one part of an evaluation found.

    Attributes:
        estimates: key -> estimate, comparisons included.
        columns: columns of `predictions.parquet`, [n] each.
        skipped: what could not be measured, and why, in words.
        extra: whatever the figures of this section need.
    """

    estimates: Estimates = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


def exact_estimate(value: float, n: int, **facts: Any) -> Estimate:
    """A number without sampling error."""
    return Estimate(float(value), np.zeros(0), n, facts)
