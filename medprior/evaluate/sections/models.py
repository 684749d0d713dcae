"""Evaluation of fine-tuned models: classification of findings and segmentation of structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.evaluate.inputs import NamedInput
from medprior.evaluate.localisation.finding_maps import NO_ATTENTION, has_vit_attention
from medprior.evaluate.sections.cardiothoracic import (
    PUBLISHED_PREFIX,
    RATIO_STRUCTURES,
    RatioPairs,
    estimate_ratio_agreement,
    estimate_ratio_detection,
    load_published_ratios,
)
from medprior.evaluate.sections.segmentation import compute_overlap_scores, estimate_segmentation
from medprior.evaluate.sections.subgroups import estimate_subgroup_aucs
from medprior.evaluate.study import EvaluationStudy, Section
from medprior.finetune.calibration import fit_temperature
from medprior.finetune.image_grid import keep_largest_components
from medprior.metrics.auc import Array, Floats
from medprior.metrics.calibration import compute_logit
from medprior.metrics.classification import (
    compute_delong_p,
    estimate_classification,
    validate_binary_labels,
)
from medprior.metrics.differences import Estimates

if TYPE_CHECKING:
    from medprior.finetune.model import Model

NamedModels = Sequence[NamedInput["Model"]]


def find_common_labels(study: EvaluationStudy, models: NamedModels) -> tuple[list[str], list[str]]:
    """Labels that every model and the cohort have, and the labels left out, in words.

    Raises:
        InputMissing: no label is left.
    """
    label_sets = [set(entry.item.labels) for entry in models] + [set(study.cohort.label_names)]
    candidates = list(dict.fromkeys(label for entry in models for label in entry.item.labels))
    labels = [label for label in candidates if all(label in names for names in label_sets)]
    if not labels:
        raise InputMissing(
            "models and cohort share no label",
            where="--model",
            expected=", ".join(candidates),
            found=", ".join(study.cohort.label_names) or "a cohort without labels",
            fix="evaluate on a cohort that has these labels",
        )
    reasons = [f"{label}: not known to every model and the cohort" for label in candidates]
    return labels, [text for label, text in zip(candidates, reasons, strict=True) if label not in labels]


def evaluate_classification(study: EvaluationStudy, models: NamedModels) -> Section:
    """`classification.*` of the first model, the others as baselines, DeLong's p for each label."""
    labels, skipped = find_common_labels(study, models)
    truth = validate_binary_labels(study.part.labels(labels), labels)
    section = Section(skipped=skipped, extra={"labels": labels, "truth": truth, "scores": {}, "thresholds": {}})
    groups: dict[str, Estimates] = {}
    for number, entry in enumerate(models):
        order = [entry.item.labels.index(label) for label in labels]
        probability = entry.item.predict_cohort(study.part)[:, order]
        thresholds = np.array(entry.item.threshold, dtype=np.float64)[order]
        groups[entry.name] = estimate_classification(
            truth, probability, labels, thresholds, study.draws, study.settings.ece_bins
        )
        groups[entry.name]["classification.ece"].facts["temperature_left"] = fit_residual_temperatures(
            study, entry.item, labels, order
        )
        section.extra["scores"][entry.name] = probability
        section.extra["thresholds"][entry.name] = thresholds
        prefix = "" if number == 0 else f"{entry.name}."
        section.columns |= {
            f"{prefix}probability_{label}": values for label, values in zip(labels, probability.T, strict=True)
        }
    section.columns |= {f"truth_{label}": values for label, values in zip(labels, truth.T, strict=True)}
    names = list(groups)
    section.add_source_estimates(groups)
    scores = section.extra["scores"]
    section.estimates |= estimate_subgroup_aucs(study.part, truth, scores[names[0]], study.draws)
    for name in names[1:]:
        for column, label in enumerate(labels):
            key = f"difference.{name}.classification.auc.{label}"
            pair = scores[names[0]][:, column], scores[name][:, column]
            section.estimates[key].facts.update(compute_delong_p(truth[:, column], *pair))
    return section


