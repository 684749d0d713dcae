"""Where is the finding: every map of every classifier against masks or boxes of findings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from medprior.cohort import Cohort
from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.localisation.boxes import load_finding_boxes
from medprior.evaluate.localisation.finding_maps import FixedMap, ModelMaps, OrganMaps, list_map_kinds
from medprior.evaluate.localisation.finding_masks import FindingMasks, FindingTruth
from medprior.evaluate.localisation.finding_scores import FindingScores, estimate_finding_scores, localise_findings
from medprior.evaluate.localisation.map_sources import PriorSource
from medprior.evaluate.localisation.scoring import MapSource
from medprior.evaluate.study import EvaluationStudy, Section
from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import Resamples
from medprior.metrics.differences import Estimates, add_baseline_differences

if TYPE_CHECKING:
    from medprior.finetune.model import Model

LOCALISATION_PREFIX = "localisation"
FIXED_MAP_KINDS = ("uniform", "centre")


class FindingScorer:
    """What all maps of one evaluation are judged on.

    Attributes:
        part, selection: images with a located finding, judged and to choose on.
        findings: label -> the finding judged. draws: resamples of the patients of `part`.
    """

    def __init__(self, study: EvaluationStudy, labels: Sequence[str]) -> None:
        settings = study.settings
        boxes = study.boxes if study.boxes is not None else load_finding_boxes(study.cohort)
        self.truth, self.settings = FindingTruth(boxes), settings
        self.findings = self.truth.findings(study.part, labels)
        most, seed = settings.finding_images, settings.seed
        self.part = self.truth.part(study.part, self.findings, most, seed)
        self.selection = None
        if study.selection is not None:
            few = settings.selection_images
            self.selection = self.truth.part(study.selection, self.findings, few, seed)
        self.draws = None
        if self.part is not None:
            self.draws = Resamples.draw(self.part.patient_ids, settings.resamples, seed)

    def masks(self, names: Sequence[str], cohort: Cohort) -> FindingMasks:
        """Truth of some findings."""
        return self.truth.masks(cohort, names, self.settings.map_size)

    def __call__(self, source: MapSource, names: Sequence[str]) -> dict[str, FindingScores]:
        """Scores of one source."""
        assert self.part is not None
        tolerance = self.settings.pointing_tolerance
        truth = partial(self.masks, names)
        return localise_findings(source, names, self.part, self.selection, truth, tolerance)

    def estimates(self, found: dict[str, FindingScores], kind: str) -> Estimates:
        """`localisation.<kind>.*`."""
        assert self.draws is not None
        tolerance = self.settings.pointing_tolerance
        return estimate_finding_scores(found, self.draws, f"{LOCALISATION_PREFIX}.{kind}", tolerance)


def evaluate_localisation(study: EvaluationStudy, inputs: Inputs, models: Sequence[NamedInput[Model]]) -> Section:
    """`localisation.<map>.<metric>.<finding>` of the first model, the others as baselines.

    The maps that see no model (`uniform`, `centre`, `prior`) are predictors to beat: differences
    from them stand under `difference.<map>.localisation.*`.
    """
    labels = list(dict.fromkeys(label for named in models for label in named.item.labels))
    hunt = FindingScorer(study, labels)
    section = Section(extra={"hunt": hunt, "found": {}})
    if hunt.part is None:
        text = "no positive image of this split has a mask or box of a finding"
        section.skipped.append(f"{LOCALISATION_PREFIX}: {text}")
        return section
    blind = estimate_blind_maps(study, inputs, hunt)
    groups: dict[str, Estimates] = {}
    for number, named in enumerate(models):
        known = [name for name in hunt.findings if name in named.item.labels]
        kinds, why = list_map_kinds(named.item)
        section.skipped += [f"{LOCALISATION_PREFIX} {named.name}: {why}"] if why else []
        groups[named.name] = {}
        for kind in kinds if known else ():
            source = ModelMaps(named.item, kind, known)
            found = hunt(source, known)
            section.extra["found"][named.name, kind] = (source, found)
            groups[named.name] |= hunt.estimates(found, kind)
            if number == 0:
                section.columns |= build_finding_columns(study, hunt, found, kind)
    section.estimates = merge_finding_estimates(groups, blind)
    if hunt.selection is None:
        text = "no validation image has a mask or box: heads are averaged, maps cut at half"
        section.skipped.append(f"{LOCALISATION_PREFIX}: {text}")
    return section


def estimate_blind_maps(study: EvaluationStudy, inputs: Inputs, hunt: FindingScorer) -> dict[str, Estimates]:
    """Name -> estimates of every map that is the same whatever the model."""
    sources: dict[str, MapSource] = {kind: FixedMap(kind, hunt.findings) for kind in FIXED_MAP_KINDS}
    for number, prior in enumerate(inputs.priors):
        own = PriorSource(prior.item, prior.item.per_image is not None, study.settings.batch)
        sources["prior" if number == 0 else f"prior_{prior.name}"] = OrganMaps(own)
    return {kind: hunt.estimates(hunt(source, hunt.findings), kind) for kind, source in sources.items()}


def merge_finding_estimates(groups: dict[str, Estimates], blind: dict[str, Estimates]) -> Estimates:
    """The primary model's keys, its baselines, and differences from models and from blind maps."""
    names = list(groups)
    result = add_baseline_differences(groups[names[0]], {name: groups[name] for name in names[1:]})
    for kind, estimates in blind.items():
        result |= estimates
        for key, own in groups[names[0]].items():
            rest = key.split(".", 2)[2]
            other = estimates.get(f"{LOCALISATION_PREFIX}.{kind}.{rest}")
            if other is not None:
                result[f"difference.{kind}.{key}"] = own - other
    return result


def build_finding_columns(
    study: EvaluationStudy, hunt: FindingScorer, found: dict[str, FindingScores], kind: str
) -> dict[str, Array]:
    """Scores per image as `localisation_<map>_<pointing|energy>_<finding>`, NaN: not judged."""
    assert hunt.part is not None
    at = {image_id: row for row, image_id in enumerate(study.part.image_ids)}
    rows = [at[image_id] for image_id in hunt.part.image_ids]
    result = {}
    for name, one in found.items():
        for metric in ("pointing", "energy"):
            values = np.full(len(study.part), np.nan)
            values[rows] = one.scores[metric]
            result[f"{LOCALISATION_PREFIX}_{kind}_{metric}_{name}"] = values
    return result
