"""The attention of a fine-tuned classifier, measured as that of a backbone."""

from __future__ import annotations

import numpy as np

from medprior.cohort import Cohort
from medprior.evaluate.localisation.attention import AttentionSource
from medprior.evaluate.localisation.attention_entropy import scattered
from medprior.evaluate.localisation.scoring import localise
from medprior.evaluate.localisation.targets import targets, with_masks
from medprior.evaluate.study import Study
from medprior.finetune.model import Model
from medprior.metrics.auc import Floats
from medprior.networks import Backbone


def as_backbone(model: Model) -> Backbone | None:
    """The Vision Transformer inside a model with its heads; None for a CNN."""
    if not model.attends:
        return None
    return Backbone(model.vit, dict(model.heads), model.size, model.config)


def attention_scores(backbone: Backbone, study: Study) -> dict[str, Floats]:
    """Per-image pixel-AP as `ap.<target>` [n], and `spatial_entropy` [n] of its free heads.

    A network without assigned heads takes for each target its best head on validation images.
    """
    settings, device = study.settings, study.settings.device
    found = {"spatial_entropy": scattered(backbone, study.part, settings.batch, device)}
    wanted = with_masks(study.part, targets(study.cohort.structures, backbone.heads))
    selection: Cohort | None = study.selection
    if selection is not None:
        selection = selection.take(settings.selection_images, settings.seed)
    source = AttentionSource(backbone, settings.batch, device)
    maps = localise(source, study.part, selection, wanted, settings.map_size)
    return found | {f"ap.{target}": np.asarray(values) for target, values in maps.ap.items()}
