"""Attention against structures: every backbone, every prior, and their differences."""

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
from medprior.metrics.differences import Estimates, add_baseline_differences, compute_prior_differences

if TYPE_CHECKING:
    from medprior.priors import SpatialPrior


def evaluate_attention(study: EvaluationStudy, inputs: Inputs) -> Section:
    """`attention.*`, `prior.*`, `registered_prior.*`, their baselines and differences."""
    named = {name for b in inputs.backbones for name in b.item.heads}
    named |= {name for prior in inputs.priors for name in prior.item.names}
    every = select_targets(study.cohort.structures, named)
    wanted = select_annotated_targets(study.part, every)
    section = Section(extra={"targets": wanted, "sources": {}, "found": {}})
    missing = sorted((set(every) | (named & set(SCORED_ORGANS))) - set(wanted))
    section.skipped = [f"{name}: no masks in split {study.split}" for name in missing]
    if not wanted:
        return section
    settings = study.settings
    heads = [(b.name, AttentionSource(b.item, settings.batch, settings.device)) for b in inputs.backbones]
    score_source_group(section, study, "attention", heads)
    for prefix, priors in group_prior_sources(inputs.priors).items():
        score_source_group(section, study, prefix, priors)
    section.estimates |= compute_prior_differences(section.estimates)
    return section


def group_prior_sources(priors: Sequence[NamedInput[SpatialPrior]]) -> dict[str, list[tuple[str, MapSource]]]:
    """Static priors under `prior`, fitted ones under `registered_prior`.

    A fitted prior stands in for the static one, with the maps it falls back to, when none is given.
    """
    fitted = [p for p in priors if p.item.per_image is not None]
    static = [p for p in priors if p.item.per_image is None] or fitted[:1]
    return {
        "prior": [(p.name, PriorSource(p.item, per_image=False)) for p in static],
        "registered_prior": [(p.name, PriorSource(p.item, per_image=True)) for p in fitted],
    }


def score_source_group(
    section: Section, study: EvaluationStudy, prefix: str, sources: Sequence[tuple[str, MapSource]]
) -> None:
    """Score sources of one kind, the first as primary, the others as its baselines."""
    groups: dict[str, Estimates] = {}
    wanted: Targets = section.extra["targets"]
    selection = study.selection
    if selection is not None:
        selection = selection.take(study.settings.selection_images, study.settings.seed)
    for number, (name, source) in enumerate(sources):
        size = study.settings.map_size
        found = localise_structures(source, study.part, selection, wanted, size, study.annotated)
        groups[name] = estimate_localisation(found, study.draws, prefix) | estimate_instance_ap(
            source, study.part, wanted, found, study.draws, size, prefix
        )
        lost = [target for target in wanted if target not in found.chosen]
        section.skipped += [f"{prefix} {name}: no map for {target}" for target in lost]
        section.extra["sources"][f"{prefix}:{name}"] = source
        section.extra["found"][f"{prefix}:{name}"] = found
        lead = prefix if number == 0 else f"{name}.{prefix}"
        section.columns |= build_attention_columns(found, lead)
    names = list(groups)
    if names:
        others = {name: groups[name] for name in names[1:]}
        section.estimates |= add_baseline_differences(groups[names[0]], others)


def build_attention_columns(found: Localisation, lead: str) -> dict[str, Array]:
    """Per-image scores as columns `<lead>_pixel_ap_<target>` and `<lead>_dice_<target>`."""
    named = {f"{lead}_pixel_ap_{target}": values for target, values in found.ap.items()}
    return named | {f"{lead}_dice_{target}": values for target, values in found.dice.items()}
