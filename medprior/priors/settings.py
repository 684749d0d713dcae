"""Settings of `medprior prior`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from medprior.settings import Settings

Method = Literal["static", "affine", "deformable", "registered", "consensus", "refined", "statistics"]
Share = Annotated[float, Field(ge=0, le=1)]


class RegistrationSettings(Settings):
    """Registration of the annotated image to another one; lengths in pixels of `size`.

    Attributes:
        size: side of the squares that are registered.
        bins: histogram bins of the mutual information of the affine registration.
        affine_iterations: most iterations of the affine registration per level.
        mesh: B-spline cells per side.
        radius: of the window of the local correlation.
        shrink: factors of the levels of the deformable registration, coarse to fine.
        iterations: most iterations of the deformable registration per level.
        bending: weight of the deformation's bending energy; tenfold in a second try where the
            first one folds over.
        max_scale: largest scale of an affine map; the smallest is its inverse.
        min_correlation: least correlation of the two pictures after registration.
        max_folding: largest share of the image where a deformation may fold.
    """

    size: int = Field(default=128, ge=32, le=1024)
    bins: int = Field(default=32, ge=8)
    affine_iterations: int = Field(default=100, ge=1)
    mesh: int = Field(default=16, ge=2)
    radius: int = Field(default=4, ge=1)
    shrink: tuple[int, ...] = Field(default=(8, 4, 2, 1), min_length=1)
    iterations: int = Field(default=30, ge=1)
    bending: float = Field(default=3e-4, ge=0)
    max_scale: float = Field(default=1.6, gt=1)
    min_correlation: float = Field(default=0.3, ge=-1, le=1)
    max_folding: Share = 0.02


class StatisticsSettings(Settings):
    """Regions from the per-pixel statistics of a cohort.

    Attributes:
        size: side of the squares that are averaged.
        batch: pictures at once; the result does not depend on it.
        heart_share: lower share of the lungs' height beside which the heart lies; 0.45 is the mean
            height of hearts in 383 annotated radiographs.
        regions: 0 for lungs and heart; else the number of unnamed regions of `cluster_regions`.
        fit: transfer the regions from the mean picture to every image, as from an annotation.
    """

    size: int = Field(default=128, ge=64, le=512)
    batch: int = Field(default=64, ge=1)
    heart_share: float = Field(default=0.45, gt=0, le=1)
    regions: int = Field(default=0, ge=0, le=32)
    fit: bool = True


class RefineSettings(Settings):
    """Blending of a registered map with the attention of a backbone.

    Attributes:
        share: of the attention in the blend.
        mass: share of the attention in its largest pixels, which form the attended mask.
        least_iou: a map is blended where its IoU with the attended mask is above this.
    """

    share: float = Field(default=0.3, gt=0, le=0.3)
    mass: float = Field(default=0.6, gt=0, lt=1)
    least_iou: Share = 0.5


class PriorSettings(Settings):
    """Settings of the prior stage.

    Attributes:
        method: how annotations become maps of every image, or `statistics` without annotation.
        size: side of the maps.
        softness: standard deviation of the blur that makes maps soft, in percent of the side;
            half of it where the maps of several examples are fused.
        stones: number of intermediate examples of `consensus`.
        correct: with three or more annotated images, fit a corrector of registration errors.
        seed: of every random choice.
        registration: of the annotated image to each other one.
        statistics: regions of the method `statistics`.
        refine: blending of the method `refined`.
    """

    method: Method = "registered"
    size: int = Field(default=128, ge=32, le=512)
    softness: float = Field(default=2.5, ge=0, le=10)
    stones: int = Field(default=6, ge=1)
    correct: bool = True
    seed: int = 0
    registration: RegistrationSettings = RegistrationSettings()
    statistics: StatisticsSettings = StatisticsSettings()
    refine: RefineSettings = RefineSettings()
