"""Per-image attention scores of a backbone, or of the Vision Transformer in a classifier."""

from __future__ import annotations

import numpy as np

from medprior.cohort import Cohort
from medprior.evaluate.localisation.attention import AttentionSource
from medprior.evaluate.localisation.attention_entropy import compute_free_head_entropy
from medprior.evaluate.localisation.scoring import localise_structures
from medprior.evaluate.localisation.targets import select_annotated_targets, select_targets
from medprior.evaluate.study import EvaluationStudy
from medprior.finetune.model import Model
from medprior.metrics.auc import Floats
from medprior.networks import Backbone


def extract_backbone(model: Model) -> Backbone | None:
    """The Vision Transformer inside a model with its heads; None for a CNN."""
    if not model.has_attention:
        return None
    return Backbone(model.vit, dict(model.heads), model.size, model.config)


def score_attention(backbone: Backbone, study: EvaluationStudy) -> dict[str, Floats]:
    """Per-image pixel-AP as `ap.<target>` [n], and `spatial_entropy` [n] of its free heads.

    A network without assigned heads uses its best head on validation images for each target.
    """
    settings, device = study.settings, study.settings.device
    scores = {"spatial_entropy": compute_free_head_entropy(backbone, study.part, settings.batch, device)}
    targets = select_annotated_targets(study.part, select_targets(study.cohort.structures, backbone.heads))
    selection: Cohort | None = study.selection
    if selection is not None:
        selection = selection.take(settings.selection_images, settings.seed)
    source = AttentionSource(backbone, settings.batch, device, settings.attention_views)
    localisation = localise_structures(source, study.part, selection, targets, settings.map_size)
    return scores | {f"ap.{target}": np.asarray(values) for target, values in localisation.ap.items()}
