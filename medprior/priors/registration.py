"""One image brought onto another, judged, and taken back where it did not work."""

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
    """A picture whose structures are known.

    Shape:
        image: float32 [n, n] on the unit square.
        coverage: float32 [K, m, m] in [0, 1] on the same square.
    """

    image: Picture
    coverage: Picture

    @cached_property
    def levelled(self) -> Array:
        """The picture with its histogram made flat."""
        return equalise_histogram(self.image)


@dataclass(frozen=True)
class Registration:
    """What registering one image gave.

    Attributes:
        deformation: from the image to the example.
        status: the rung that was kept; below the one asked for, registration failed.
        local: local correlation of the two pictures, [0, 1], at the rung kept.
        correlation: plain correlation of the two levelled pictures at the rung kept.
        gain: local correlation above that of the static rung.
    """

    deformation: Deformation
    status: RegistrationStatus
    local: float
    correlation: float
    gain: float


def equalise_histogram(image: Picture) -> Array:
    """Histogram equalisation: float64 in [0, 1], 256 levels."""
    from skimage.exposure import equalize_hist

    flat = equalize_hist(image, nbins=256)  # type: ignore[no-untyped-call]
    return np.asarray(flat, dtype=np.float64)


def register_example(
    image: Picture, example: Example, rung: RegistrationStatus, settings: RegistrationSettings
) -> Registration:
    """Bring `example` onto `image` by `rung`, or by the highest rung below that works.

    A rung is kept where it leaves the pictures locally as alike as the rung below or more, and its
    map is plausible (our choice).

    Args:
        image: float32 [n, n] on the unit square.
        example: on the same grid.
        rung: the rung asked for.
        settings: see `RegistrationSettings`.
    """
    fixed, moving = equalise_histogram(image), example.levelled
    judge = SimilarityScorer(fixed, moving)
    best: Deformation = Deformation()
    status: RegistrationStatus = "static"
    static = local = judge(best)
    if rung != "static":
        found = register_affine(fixed, moving, settings)
        if found is not None and is_plausible_deformation(found, settings):
            score = judge(found)
            if score >= local:
                best, status, local = found, "affine", score
    if rung == "deformable":
        for stiffer in (1, 10):
            firm = settings.model_copy(update={"bending": stiffer * settings.bending})
            found = register_deformable(fixed, moving, best, firm)
            score = judge(found)
            if score >= local and is_plausible_deformation(found, settings):
                best, status, local = found, "deformable", score
                break
    correlation = judge.correlation(best)
    if correlation < settings.min_correlation:
        best, status, local = Deformation(), "static", static
    return Registration(best, status, local, correlation, local - static)


class SimilarityScorer:
    """Compares rungs on pictures a quarter of the size: what differs is anatomy, not texture.

    Args:
        fixed: float64 [n, n], levelled.
        moving: float64 [n, n], levelled.
    """

    def __init__(self, fixed: Array, moving: Array) -> None:
        self.size = max(16, len(fixed) // 4)
        self.fixed, self.moving = (downsample_picture(picture, self.size) for picture in (fixed, moving))
        self.local = LocalCorrelation(self.fixed, radius=3)

    def moved(self, deformation: Deformation) -> Array:
        """The moving picture as the fixed one would see it."""
        return interpolate_bilinear(self.moving, deformation.grid(self.size) * self.size - 0.5)[0]

    def __call__(self, deformation: Deformation) -> float:
        """Local correlation, [0, 1]."""
        return self.local(self.moved(deformation))[0]

    def correlation(self, deformation: Deformation) -> float:
        """Plain correlation of the two pictures, 0 where one of them is flat."""
        one, two = (a - a.mean() for a in (self.fixed, self.moved(deformation)))
        size = float(np.sqrt((one**2).sum() * (two**2).sum()))
        return float((one * two).sum()) / size if size > 0 else 0.0


def is_plausible_deformation(deformation: Deformation, settings: RegistrationSettings) -> bool:
    """Whether a map neither stretches beyond belief, nor leaves the image, nor folds over."""
    low, high = deformation.scales()
    if low * settings.max_scale < 1 or high > settings.max_scale:
        return False
    if np.linalg.det(deformation.matrix) <= 0:
        return False
    at = deformation.affine(pixel_centres(32))
    inside = ((at > 0) & (at < 1)).all(axis=0).mean()
    return bool(inside > 0.4 and deformation.folding_fraction(64) <= settings.max_folding)
