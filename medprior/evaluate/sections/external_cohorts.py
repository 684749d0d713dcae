"""External cohorts: selection of patients unknown at home, and home-against-away keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.evaluate.inputs import NamedPath, convert_entries_to_list, parse_named_paths
from medprior.evaluate.settings import EvaluateSettings
from medprior.metrics.auc import Floats
from medprior.metrics.bootstrap import Estimate, Resamples, average_estimates
from medprior.metrics.differences import Estimates


@dataclass(frozen=True)
class ExternalCohort:
    """One other cohort.

    Attributes:
        name: in keys and tables. cohort: all images. part: images of patients not known at home.
        shared: number of images left out: their patient or pixels are in the home cohort too.
        draws: resamples of the patients of `part`, independent of those at home.
    """

    name: str
    cohort: Cohort
    part: Cohort
    shared: int
    draws: Resamples

    @property
    def prefix(self) -> str:
        """Prefix of its keys."""
        return f"external.{self.name}"


def find_unseen_images(external: Cohort, home: Cohort) -> list[str]:
    """Ids of the images whose patient has no image and no pseudonym in the home cohort.

    All splits of the home cohort count. Images are compared by the sha256 of their pixels.
    """
    table = external.manifest
    is_shared = table.pixel_sha256.isin(home.manifest.pixel_sha256)
    is_shared |= table.patient_id.isin(home.manifest.patient_id)
    shared_patients = set(table.patient_id[is_shared])
    return table.image_id[~table.patient_id.isin(shared_patients)].tolist()


def open_external_cohorts(
    entries: NamedPath | Iterable[NamedPath] | None, home: Cohort, settings: EvaluateSettings
) -> tuple[ExternalCohort, ...]:
    """Open every cohort of `--external`.

    Raises:
        InputMissing: the cohort is missing, or all its patients are in the home cohort too.
    """
    result = []
    for number, (name, path) in enumerate(parse_named_paths(convert_entries_to_list(entries), "--external")):
        cohort = Cohort.open(Path(path))
        ids = find_unseen_images(cohort, home)
        if not ids:
            raise InputMissing(
                "every patient of this cohort is in the home cohort too",
                where=f"--external {name}",
                expected="a cohort of other patients",
            )
        unseen = cohort if len(ids) == len(cohort) else cohort.select(ids)
        draws = Resamples.draw(unseen.patient_ids, settings.resamples, settings.seed + 1 + number)
        result.append(ExternalCohort(name, cohort, unseen, len(cohort) - len(unseen), draws))
    return tuple(result)


def find_two_class_labels(home: Floats, away: Floats, labels: Sequence[str]) -> tuple[list[int], list[str]]:
    """Columns of labels with both classes on both sides, and the labels left out, in words.

    Shape:
        home [n, C], away [m, C] in {0, 1, NaN}.
    """
    columns = [
        column
        for column, values in enumerate(zip(home.T, away.T, strict=True))
        if all(len(np.unique(side[~np.isnan(side)])) == 2 for side in values)
    ]
    lacking = [label for column, label in enumerate(labels) if column not in columns]
    return columns, [f"{label}: without both classes at home or away" for label in lacking]


def compare_external_to_home(
    external: ExternalCohort, external_estimates: Estimates, home_estimates: Estimates
) -> Estimates:
    """`<prefix>.<key>` away, `<prefix>.home.<key>`, and `<prefix>.drop.<key>` = away - home.

    The patients differ, so both sides are resampled independently.
    """
    result = {f"{external.prefix}.{key}": estimate for key, estimate in external_estimates.items()}
    for key, estimate in external_estimates.items():
        if key in home_estimates:
            result[f"{external.prefix}.home.{key}"] = home_estimates[key]
            result[f"{external.prefix}.drop.{key}"] = estimate - home_estimates[key]
    return result


def select_structure_estimates(estimates: Estimates, prefix: str, names: Sequence[str], n: int) -> Estimates:
    """`<prefix>.<name>` of the given names, and their mean as `<prefix>.mean`."""
    selected = {f"{prefix}.{name}": estimates[f"{prefix}.{name}"] for name in names}
    selected = {key: estimate for key, estimate in selected.items() if estimate.n}
    if not selected:
        return {}
    mean: Estimate = average_estimates(list(selected.values()), n, structures=list(names))
    return selected | {f"{prefix}.mean": mean}
