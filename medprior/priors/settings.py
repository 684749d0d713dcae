"""What can be turned about a spatial prior."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from medprior.settings import Settings

Method = Literal["static", "affine", "deformable", "registered", "consensus", "refined", "statistics"]
Share = Annotated[float, Field(ge=0, le=1)]


class RegistrationSettings(Settings):
    """How the annotated image is brought onto another one; lengths in pixels of `size`.

    Attributes:
        size: side of the squares that are registered.
        bins: histogram bins of the mutual information that the affine step maximises.
        affine_iterations: most steps of the affine step per level.
        mesh: B-spline cells per side.
        radius: of the window of the local correlation.
        shrink: factors of the deformable step's levels, coarse to fine.
        iterations: most steps of the deformable step per level.
        bending: weight of the deformation's bending energy; tenfold in a second try where the
            first one folds over.
        max_scale: an affine map that scales by more than this, or less than its inverse, failed.
        min_correlation: two pictures less alike than this after registration did not match.
        max_folding: a deformation that folds over on more than this share of the image failed.
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
    """How regions are found in what a cohort's pictures have in common.

    Attributes:
        size: side of the squares that are averaged.
        batch: pictures at once; the result does not depend on it.
        heart_share: lower share of the lungs' height beside which the heart lies; 0.45 is the mean
            height of hearts in 383 drawn radiographs.
        regions: 0 for lungs and heart; else so many regions without a name (see `clustered`).
        fit: carry the regions from the mean picture onto every image, as from an annotation.
    """

    size: int = Field(default=128, ge=64, le=512)
    batch: int = Field(default=64, ge=1)
    heart_share: float = Field(default=0.45, gt=0, le=1)
    regions: int = Field(default=0, ge=0, le=32)
    fit: bool = True


class RefineSettings(Settings):
    """How far a backbone's attention may move a fitted map.

    Attributes:
        share: of the attention in the blend.
        mass: the attention's brightest pixels that hold this share of it are what it sees.
        least_iou: a map and what attention sees must overlap by more than this to be blended.
    """

    share: float = Field(default=0.3, gt=0, le=0.3)
    mass: float = Field(default=0.6, gt=0, lt=1)
    least_iou: Share = 0.5


class PriorSettings(Settings):
    """Settings of the prior stage.

    Attributes:
        method: how one example becomes a map for every image, or `statistics` for no example.
        size: side of the maps.
        softness: standard deviation of the blur that makes maps soft, in percent of the side;
            half of it where several examples were heard.
        stones: intermediate images of `consensus`.
        correct: with three or more annotated images, learn from them what registration gets wrong.
        seed: of every random choice.
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