def fit_residual_temperatures(
    study: EvaluationStudy, model: Model, labels: Sequence[str], order: Sequence[int]
) -> dict[str, float]:
    """Residual temperature per label, fitted on the selection images; empty without them."""
    if study.selection is None:
        return {}
    truth = study.selection.labels(list(labels))
    logits = compute_logit(model.predict_cohort(study.selection)[:, list(order)])
    pairs = zip(labels, logits.T, truth.T, strict=True)
    return {label: fit_temperature(values, targets) for label, values, targets in pairs}


def evaluate_segmentation(study: EvaluationStudy, models: NamedModels) -> Section:
    """`segmentation.*` of the first model, the others as baselines."""
    section = Section(extra={"masks": {}})
    published = load_published_ratios(study.part)
    groups: dict[str, Estimates] = {}
    for number, entry in enumerate(models):
        pairs = RatioPairs()
        scores, skipped = score_segmentation(study.part, entry.item, pairs)
        groups[entry.name] = estimate_segmentation(scores, study.draws)
        section.skipped += [f"{entry.name}: {text}" for text in skipped]
        if not has_vit_attention(entry.item):
            section.skipped.append(f"roll-out {entry.name}: {NO_ATTENTION}")
        prefix = "" if number == 0 else f"{entry.name}."
        section.columns |= {f"{prefix}dice_{name}": metrics["dice"] for name, metrics in scores.items()}
        if (ratios := pairs.concatenate()) is not None:
            groups[entry.name] |= estimate_ratio_agreement(*ratios, study.draws)
            groups[entry.name] |= estimate_ratio_agreement(ratios[0], published, study.draws, PUBLISHED_PREFIX)
            groups[entry.name] |= estimate_ratio_detection(*ratios, study.part, study.draws)
            section.columns[f"{prefix}cardiothoracic_ratio"] = ratios[0]
            section.columns["true_cardiothoracic_ratio"] = ratios[1]
            if not np.isnan(published).all():
                section.columns["published_cardiothoracic_ratio"] = published
            section.extra.setdefault("ratios", {})[entry.name] = ratios
    section.add_source_estimates(groups)
    return section


def score_segmentation(
    cohort: Cohort, model: Model, pairs: RatioPairs | None = None, with_distances: bool = True
) -> tuple[dict[str, dict[str, Array]], list[str]]:
    """Structure -> metric -> [n] for structures with masks, and the structures skipped, in words.

    `pairs` also collects the cardiothoracic ratios of the same masks. `with_distances` as in `compute_overlap_scores`.
    """
    structures = [name for name in model.structures if name in cohort.structures]
    skipped = [f"{name}: no masks in this split" for name in model.structures if name not in structures]
    batches: dict[str, dict[str, list[Array]]] = {name: {} for name in structures}
    done = 0
    for maps in tqdm(model.predict_batches(cohort), desc="segment", leave=False, disable=None):
        images = cohort.select(cohort.image_ids[done : done + len(maps)])
        done += len(maps)
        predicted: dict[str, NDArray[np.bool_]] = {}
        for name in structures:
            coverage, is_known = images.mask_squares(name, maps.shape[-1])
            truth = (coverage >= 0.5) & is_known[:, None, None]
            predicted[name] = postprocess_masks(model, name, maps)
            for metric, values in compute_overlap_scores(predicted[name], truth, images, with_distances).items():
                batches[name].setdefault(metric, []).append(values)
        if pairs is not None:
            unscored = set(RATIO_STRUCTURES) & set(model.structures) - set(predicted)
            pairs.add_batch(images, predicted | {name: postprocess_masks(model, name, maps) for name in unscored})
    return {n: {m: np.concatenate(v) for m, v in metrics.items()} for n, metrics in batches.items()}, skipped


def postprocess_masks(model: Model, structure: str, maps: Floats) -> NDArray[np.bool_]:
    """The masks as the model delivers them: thresholded, largest components kept.

    Shape:
        maps [b, K, s, s] in [0, 1] -> bool [b, s, s].
    """
    index = model.structures.index(structure)
    masks = maps[:, index] >= model.threshold[index]
    return np.stack([keep_largest_components(mask, structure) for mask in masks])
