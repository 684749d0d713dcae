"""External test: models and frozen features of the home cohort on cohorts of other patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.probes.probe_data import select_probe_data
from medprior.evaluate.probes.probes import extract_features, score_feature_probes
from medprior.evaluate.sections.external_cohorts import (
    ExternalCohort,
    add_structure_mean,
    compare_external_to_home,
    find_two_class_labels,
)
from medprior.evaluate.sections.models import score_segmentation
from medprior.evaluate.sections.segmentation import estimate_segmentation
from medprior.evaluate.study import EvaluationStudy, Section, exact_estimate
from medprior.metrics.bootstrap import average_estimates, estimate_auc_and_ap
from medprior.metrics.classification import estimate_classification, validate_binary_labels
from medprior.metrics.differences import Estimates, add_baseline_differences

if TYPE_CHECKING:
    from medprior.finetune.model import Model
    from medprior.networks import Backbone


def evaluate_external_cohort(study: EvaluationStudy, inputs: Inputs, away: ExternalCohort) -> Section:
    """`external.<name>.*`: every number away, at home on the same labels, and the drop between.

    Nothing is trained or chosen away: thresholds, calibration, probes and their penalty are those
    of the home cohort.
    """
    section = Section()
    n = len(away.part)
    section.estimates = {
        f"{away.prefix}.data.images": exact_estimate(n, n),
        f"{away.prefix}.data.patients": exact_estimate(len(set(away.part.patient_ids.tolist())), n),
        f"{away.prefix}.data.left_out": exact_estimate(away.shared, len(away.cohort)),
    }
    for task, judge in (
        ("classification", evaluate_external_classifier),
        ("segmentation", evaluate_external_segmenter),
    ):
        models = [named for named in inputs.models if named.item.task == task]
        add_primary_and_baselines(section, {named.name: judge(study, away, named, section) for named in models})
    if study.settings.probe:
        probes = {b.name: evaluate_external_probes(study, away, b, section) for b in inputs.backbones}
        add_primary_and_baselines(section, probes)
    section.skipped = list(dict.fromkeys(f"external {away.name}: {t}" for t in section.skipped))
    return section


def add_primary_and_baselines(section: Section, groups: dict[str, Estimates]) -> None:
    """The first group as primary, the others as its baselines."""
    names = list(groups)
    if names:
        others = {name: groups[name] for name in names[1:]}
        section.estimates |= add_baseline_differences(groups[names[0]], others)


def select_external_labels(
    study: EvaluationStudy, away: ExternalCohort, labels: Sequence[str], section: Section
) -> list[str]:
    """Labels that both cohorts have, by the one vocabulary; what one lacks is named, never 0."""
    cohorts = (("at home", study.cohort), ("away", away.cohort))
    for where, cohort in cohorts:
        lost = [label for label in labels if label not in cohort.label_names]
        section.skipped += [f"{label}: no such label {where}" for label in lost]
    return [label for label in labels if all(label in c.label_names for _, c in cohorts)]


def evaluate_external_classifier(
    study: EvaluationStudy, away: ExternalCohort, named: NamedInput[Model], section: Section
) -> Estimates:
    """Findings of one model on the labels that can be judged on both sides."""
    model = named.item
    labels = select_external_labels(study, away, model.labels, section)
    truth = [validate_binary_labels(part.labels(labels), labels) for part in (study.part, away.part)]
    kept, lost = find_two_class_labels(truth[0], truth[1], labels)
    section.skipped += lost
    labels = [labels[column] for column in kept]
    if not labels:
        section.skipped.append(f"{named.name}: no label with both classes on both sides")
        return {}
    order = [model.labels.index(label) for label in labels]
    thresholds = np.array(model.threshold, dtype=np.float64)[order]
    sides = [
        estimate_classification(
            known[:, kept],
            model.predict_cohort(part)[:, order],
            labels,
            thresholds,
            draws,
            study.settings.ece_bins,
        )
        for known, part, draws in zip(truth, (study.part, away.part), (study.draws, away.draws), strict=True)
    ]
    return compare_external_to_home(away, sides[1], sides[0])


def evaluate_external_segmenter(
    study: EvaluationStudy, away: ExternalCohort, named: NamedInput[Model], section: Section
) -> Estimates:
    """Overlaps of one model on the structures that have masks on both sides."""
    sides = []
    for part, draws in ((study.part, study.draws), (away.part, away.draws)):
        scores, lost = score_segmentation(part, named.item)
        section.skipped += [f"{named.name}: {text}" for text in lost]
        sides.append(estimate_segmentation(scores, draws))
    here, there = sides
    result: list[Estimates] = [{}, {}]
    for metric in ("dice", "iou", "hd95_mm"):
        lead = f"segmentation.{metric}"
        names = [s for s in named.item.structures if all(f"{lead}.{s}" in e for e in sides)]
        result[0] |= add_structure_mean(here, lead, names, len(study.part))
        result[1] |= add_structure_mean(there, lead, names, len(away.part))
    return compare_external_to_home(away, result[1], result[0])


def evaluate_external_probes(
    study: EvaluationStudy, away: ExternalCohort, named: NamedInput[Backbone], section: Section
) -> Estimates:
    """Probes trained on the home cohort's training images, judged away and at home."""
    parts, _, why = select_probe_data(study)
    if why:
        section.skipped.append(f"probes: {why}")
        return {}
    labels = select_external_labels(study, away, study.cohort.label_names, section)
    every = {**parts, "away": away.part}
    truth = {name: validate_binary_labels(part.labels(labels), labels) for name, part in every.items()}
    usable = np.ones(len(labels), dtype=bool)
    for known in truth.values():
        columns, _ = find_two_class_labels(known, known, labels)
        usable &= np.isin(np.arange(len(labels)), columns)
    if not usable.any():
        section.skipped.append("probes: no label with both classes in train, val, test and away")
        return {}
    truth = {name: known[:, usable] for name, known in truth.items()}
    backbone, settings = named.item, study.settings
    both = {
        name: extract_features(backbone.network, backbone.size, part, settings.batch, settings.device)
        for name, part in every.items()
    }
    sides = []
    for judged, draws in (("test", study.draws), ("away", away.draws)):
        found: Estimates = {}
        for name, (scores, facts) in score_feature_probes(both, truth, settings, judged).items():
            aucs, _ = estimate_auc_and_ap(truth[judged], scores, draws)
            mean = average_estimates(aucs, len(scores), classes=len(aucs), **facts)
            found[f"features.{name}"] = mean
        sides.append(found)
    return compare_external_to_home(away, sides[1], sides[0])
