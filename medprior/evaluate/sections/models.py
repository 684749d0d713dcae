"""Models against truth: findings by classification models, masks by segmentation models."""

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
from medprior.evaluate.sections.cardiothoracic import RatioPairs, estimate_ratio_agreement
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
from medprior.metrics.differences import Estimates, add_baseline_differences

if TYPE_CHECKING:
    from medprior.finetune.model import Model

NamedModels = Sequence[NamedInput["Model"]]


def find_common_labels(study: EvaluationStudy, models: NamedModels) -> tuple[list[str], list[str]]:
    """Labels that every model and the cohort know, and what was left out, in words.

    Raises:
        InputMissing: none is left.
    """
    known = [set(named.item.labels) for named in models] + [set(study.cohort.label_names)]
    every = list(dict.fromkeys(label for named in models for label in named.item.labels))
    labels = [label for label in every if all(label in names for names in known)]
    if not labels:
        raise InputMissing(
            "models and cohort share no label",
            where="--model",
            expected=", ".join(every),
            found=", ".join(study.cohort.label_names) or "a cohort without labels",
            fix="evaluate on a cohort that has these labels",
        )
    lost = [f"{label}: not known to every model and the cohort" for label in every]
    return labels, [text for label, text in zip(every, lost, strict=True) if label not in labels]


def evaluate_classification(study: EvaluationStudy, models: NamedModels) -> Section:
    """`classification.*` of the first model, the others as baselines, DeLong's p for each label."""
    labels, skipped = find_common_labels(study, models)
    truth = validate_binary_labels(study.part.labels(labels), labels)
    section = Section(skipped=skipped, extra={"labels": labels, "truth": truth, "scores": {}, "thresholds": {}})
    groups: dict[str, Estimates] = {}
    for number, named in enumerate(models):
        order = [named.item.labels.index(label) for label in labels]
        probability = named.item.predict_cohort(study.part)[:, order]
        thresholds = np.array(named.item.threshold, dtype=np.float64)[order]
        groups[named.name] = estimate_classification(
            truth, probability, labels, thresholds, study.draws, study.settings.ece_bins
        )
        groups[named.name]["classification.ece"].facts["temperature_left"] = fit_residual_temperatures(
            study, named.item, labels, order
        )
        section.extra["scores"][named.name] = probability
        section.extra["thresholds"][named.name] = thresholds
        lead = "" if number == 0 else f"{named.name}."
        section.columns |= {f"{lead}probability_{label}": p for label, p in zip(labels, probability.T, strict=True)}
    section.columns |= {f"truth_{label}": t for label, t in zip(labels, truth.T, strict=True)}
    names = list(groups)
    section.estimates = add_baseline_differences(groups[names[0]], {name: groups[name] for name in names[1:]})
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
    """The temperature still missing per label, from images of selection; nothing without them."""
    if study.selection is None:
        return {}
    truth = study.selection.labels(list(labels))
    logits = compute_logit(model.predict_cohort(study.selection)[:, list(order)])
    pairs = zip(labels, logits.T, truth.T, strict=True)
    return {label: fit_temperature(values, known) for label, values, known in pairs}


def evaluate_segmentation(study: EvaluationStudy, models: NamedModels) -> Section:
    """`segmentation.*` of the first model, the others as baselines."""
    section = Section(extra={"masks": {}})
    groups: dict[str, Estimates] = {}
    for number, named in enumerate(models):
        pairs = RatioPairs()
        scores, lost = score_segmentation(study.part, named.item, pairs)
        groups[named.name] = estimate_segmentation(scores, study.draws)
        section.skipped += [f"{named.name}: {text}" for text in lost]
        if not has_vit_attention(named.item):
            section.skipped.append(f"roll-out {named.name}: {NO_ATTENTION}")
        lead = "" if number == 0 else f"{named.name}."
        section.columns |= {f"{lead}dice_{name}": one["dice"] for name, one in scores.items()}
        if (both := pairs.both()) is not None:
            groups[named.name] |= estimate_ratio_agreement(*both, study.draws)
            section.columns[f"{lead}cardiothoracic_ratio"] = both[0]
            section.columns["true_cardiothoracic_ratio"] = both[1]
            section.extra.setdefault("ratios", {})[named.name] = both
    names = list(groups)
    section.estimates = add_baseline_differences(groups[names[0]], {name: groups[name] for name in names[1:]})
    section.extra["models"] = [named.name for named in models]
    return section


def score_segmentation(
    cohort: Cohort, model: Model, pairs: RatioPairs | None = None
) -> tuple[dict[str, dict[str, Array]], list[str]]:
    """Structure -> metric -> [n] for the model's structures that have masks, and the others.

    With `pairs` the cardiothoracic ratios of the same masks are collected too.
    """
    there = [name for name in model.structures if name in cohort.structures]
    lost = [f"{name}: no masks in this split" for name in model.structures if name not in there]
    parts: dict[str, dict[str, list[Array]]] = {name: {} for name in there}
    done = 0
    for maps in tqdm(model.predict_batches(cohort), desc="segment", leave=False, disable=None):
        some = cohort.select(cohort.image_ids[done : done + len(maps)])
        done += len(maps)
        own: dict[str, NDArray[np.bool_]] = {}
        for name in there:
            coverage, known = some.mask_squares(name, maps.shape[-1])
            truth = (coverage >= 0.5) & known[:, None, None]
            own[name] = postprocess_masks(model, name, maps)
            for metric, values in compute_overlap_scores(own[name], truth, some).items():
                parts[name].setdefault(metric, []).append(values)
        if pairs is not None:
            pairs(some, own)
    return {n: {m: np.concatenate(v) for m, v in one.items()} for n, one in parts.items()}, lost


def postprocess_masks(model: Model, structure: str, maps: Floats) -> NDArray[np.bool_]:
    """The masks a user of the model gets: its threshold, then its check of pieces.

    Shape:
        maps [b, K, s, s] in [0, 1]; bool [b, s, s] back.
    """
    index = model.structures.index(structure)
    masks = maps[:, index] >= model.threshold[index]
    return np.stack([keep_largest_components(mask, structure) for mask in masks])
