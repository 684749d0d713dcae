"""Attention maps of backbones and priors against structure masks, and their differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.localisation.attention import AttentionSource
from medprior.evaluate.localisation.instance_ap import estimate_instance_ap
from medprior.evaluate.localisation.map_sources import PriorSource
from medprior.evaluate.localisation.scoring import (
    Localisation,
    MapSource,
    estimate_localisation,
    localise_structures,
)
from medprior.evaluate.localisation.targets import SCORED_ORGANS, Targets, select_annotated_targets, select_targets
from medprior.evaluate.study import EvaluationStudy, Section
from medprior.metrics.auc import Array
from medprior.metrics.differences import Estimates, compute_prior_differences

if TYPE_CHECKING:
    from medprior.priors import SpatialPrior


def evaluate_attention(study: EvaluationStudy, inputs: Inputs) -> Section:
    """`attention.*`, `prior.*`, `registered_prior.*`, their baselines and differences."""
    mapped = {name for entry in inputs.backbones for name in entry.item.heads}
    mapped |= {name for prior in inputs.priors for name in prior.item.names}
    candidates = select_targets(study.cohort.structures, mapped)
    targets = select_annotated_targets(study.part, candidates)
    section = Section(extra={"targets": targets, "sources": {}, "localisations": {}})
    missing = sorted((set(candidates) | (mapped & set(SCORED_ORGANS))) - set(targets))
    section.skipped = [f"{name}: no masks in split {study.split}" for name in missing]
    if not targets:
        return section
    settings = study.settings
    heads = [
        (entry.name, AttentionSource(entry.item, settings.batch, settings.device, settings.attention_views))
        for entry in inputs.backbones
    ]
    score_source_group(section, study, "attention", heads)
    for prefix, priors in group_prior_sources(inputs.priors).items():
        score_source_group(section, study, prefix, priors)
    section.estimates |= compute_prior_differences(section.estimates)
    return section


def group_prior_sources(priors: Sequence[NamedInput[SpatialPrior]]) -> dict[str, list[tuple[str, MapSource]]]:
    """Static priors under `prior`, fitted ones under `registered_prior`.

    Without a static prior, the static fallback maps of the first fitted prior are used.
    """
    fitted = [entry for entry in priors if entry.item.per_image is not None]
    static = [entry for entry in priors if entry.item.per_image is None] or fitted[:1]
    return {
        "prior": [(entry.name, PriorSource(entry.item, per_image=False)) for entry in static],
        "registered_prior": [(entry.name, PriorSource(entry.item, per_image=True)) for entry in fitted],
    }


def score_source_group(
    section: Section, study: EvaluationStudy, prefix: str, sources: Sequence[tuple[str, MapSource]]
) -> None:
    """Score the sources of one kind: the first is primary, the others are its baselines."""
    groups: dict[str, Estimates] = {}
    targets: Targets = section.extra["targets"]
    selection = study.selection
    if selection is not None:
        selection = selection.take(study.settings.selection_images, study.settings.seed)
    for number, (name, source) in enumerate(sources):
        size = study.settings.map_size
        localisation = localise_structures(source, study.part, selection, targets, size, study.annotated)
        groups[name] = estimate_localisation(localisation, study.draws, prefix) | estimate_instance_ap(
            source, study.part, targets, localisation, study.draws, size, prefix
        )
        missing = [target for target in targets if target not in localisation.chosen]
        section.skipped += [f"{prefix} {name}: no map for {target}" for target in missing]
        section.extra["sources"][f"{prefix}:{name}"] = source
        section.extra["localisations"][f"{prefix}:{name}"] = localisation
        column_prefix = prefix if number == 0 else f"{name}.{prefix}"
        section.columns |= build_attention_columns(localisation, column_prefix)
    section.add_source_estimates(groups)


def build_attention_columns(localisation: Localisation, prefix: str) -> dict[str, Array]:
    """Per-image scores as columns `<prefix>_pixel_ap_<target>` and `<prefix>_dice_<target>`."""
    columns = {f"{prefix}_pixel_ap_{target}": values for target, values in localisation.ap.items()}
    return columns | {f"{prefix}_dice_{target}": values for target, values in localisation.dice.items()}
