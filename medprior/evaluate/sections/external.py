"""External test: models and frozen features of the home cohort on other patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.probes.probe_data import select_probe_data
from medprior.evaluate.probes.probes import extract_features, score_feature_probes
from medprior.evaluate.sections.external_cohorts import (
    ExternalCohort,
    compare_external_to_home,
    find_two_class_labels,
    select_structure_estimates,
)
from medprior.evaluate.sections.models import score_segmentation
from medprior.evaluate.sections.segmentation import OVERLAP_METRICS, estimate_segmentation
from medprior.evaluate.study import EvaluationStudy, Section, exact_estimate
from medprior.metrics.bootstrap import average_estimates, estimate_auc_and_ap
from medprior.metrics.classification import estimate_classification, validate_binary_labels
from medprior.metrics.differences import Estimates

if TYPE_CHECKING:
    from medprior.finetune.model import Model
    from medprior.networks import Backbone


def evaluate_external_cohort(study: EvaluationStudy, inputs: Inputs, external: ExternalCohort) -> Section:
    """`external.<name>.*`: every number away, at home on the same labels, and the drop.

    Nothing is trained or chosen on the external cohort: thresholds, calibration, probes and their
    penalty are those of the home cohort.
    """
    section = Section()
    n = len(external.part)
    section.estimates = {
        f"{external.prefix}.data.images": exact_estimate(n, n),
        f"{external.prefix}.data.patients": exact_estimate(len(set(external.part.patient_ids.tolist())), n),
        f"{external.prefix}.data.left_out": exact_estimate(external.shared, len(external.cohort)),
    }
    for task, evaluate in (
        ("classification", evaluate_external_classifier),
        ("segmentation", evaluate_external_segmenter),
    ):
        models = [entry for entry in inputs.models if entry.item.task == task]
        section.add_source_estimates({entry.name: evaluate(study, external, entry, section) for entry in models})
    if study.settings.probe:
        probes = {
            backbone.name: evaluate_external_probes(study, external, backbone, section) for backbone in inputs.backbones
        }
        section.add_source_estimates(probes)
    section.skipped = list(dict.fromkeys(f"external {external.name}: {text}" for text in section.skipped))
    return section


def select_external_labels(
    study: EvaluationStudy, external: ExternalCohort, labels: Sequence[str], section: Section
) -> list[str]:
    """Labels that both cohorts have; a label that one lacks is named in `skipped`, never taken as 0."""
    cohorts = (("at home", study.cohort), ("away", external.cohort))
    for side, cohort in cohorts:
        missing = [label for label in labels if label not in cohort.label_names]
        section.skipped += [f"{label}: no such label {side}" for label in missing]
    return [label for label in labels if all(label in cohort.label_names for _, cohort in cohorts)]


def evaluate_external_classifier(
    study: EvaluationStudy, external: ExternalCohort, entry: NamedInput[Model], section: Section
) -> Estimates:
    """Classification of one model on the labels with both classes on both sides."""
    model = entry.item
    labels = select_external_labels(study, external, model.labels, section)
    truth = [validate_binary_labels(part.labels(labels), labels) for part in (study.part, external.part)]
    columns, skipped = find_two_class_labels(truth[0], truth[1], labels)
    section.skipped += skipped
    labels = [labels[column] for column in columns]
    if not labels:
        section.skipped.append(f"{entry.name}: no label with both classes on both sides")
        return {}
    order = [model.labels.index(label) for label in labels]
    thresholds = np.array(model.threshold, dtype=np.float64)[order]
    sides = [
        estimate_classification(
            values[:, columns],
            model.predict_cohort(part)[:, order],
            labels,
            thresholds,
            draws,
            study.settings.ece_bins,
        )
        for values, part, draws in zip(truth, (study.part, external.part), (study.draws, external.draws), strict=True)
    ]
    return compare_external_to_home(external, sides[1], sides[0])


def evaluate_external_segmenter(
    study: EvaluationStudy, external: ExternalCohort, entry: NamedInput[Model], section: Section
) -> Estimates:
    """Overlap scores of one model on the structures that have masks on both sides."""
    sides = []
    for part, draws in ((study.part, study.draws), (external.part, external.draws)):
        scores, skipped = score_segmentation(part, entry.item)
        section.skipped += [f"{entry.name}: {text}" for text in skipped]
        sides.append(estimate_segmentation(scores, draws))
    home, away = sides
    result: list[Estimates] = [{}, {}]
    for metric in OVERLAP_METRICS:
        prefix = f"segmentation.{metric}"
        names = [
            structure
            for structure in entry.item.structures
            if all(f"{prefix}.{structure}" in estimates for estimates in sides)
        ]
        result[0] |= select_structure_estimates(home, prefix, names, len(study.part))
        result[1] |= select_structure_estimates(away, prefix, names, len(external.part))
    return compare_external_to_home(external, result[1], result[0])


def evaluate_external_probes(
    study: EvaluationStudy, external: ExternalCohort, entry: NamedInput[Backbone], section: Section
) -> Estimates:
    """Probes trained on the home cohort's train split, evaluated away and at home."""
    parts, _, reason = select_probe_data(study)
    if reason:
        section.skipped.append(f"probes: {reason}")
        return {}
    labels = select_external_labels(study, external, study.cohort.label_names, section)
    cohorts = {**parts, "away": external.part}
    truth = {name: validate_binary_labels(part.labels(labels), labels) for name, part in cohorts.items()}
    usable = np.ones(len(labels), dtype=bool)
    for values in truth.values():
        columns, _ = find_two_class_labels(values, values, labels)
        usable &= np.isin(np.arange(len(labels)), columns)
    if not usable.any():
        section.skipped.append("probes: no label with both classes in train, val, test and away")
        return {}
    truth = {name: values[:, usable] for name, values in truth.items()}
    backbone, settings = entry.item, study.settings
    features = {
        name: extract_features(backbone.network, backbone.size, part, settings.batch, settings.device)
        for name, part in cohorts.items()
    }
    sides = []
    for split, draws in (("test", study.draws), ("away", external.draws)):
        estimates: Estimates = {}
        for name, (scores, facts) in score_feature_probes(features, truth, settings, split).items():
            aucs, _ = estimate_auc_and_ap(truth[split], scores, draws)
            mean = average_estimates(aucs, len(scores), classes=len(aucs), **facts)
            estimates[f"features.{name}"] = mean
        sides.append(estimates)
    return compare_external_to_home(external, sides[1], sides[0])
