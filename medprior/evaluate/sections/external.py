"""External test: models and frozen features of the home cohort on cohorts of other patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medprior.evaluate.inputs import Inputs, Named
from medprior.evaluate.probes.probe_parts import probe_parts
from medprior.evaluate.probes.probes import features, probed
from medprior.evaluate.sections.external_cohorts import Away, judgeable, side_by_side, with_means
from medprior.evaluate.sections.models import segmentation_scores
from medprior.evaluate.sections.segmentation import segmentation_estimates
from medprior.evaluate.study import Section, Study, plain
from medprior.metrics.bootstrap import average, ranked_estimates
from medprior.metrics.classification import checked_truth, classification_estimates
from medprior.metrics.differences import Estimates, compared

if TYPE_CHECKING:
    from medprior.finetune.model import Model
    from medprior.networks import Backbone


def external_section(study: Study, inputs: Inputs, away: Away) -> Section:
    """`external.<name>.*`: every number away, at home on the same labels, and the drop between.

    Nothing is trained or chosen away: thresholds, calibration, probes and their penalty are those
    of the home cohort.
    """
    section = Section()
    n = len(away.part)
    section.estimates = {
        f"{away.prefix}.data.images": plain(n, n),
        f"{away.prefix}.data.patients": plain(len(set(away.part.patient_ids.tolist())), n),
        f"{away.prefix}.data.left_out": plain(away.shared, len(away.cohort)),
    }
    for task, judge in (("classification", classified), ("segmentation", segmented)):
        models = [named for named in inputs.models if named.item.task == task]
        add(section, {named.name: judge(study, away, named, section) for named in models})
    if study.settings.probe:
        probes = {b.name: frozen(study, away, b, section) for b in inputs.backbones}
        add(section, probes)
    section.skipped = list(dict.fromkeys(f"external {away.name}: {t}" for t in section.skipped))
    return section


def add(section: Section, groups: dict[str, Estimates]) -> None:
    """The first group as primary, the others as its baselines."""
    names = list(groups)
    if names:
        others = {name: groups[name] for name in names[1:]}
        section.estimates |= compared(groups[names[0]], others)


def aligned(study: Study, away: Away, labels: Sequence[str], section: Section) -> list[str]:
    """Labels that both cohorts have, by the one vocabulary; what one lacks is named, never 0."""
    cohorts = (("at home", study.cohort), ("away", away.cohort))
    for where, cohort in cohorts:
        lost = [label for label in labels if label not in cohort.label_names]
        section.skipped += [f"{label}: no such label {where}" for label in lost]
    return [label for label in labels if all(label in c.label_names for _, c in cohorts)]


def classified(study: Study, away: Away, named: Named[Model], section: Section) -> Estimates:
    """Findings of one model on the labels that can be judged on both sides."""
    model = named.item
    labels = aligned(study, away, model.labels, section)
    truth = [checked_truth(part.labels(labels), labels) for part in (study.part, away.part)]
    kept, lost = judgeable(truth[0], truth[1], labels)
    section.skipped += lost
    labels = [labels[column] for column in kept]
    if not labels:
        section.skipped.append(f"{named.name}: no label with both classes on both sides")
        return {}
    order = [model.labels.index(label) for label in labels]
    thresholds = np.array(model.threshold, dtype=np.float64)[order]
    sides = [
        classification_estimates(
            known[:, kept],
            model.predict_cohort(part)[:, order],
            labels,
            thresholds,
            draws,
            study.settings.ece_bins,
        )
        for known, part, draws in zip(
            truth, (study.part, away.part), (study.draws, away.draws), strict=True
        )
    ]
    return side_by_side(away, sides[1], sides[0])


def segmented(study: Study, away: Away, named: Named[Model], section: Section) -> Estimates:
    """Overlaps of one model on the structures that have masks on both sides."""
    sides = []
    for part, draws in ((study.part, study.draws), (away.part, away.draws)):
        scores, lost = segmentation_scores(part, named.item)
        section.skipped += [f"{named.name}: {text}" for text in lost]
        sides.append(segmentation_estimates(scores, draws))
    here, there = sides
    result: list[Estimates] = [{}, {}]
    for metric in ("dice", "iou", "hd95_mm"):
        lead = f"segmentation.{metric}"
        names = [s for s in named.item.structures if all(f"{lead}.{s}" in e for e in sides)]
        result[0] |= with_means(here, lead, names, len(study.part))
        result[1] |= with_means(there, lead, names, len(away.part))
    return side_by_side(away, result[1], result[0])


def frozen(study: Study, away: Away, named: Named[Backbone], section: Section) -> Estimates:
    """Probes trained on the home cohort's training images, judged away and at home."""
    parts, _, why = probe_parts(study)
    if why:
        section.skipped.append(f"probes: {why}")
        return {}
    labels = aligned(study, away, study.cohort.label_names, section)
    every = {**parts, "away": away.part}
    truth = {name: checked_truth(part.labels(labels), labels) for name, part in every.items()}
    usable = np.ones(len(labels), dtype=bool)
    for known in truth.values():
        columns, _ = judgeable(known, known, labels)
        usable &= np.isin(np.arange(len(labels)), columns)
    if not usable.any():
        section.skipped.append("probes: no label with both classes in train, val, test and away")
        return {}
    truth = {name: known[:, usable] for name, known in truth.items()}
    backbone, settings = named.item, study.settings
    both = {
        name: features(backbone.network, backbone.size, part, settings.batch, settings.device)
        for name, part in every.items()
    }
    sides = []
    for judged, draws in (("test", study.draws), ("away", away.draws)):
        found: Estimates = {}
        for name, (scores, facts) in probed(both, truth, settings, judged).items():
            aucs, _ = ranked_estimates(truth[judged], scores, draws)
            mean = average(aucs, len(scores), classes=len(aucs), **facts)
            found[f"features.{name}"] = mean
        sides.append(found)
    return side_by_side(away, sides[1], sides[0])
