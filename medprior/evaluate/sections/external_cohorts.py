"""Other cohorts, nothing trained on them: who in them is a stranger, and what a result keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.evaluate.inputs import NamedPath, list_entries, parse_named_paths
from medprior.evaluate.settings import EvaluateSettings
from medprior.metrics.auc import Floats
from medprior.metrics.bootstrap import Estimate, Resamples, average_estimates
from medprior.metrics.differences import Estimates


@dataclass(frozen=True)
class ExternalCohort:
    """One other cohort.

    Attributes:
        name: in keys and tables. cohort: all of it. part: the images of strangers.
        shared: images left out, since their patient or picture is in the home cohort too.
        draws: resamples of the patients of `part`, independent of those at home.
    """

    name: str
    cohort: Cohort
    part: Cohort
    shared: int
    draws: Resamples

    @property
    def prefix(self) -> str:
        """What its keys begin with."""
        return f"external.{self.name}"


def find_unseen_images(other: Cohort, home: Cohort) -> list[str]:
    """Ids of the images whose patient has no picture and no pseudonym in the home cohort.

    All splits of the home cohort count. Pictures are compared by the sha256 of their pixels.
    """
    table = other.manifest
    known = table.pixel_sha256.isin(home.manifest.pixel_sha256)
    known |= table.patient_id.isin(home.manifest.patient_id)
    met = set(table.patient_id[known])
    return table.image_id[~table.patient_id.isin(met)].tolist()


def open_external_cohorts(
    entries: NamedPath | Iterable[NamedPath] | None, home: Cohort, settings: EvaluateSettings
) -> tuple[ExternalCohort, ...]:
    """Open every cohort of `--external`.

    Raises:
        InputMissing: no cohort there, or no patient that is not in the home cohort too.
    """
    result = []
    for number, (name, path) in enumerate(parse_named_paths(list_entries(entries), "--external")):
        other = Cohort.open(Path(path))
        ids = find_unseen_images(other, home)
        if not ids:
            raise InputMissing(
                "every patient of this cohort is in the home cohort too",
                where=f"--external {name}",
                expected="a cohort of other patients",
            )
        part = other if len(ids) == len(other) else other.select(ids)
        draws = Resamples.draw(part.patient_ids, settings.resamples, settings.seed + 1 + number)
        result.append(ExternalCohort(name, other, part, len(other) - len(part), draws))
    return tuple(result)


def find_two_class_labels(home: Floats, away: Floats, labels: Sequence[str]) -> tuple[list[int], list[str]]:
    """Columns of labels with both classes on both sides, and what was left out, in words.

    Shape:
        home [n, C], away [m, C] in {0, 1, NaN}.
    """
    both = [
        all(len(np.unique(side[~np.isnan(side)])) == 2 for side in (home[:, c], away[:, c])) for c in range(len(labels))
    ]
    lost = [
        f"{label}: without both classes at home or away" for label, kept in zip(labels, both, strict=True) if not kept
    ]
    return [c for c, kept in enumerate(both) if kept], lost


def compare_external_to_home(away: ExternalCohort, there: Estimates, here: Estimates) -> Estimates:
    """`<prefix>.<key>` away, `<prefix>.home.<key>`, and `<prefix>.drop.<key>` = away - home.

    The patients differ, so the two sides are resampled independently.
    """
    result = {f"{away.prefix}.{key}": estimate for key, estimate in there.items()}
    for key, estimate in there.items():
        if key in here:
            result[f"{away.prefix}.home.{key}"] = here[key]
            result[f"{away.prefix}.drop.{key}"] = estimate - here[key]
    return result


def add_structure_mean(estimates: Estimates, lead: str, names: Sequence[str], n: int) -> Estimates:
    """`<lead>.<name>` of some names and their mean as `<lead>.mean`."""
    single = {f"{lead}.{name}": estimates[f"{lead}.{name}"] for name in names}
    single = {key: estimate for key, estimate in single.items() if estimate.n}
    if not single:
        return {}
    mean: Estimate = average_estimates(list(single.values()), n, structures=list(names))
    return single | {f"{lead}.mean": mean}
