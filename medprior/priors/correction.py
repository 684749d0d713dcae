"""Corrective learning: classifiers that correct transferred masks near their borders.

Wrapper-based corrective learning (Wang et al. 2011): the structures of the other annotated images
are transferred to each annotated image, and a classifier learns the errors from its own masks. It
needs at least three annotated images; features and classifier are our choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medprior.dicom.display.resample import resize_pixels
from medprior.priors.registration import Example, equalise_histogram

Array = NDArray[np.float64]
Layers = NDArray[np.float32]
MIN_EXAMPLES = 3
BORDER_BAND_FRACTION = 0.09  # of the side, on both sides of the border
BLUR_SCALES_PX = (1, 2, 4, 8)  # pixels of a 128-pixel square
TransferFunction = Callable[[NDArray[np.float32], Sequence[Example]], Layers]


@dataclass(frozen=True)
class Corrector:
    """One classifier per structure; None where the annotations hold no training pixels."""

    classifiers: tuple[Any, ...]

    def __call__(self, picture: NDArray[np.float32], layers: Layers) -> Layers:
        """Corrected maps: float32 [K, s, s] in [0, 1] both; `picture` float32 [n, n]."""
        result = layers.copy()
        for classifier, layer in zip(self.classifiers, result, strict=True):
            if classifier is None or not (layer >= 0.5).any():
                continue
            values, band = compute_pixel_features(picture, layer)
            layer[band] = classifier.predict_proba(values[band])[:, 1]
        return result


def fit_corrector(examples: Sequence[Example], transfer: TransferFunction, seed: int) -> Corrector | None:
    """A corrector from annotated images; None where there are too few.

    Args:
        examples: the annotated images alone, coverage on the grid of their pictures.
        transfer: maps of some examples on a picture, float32 [K, s, s].
        seed: of the classifiers.
    """
    if len(examples) < MIN_EXAMPLES:
        return None
    transferred = [
        transfer(example.image, [other for other in examples if other is not example]) for example in examples
    ]
    count = len(examples[0].coverage)
    return Corrector(tuple(fit_structure_classifier(examples, transferred, k, seed) for k in range(count)))


def fit_structure_classifier(
    examples: Sequence[Example], transferred: Sequence[Layers], structure: int, seed: int
) -> Any:
    """The classifier of one structure, or None without two classes of pixels."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    values, truth = [], []
    for example, layers in zip(examples, transferred, strict=True):
        if (layers[structure] >= 0.5).any():
            features, band = compute_pixel_features(example.image, layers[structure])
            values.append(features[band])
            truth.append(resize_square(example.coverage[structure], len(band))[band] >= 0.5)
    if not values or len(np.unique(np.concatenate(truth))) < 2:
        return None
    classifier = HistGradientBoostingClassifier(  # type: ignore[no-untyped-call]
        max_iter=100, max_leaf_nodes=8, learning_rate=0.08, min_samples_leaf=50,
        early_stopping=False, random_state=seed,
    )  # fmt: skip
    return classifier.fit(np.concatenate(values), np.concatenate(truth))


def resize_square(square: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """A square picture or map at `size` pixels a side."""
    return square if len(square) == size else resize_pixels(square, size, size)


def compute_pixel_features(picture: NDArray[np.float32], layer: Layers) -> tuple[Array, NDArray[np.bool_]]:
    """Features of each pixel, float64 [s, s, F], and the band around the border, bool [s, s].

    `picture` float32 [n, n], `layer` float32 [s, s] in [0, 1] with at least one value >= 0.5.
    The map and its blurs, the signed distance to its border, the position relative to its centre,
    the equalised picture, and its blurs, details and gradients at four scales.
    """
    size = len(layer)
    level = equalise_histogram(resize_square(picture, size))
    inside = layer >= 0.5
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    rows, columns = np.nonzero(inside)
    y, x = np.mgrid[:size, :size] / size
    features: list[NDArray[Any]] = [
        layer,
        *(ndimage.gaussian_filter(layer, s * size / 128) for s in (2, 4)),
    ]
    features += [distance / size, y - rows.mean() / size, x - columns.mean() / size]
    features += [level, level - level[inside].mean()]
    for scale in BLUR_SCALES_PX:
        blurred = ndimage.gaussian_filter(level, scale * size / 128)
        features += [blurred, level - blurred]
        features += [ndimage.sobel(blurred, axis) for axis in (0, 1)]
    return np.stack(features, axis=-1).astype(np.float64), np.abs(distance) <= BORDER_BAND_FRACTION * size
