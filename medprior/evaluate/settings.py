"""Settings of `medprior evaluate`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from medprior.geometry import AttentionViews
from medprior.settings import Settings


class EvaluateSettings(Settings):
    """How results are evaluated; the defaults suit a test split of about ten thousand images.

    Args:
        seed: of the bootstrap, the selection subset and the random-weights network.
        resamples: bootstrap resamples of patients.
        map_size: side in pixels of the unit squares on which maps and masks are compared.
        batch: images per forward pass.
        selection_images: most validation images used to choose heads and thresholds of maps.
        attention_sizes: sides of the views over which attention is averaged, in sides of the view that a backbone
            learned from; processor time grows with their squares.
        attention_shifted: take four views of each size, shifted by a quarter of a patch; four times the time.
        finding_images: most evaluated images with a located finding; the others are not used.
        pointing_tolerance: how far a map's maximum may lie from a finding, share of the side; 0.03
            is 15 pixels of 512 (15 pixels in Zhang et al., IJCV 2018).
        box_units: of a table of boxes: shares of the image's sides, or its pixels.
        ece_bins: bins of the reliability diagram.
        probe: also evaluate frozen features by k-NN and a linear probe.
        probe_images: most training images used for the probes.
        probe_least: fewest images of either class in train, val and test for a label to be probed;
            choosing a penalty by a single positive image adds only noise.
        probe_folds: folds, 3 or more, of a cross-validation of frozen features over the patients of
            all splits; 0: none. For cohorts whose test split is small.
        probe_draws: in comparisons, how often a share of the training patients below all is drawn, each time with
            other patients, for the probes; their AUCs are averaged.
        neighbours: k of the k-NN probe.
        inverse_penalties: values of C from which the linear probe chooses on validation.
        device: `auto`, `cpu` or `cuda`.
    """

    seed: int = Field(default=0, ge=0)
    resamples: int = Field(default=1000, ge=2)
    map_size: int = Field(default=128, ge=16)
    batch: int = Field(default=64, ge=1)
    selection_images: int = Field(default=200, ge=1)
    attention_sizes: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    attention_shifted: bool = False
    finding_images: int = Field(default=500, ge=1)
    pointing_tolerance: float = Field(default=0.03, ge=0, le=0.5)
    box_units: Literal["unit", "pixels"] = "unit"
    ece_bins: int = Field(default=15, ge=2)
    probe: bool = True
    probe_images: int = Field(default=5000, ge=2)
    probe_least: int = Field(default=1, ge=1)
    probe_folds: int = Field(default=0, ge=0)
    probe_draws: int = Field(default=1, ge=1)
    neighbours: int = Field(default=20, ge=1)
    inverse_penalties: tuple[float, ...] = Field(default=(0.001, 0.01, 0.1, 1.0, 10.0), min_length=1)
    device: str = "auto"

    @property
    def attention_views(self) -> AttentionViews:
        """Views of an image over which attention is averaged."""
        return AttentionViews(self.attention_sizes, self.attention_shifted)

    @field_validator("attention_sizes")
    @classmethod
    def _check_sizes(cls, sizes: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0.25 <= size <= 4 for size in sizes):
            raise ValueError("attention_sizes must lie in 0.25 to 4 sides of the backbone's view")
        return sizes

    @field_validator("probe_folds")
    @classmethod
    def _check_folds(cls, folds: int) -> int:
        if folds in (1, 2):
            raise ValueError(
                "probe_folds must be 0, or at least 3: each split needs a fold to train, one to select and one to score"
            )
        return folds
