"""Data of one evaluation: the images of its splits, the resamples, and the result of a section."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from medprior.cohort import Cohort
from medprior.evaluate.inputs import select_evaluation_split, select_split_images, select_tuning_split
from medprior.evaluate.settings import EvaluateSettings
from medprior.metrics.bootstrap import Estimate, Resamples, average_estimates
from medprior.metrics.differences import Estimates, add_baseline_differences


@dataclass(frozen=True)
class EvaluationStudy:
    """Data and settings of one evaluation.

    Attributes:
        cohort: all images; part: those evaluated; selection: those that heads and thresholds are
            chosen on, if any.
        split: name of the evaluated split.
        draws: resamples of the patients of `part`, shared by every metric.
        excluded: images left out because a prior was built from them.
        annotated: images with masks that priors were built from; None without.
        boxes: of findings, from `boxes.load_finding_boxes`; None: those of the cohort alone.
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
        """Select the images and draw the resamples; errors as `inputs.select_evaluation_split`."""
        part = select_evaluation_split(cohort, split, excluded)
        selection = select_tuning_split(cohort, split, excluded)
        draws = Resamples.draw(part.patient_ids, settings.resamples, settings.seed)
        excluded_ids = excluded & set(select_split_images(cohort, split).image_ids)
        annotated_ids = [image_id for image_id in cohort.image_ids if image_id in excluded]
        annotated = cohort.select(annotated_ids) if annotated_ids and cohort.structures else None
        return cls(cohort, part, selection, split, draws, settings, excluded_ids, annotated)

    def summarise_data(self) -> Estimates:
        """Images and patients per split, views, sexes and median age, under `data.*`."""
        table, result = self.cohort.manifest, {}
        for name in ("train", "val", "test"):
            rows = table[table.split == name]
            result[f"data.images.{name}"] = exact_estimate(len(rows), len(rows))
            result[f"data.patients.{name}"] = exact_estimate(rows.patient_id.nunique(), len(rows))
        result["data.images.evaluated"] = exact_estimate(len(self.part), len(self.part))
        for column in ("view", "sex"):
            values = self.part.manifest[column].fillna("unknown").replace("", "unknown")
            for value, count in values.value_counts().items():
                result[f"data.{column}.{value}"] = exact_estimate(count, len(self.part))
        age = self.part.manifest["age"].dropna()
        if len(age):
            result["data.age.median"] = exact_estimate(age.median(), len(age))
        patients = len(set(self.part.patient_ids.tolist()))
        result["data.patients.evaluated"] = exact_estimate(patients, len(self.part))
        return result


@dataclass
class Section:
    """Results of one part of an evaluation.

    Attributes:
        estimates: key -> estimate, differences included.
        columns: columns of `predictions.parquet`, [n] each.
        skipped: what could not be measured, with the reason, in words.
        extra: data for the figures of this section.
    """

    estimates: Estimates = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def add_source_estimates(self, groups: Mapping[str, Estimates]) -> None:
        """Add the estimates of each source: the first as primary, the others as its baselines."""
        if groups:
            first, *others = groups
            self.estimates |= add_baseline_differences(groups[first], {name: groups[name] for name in others})


def add_structure_means(estimates: Estimates, prefixes: Iterable[str]) -> None:
    """Add `<prefix>.mean` over the estimates `<prefix>.<structure>` of each prefix that has any."""
    for prefix in prefixes:
        parts = {key: estimate for key, estimate in estimates.items() if key.startswith(f"{prefix}.")}
        if parts:
            names = [key.rpartition(".")[2] for key in parts]
            n = max(estimate.n for estimate in parts.values())
            estimates[f"{prefix}.mean"] = average_estimates(list(parts.values()), n, structures=names)


def exact_estimate(value: float, n: int, **facts: Any) -> Estimate:
    """A number without sampling error."""
    return Estimate(float(value), np.zeros(0), n, facts)
