"""Corrections as a person makes them: points of a contour that lie far from the true border are dragged onto it."""

import numpy as np
from scipy import ndimage

from medprior.annotate.page.mask_editing import trace_contours
from medprior.annotate.polygons import fill_polygons

TOLERANCE = 0.015  # share of the longest side that a person lets pass


class TrueBorder:
    """The border of a true mask, to which points are compared."""

    def __init__(self, mask):
        self.shape = mask.shape
        border = mask ^ ndimage.binary_erosion(mask)
        self._distance, self._nearest = ndimage.distance_transform_edt(~border, return_indices=True)

    def _cell(self, point):
        x, y = point
        rows, cols = self.shape
        return min(rows - 1, max(0, int(y))), min(cols - 1, max(0, int(x)))

    def distance(self, point):
        """Distance of (x, y) from the border, pixels."""
        return float(self._distance[self._cell(point)])

    def nearest(self, point):
        """The point (x, y) of the border that is nearest to a point."""
        row, column = self._nearest[:, *self._cell(point)]
        return float(column) + 0.5, float(row) + 0.5

    def is_far(self, point):
        """Whether a person would correct the point."""
        return self.distance(point) > TOLERANCE * max(self.shape)


def correct_mask(start, truth):
    """A mask after its contours' far points were dragged, and how many were; a lost structure is drawn anew."""
    contours = trace_contours(start, truth.shape)
    if not contours:
        points = sum(len(contour) for contour in trace_contours(truth, truth.shape))
        return truth, points
    border = TrueBorder(truth)
    moved = sum(border.is_far(point) for contour in contours for point in contour)
    rings = [
        np.array([border.nearest(point) if border.is_far(point) else point for point in contour])
        for contour in contours
    ]
    return fill_polygons(rings, truth.shape), moved
