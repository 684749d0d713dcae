"""Localisation of findings: the maps of every classifier against masks or boxes of findings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from medprior.cohort import Cohort
from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.localisation.boxes import load_finding_boxes
from medprior.evaluate.localisation.finding_maps import (
    ClassifierMapSource,
    ConstantMapSource,
    OrganPriorSource,
    list_map_kinds,
)
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
    """Scores map sources against the located findings of one evaluation.

    Attributes:
        part, selection: images with a located finding, to evaluate and to choose on; None without.
        findings: labels that are scored. draws: resamples of the patients of `part`.
    """

    def __init__(self, study: EvaluationStudy, labels: Sequence[str]) -> None:
        settings = study.settings
        boxes = study.boxes if study.boxes is not None else load_finding_boxes(study.cohort)
        self.truth, self.settings = FindingTruth(boxes), settings
        self.findings = self.truth.list_located_findings(study.part, labels)
        limit, seed = settings.finding_images, settings.seed
        self.part = self.truth.select_located_images(study.part, self.findings, limit, seed)
        self.selection = None
        if study.selection is not None:
            selection_limit = settings.selection_images
            self.selection = self.truth.select_located_images(study.selection, self.findings, selection_limit, seed)
        self.draws = None
        if self.part is not None:
            self.draws = Resamples.draw(self.part.patient_ids, settings.resamples, seed)

    def load_masks(self, names: Sequence[str], cohort: Cohort) -> FindingMasks:
        """True masks of the findings `names`."""
        return self.truth.load_masks(cohort, names, self.settings.map_size)

    def score(self, source: MapSource, names: Sequence[str]) -> dict[str, FindingScores]:
        """Scores of one source for the findings `names`."""
        assert self.part is not None
        tolerance = self.settings.pointing_tolerance
        truth = partial(self.load_masks, names)
        return localise_findings(source, names, self.part, self.selection, truth, tolerance)

    def estimate(self, scores: dict[str, FindingScores], kind: str) -> Estimates:
        """Estimates `localisation.<kind>.*` from the scores of one map."""
        assert self.draws is not None
        tolerance = self.settings.pointing_tolerance
        return estimate_finding_scores(scores, self.draws, f"{LOCALISATION_PREFIX}.{kind}", tolerance)


def evaluate_localisation(study: EvaluationStudy, inputs: Inputs, models: Sequence[NamedInput[Model]]) -> Section:
    """`localisation.<map>.<metric>.<finding>` of the first model, the others as baselines.

    The maps that use no model (`uniform`, `centre`, `prior`) are baselines: differences from them
    are under `difference.<map>.localisation.*`.
    """
    labels = list(dict.fromkeys(label for entry in models for label in entry.item.labels))
    scorer = FindingScorer(study, labels)
    section = Section(extra={"scorer": scorer, "maps": {}})
    if scorer.part is None:
        text = "no positive image of this split has a mask or box of a finding"
        section.skipped.append(f"{LOCALISATION_PREFIX}: {text}")
        return section
    baselines = score_baseline_maps(study, inputs, scorer)
    groups: dict[str, Estimates] = {}
    for number, entry in enumerate(models):
        findings = [name for name in scorer.findings if name in entry.item.labels]
        kinds, reason = list_map_kinds(entry.item)
        section.skipped += [f"{LOCALISATION_PREFIX} {entry.name}: {reason}"] if reason else []
        groups[entry.name] = {}
        for kind in kinds if findings else ():
            source = ClassifierMapSource(entry.item, kind, findings)
            scores = scorer.score(source, findings)
            section.extra["maps"][entry.name, kind] = (source, scores)
            groups[entry.name] |= scorer.estimate(scores, kind)
            if number == 0:
                section.columns |= build_finding_columns(study, scorer, scores, kind)
    section.estimates = merge_finding_estimates(groups, baselines)
    if scorer.selection is None:
        text = "no validation image has a mask or box: heads are averaged, maps cut at half"
        section.skipped.append(f"{LOCALISATION_PREFIX}: {text}")
    return section


def score_baseline_maps(study: EvaluationStudy, inputs: Inputs, scorer: FindingScorer) -> dict[str, Estimates]:
    """Name -> estimates of every map that does not depend on a model."""
    sources: dict[str, MapSource] = {kind: ConstantMapSource(kind, scorer.findings) for kind in FIXED_MAP_KINDS}
    for number, prior in enumerate(inputs.priors):
        organs = PriorSource(prior.item, prior.item.per_image is not None, study.settings.batch)
        sources["prior" if number == 0 else f"prior_{prior.name}"] = OrganPriorSource(organs)
    return {kind: scorer.estimate(scorer.score(source, scorer.findings), kind) for kind, source in sources.items()}


def merge_finding_estimates(groups: dict[str, Estimates], baselines: dict[str, Estimates]) -> Estimates:
    """The primary model's keys, its baselines, and differences from models and baseline maps."""
    names = list(groups)
    result = add_baseline_differences(groups[names[0]], {name: groups[name] for name in names[1:]})
    for kind, estimates in baselines.items():
        result |= estimates
        for key, estimate in groups[names[0]].items():
            suffix = key.split(".", 2)[2]
            baseline = estimates.get(f"{LOCALISATION_PREFIX}.{kind}.{suffix}")
            if baseline is not None:
                result[f"difference.{kind}.{key}"] = estimate - baseline
    return result


def build_finding_columns(
    study: EvaluationStudy, scorer: FindingScorer, finding_scores: dict[str, FindingScores], kind: str
) -> dict[str, Array]:
    """Scores per image as `localisation_<map>_<pointing|energy>_<finding>`, NaN: not evaluated."""
    assert scorer.part is not None
    row_by_image = {image_id: row for row, image_id in enumerate(study.part.image_ids)}
    rows = [row_by_image[image_id] for image_id in scorer.part.image_ids]
    result = {}
    for name, scores in finding_scores.items():
        for metric in ("pointing", "energy"):
            values = np.full(len(study.part), np.nan)
            values[rows] = scores.scores[metric]
            result[f"{LOCALISATION_PREFIX}_{kind}_{metric}_{name}"] = values
    return result
