"""Registers an example to an image, with a simpler transformation where a complex one fails."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medprior.priors.deformation import Deformation, pixel_centres
from medprior.priors.free_form import downsample_picture, interpolate_bilinear, register_deformable
from medprior.priors.local_correlation import LocalCorrelation
from medprior.priors.mutual_information import register_affine
from medprior.priors.settings import RegistrationSettings

Array = NDArray[np.float64]
Picture = NDArray[np.float32]
RegistrationStatus = Literal["static", "affine", "deformable"]


@dataclass(frozen=True)
class Example:
    """A picture with the coverage of its structures.

    Shape:
        image: float32 [n, n] on the unit square.
        coverage: float32 [K, m, m] in [0, 1] on the same square.
    """

    image: Picture
    coverage: Picture

    @cached_property
    def equalised(self) -> Array:
        """The histogram-equalised picture."""
        return equalise_histogram(self.image)


@dataclass(frozen=True)
class Registration:
    """Result of the registration of one image.

    Attributes:
        deformation: from the image to the example.
        status: the transformation that was kept; a simpler one than requested is a failure.
        local_correlation: of the two pictures under that transformation, [0, 1].
        correlation: plain correlation of the two equalised pictures under it.
        gain: local correlation above that without a transformation.
    """

    deformation: Deformation
    status: RegistrationStatus
    local_correlation: float
    correlation: float
    gain: float


def equalise_histogram(image: Picture) -> Array:
    """Histogram equalisation: float64 in [0, 1], 256 levels."""
    from skimage.exposure import equalize_hist

    flat = equalize_hist(image, nbins=256)  # type: ignore[no-untyped-call]
    return np.asarray(flat, dtype=np.float64)


def register_example(
    image: Picture, example: Example, transformation: RegistrationStatus, settings: RegistrationSettings
) -> Registration:
    """Align `example` with `image` by `transformation`, or by the next simpler one that succeeds.

    A transformation is kept where the local correlation is at least that of the simpler one, and
    the map is plausible (our choice).

    Args:
        image: float32 [n, n] on the unit square.
        example: on the same grid.
        transformation: `static`, `affine` or `deformable`.
        settings: see `RegistrationSettings`.
    """
    fixed, moving = equalise_histogram(image), example.equalised
    scorer = SimilarityScorer(fixed, moving)
    best: Deformation = Deformation()
    status: RegistrationStatus = "static"
    static = local = scorer(best)
    if transformation != "static":
        affine = register_affine(fixed, moving, settings)
        if affine is not None and is_plausible_deformation(affine, settings):
            score = scorer(affine)
            if score >= local:
                best, status, local = affine, "affine", score
    if transformation == "deformable":
        for stiffness in (1, 10):
            stiffer = settings.model_copy(update={"bending": stiffness * settings.bending})
            candidate = register_deformable(fixed, moving, best, stiffer)
            score = scorer(candidate)
            if score >= local and is_plausible_deformation(candidate, settings):
                best, status, local = candidate, "deformable", score
                break
    correlation = scorer.correlation(best)
    if correlation < settings.min_correlation:
        best, status, local = Deformation(), "static", static
    return Registration(best, status, local, correlation, local - static)


class SimilarityScorer:
    """Scores deformations on pictures a quarter of the size, which compares anatomy, not texture.

    Args:
        fixed: float64 [n, n], equalised.
        moving: float64 [n, n], equalised.
    """

    def __init__(self, fixed: Array, moving: Array) -> None:
        self.size = max(16, len(fixed) // 4)
        self.fixed, self.moving = (downsample_picture(picture, self.size) for picture in (fixed, moving))
        self.local_correlation = LocalCorrelation(self.fixed, radius=3)

    def warp(self, deformation: Deformation) -> Array:
        """The moving picture on the grid of the fixed one."""
        return interpolate_bilinear(self.moving, deformation.grid(self.size) * self.size - 0.5)[0]

    def __call__(self, deformation: Deformation) -> float:
        """Local correlation, [0, 1]."""
        return self.local_correlation(self.warp(deformation))[0]

    def correlation(self, deformation: Deformation) -> float:
        """Plain correlation of the two pictures, 0 where one of them is flat."""
        fixed, moved = (a - a.mean() for a in (self.fixed, self.warp(deformation)))
        size = float(np.sqrt((fixed**2).sum() * (moved**2).sum()))
        return float((fixed * moved).sum()) / size if size > 0 else 0.0


def is_plausible_deformation(deformation: Deformation, settings: RegistrationSettings) -> bool:
    """Whether a map stays within the limits of scale, overlap with the image and folding."""
    low, high = deformation.scales()
    if low * settings.max_scale < 1 or high > settings.max_scale:
        return False
    if np.linalg.det(deformation.matrix) <= 0:
        return False
    points = deformation.affine(pixel_centres(32))
    inside = ((points > 0) & (points < 1)).all(axis=0).mean()
    return bool(inside > 0.4 and deformation.folding_fraction(64) <= settings.max_folding)
