"""Box, flip and patch grid of views in their source image, for views, priors, masks and targets.

All coordinates are normalised to the source image: (0, 0) is its upper left corner, (1, 1) its
lower right one, whatever its aspect. A view may reach outside, where it is background (0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Views:
    """V views, each cut from one source image.

    Shape:
        box: float64 [V, 4], rows (y0, x0, height, width) in source units (1 = the whole side).
        flip: bool [V], the view is mirrored left-right after the cut.
        grid: (rows, columns) of patch tokens in every view.
    """

    box: Array
    flip: NDArray[np.bool_]
    grid: tuple[int, int]

    def __len__(self) -> int:
        return len(self.box)

    def take(self, index: NDArray[np.intp] | slice) -> Views:
        """The views at `index`, in that order."""
        return Views(self.box[index], self.flip[index], self.grid)

    def zoom(self, factor: Array | float, shift: Array) -> Views:
        """The views, scaled by `factor` about their centres, then moved down and right by shares of their sides.

        Args:
            factor: a number, or [V, 1] or [V, 2] for height and width.
            shift: [2] or [V, 2].
        """
        side = self.box[:, 2:]
        corner = self.box[:, :2] + (1 - factor) * side / 2 + shift * side
        return Views(np.concatenate([corner, side * factor], axis=1), self.flip, self.grid)

    def affine(self) -> Array:
        """The map from view to source coordinates for `torch.nn.functional.affine_grid`.

        Returns:
            float64 [V, 2, 3] in the [-1, 1] convention with `align_corners=False`, rows (x, y).
        """
        y0, x0, height, width = self.box.T
        theta = np.zeros((len(self), 2, 3))
        theta[:, 0, 0] = np.where(self.flip, -width, width)
        theta[:, 0, 2] = 2 * x0 + width - 1
        theta[:, 1, 1] = height
        theta[:, 1, 2] = 2 * y0 + height - 1
        return theta

    def inverse_affine(self) -> Array:
        """The map from source to view coordinates, same convention as `affine`.

        Sampling a map of the view with it resamples the map onto the source image.
        """
        theta = self.affine()
        inverse = np.zeros_like(theta)
        for axis in (0, 1):
            inverse[:, axis, axis] = 1 / theta[:, axis, axis]
            inverse[:, axis, 2] = -theta[:, axis, 2] / theta[:, axis, axis]
        return inverse

    def patch_centres(self) -> Array:
        """Centres of the patches in source coordinates.

        Returns:
            float64 [V, rows * columns, 2], (y, x) in raster order of the (possibly mirrored) view.
        """
        rows, columns = self.grid
        y = (np.arange(rows) + 0.5) / rows
        x = (np.arange(columns) + 0.5) / columns
        x = np.where(self.flip[:, None], 1 - x, x)
        ys = self.box[:, 0, None] + self.box[:, 2, None] * y
        xs = self.box[:, 1, None] + self.box[:, 3, None] * x
        centres = np.empty((len(self), rows, columns, 2))
        centres[..., 0] = ys[:, :, None]
        centres[..., 1] = xs[:, None, :]
        return centres.reshape(len(self), rows * columns, 2)


def create_whole_image_views(aspect: Array, grid: tuple[int, int]) -> Views:
    """Square views that show each source image whole, centred and undistorted.

    Args:
        aspect: float [V], physical width / height of each source image.
        grid: patch grid of the views.

    Returns:
        Views whose box extends beyond the shorter side.
    """
    aspect = np.asarray(aspect, dtype=np.float64)
    height = np.maximum(aspect, 1.0)
    width = np.maximum(1.0 / aspect, 1.0)
    box = np.stack([(1 - height) / 2, (1 - width) / 2, height, width], axis=1)
    return Views(box, np.zeros(len(aspect), dtype=bool), grid)


QUARTER_SHIFTS = ((0.25, 0.25), (0.25, -0.25), (-0.25, 0.25), (-0.25, -0.25))
"""Down and right, in patches; they halve the grid that patches leave in a map (our choice)."""


@dataclass(frozen=True)
class AttentionViews:
    """Whole-image views over which attention is averaged.

    Attributes:
        sizes: sides of the views, in sides of the view that the backbone learned from; a larger view has more patches.
        shifted: four views of each size, shifted by `QUARTER_SHIFTS`; else one.
    """

    sizes: tuple[float, ...] = (1.0,)
    shifted: bool = True

    @property
    def shifts(self) -> tuple[tuple[float, float], ...]:
        """Shifts of the views of one size, in patches."""
        return QUARTER_SHIFTS if self.shifted else ((0.0, 0.0),)

    @property
    def count(self) -> int:
        """Views of an image."""
        return len(self.sizes) * len(self.shifts)


PLAIN_VIEW = AttentionViews(shifted=False)
"""The image once, at the size of the backbone's view."""


def find_mask_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The smallest box of rows and columns that holds a mask [rows, columns] which is not empty."""
    rows, cols = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)
