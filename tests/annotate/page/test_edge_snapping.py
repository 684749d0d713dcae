"""Contours on the nearest edge, against edges that are known."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from medprior.annotate.page.drawing_session import DrawingSession
from medprior.annotate.page.edge_snapping import REACH, EdgeSnap, resample_ring, snap_contours
from medprior.annotate.page.mask_editing import trace_contours
from medprior.annotate.polygons import fill_polygons, parse_ring
from medprior.errors import MedpriorError
from medprior.phantom import render_phantom
from tests.annotate.page.clients import client_of, read_radiograph_bytes

SIZE = (400, 300)
CENTRE, RADII = np.array([150.0, 200.0]), np.array([80.0, 120.0])


def ellipse(scale=1.0, shift=(0.0, 0.0), count=40):
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points = CENTRE + shift + scale * RADII * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return tuple((float(x), float(y)) for x, y in points)


def picture(inside, outside, noise=0.03):
    mask = fill_polygons([np.array(ellipse(count=400))], SIZE)
    grey = ndimage.gaussian_filter(np.where(mask, inside, outside), 2)
    return (grey + noise * np.random.default_rng(0).standard_normal(SIZE)).astype(np.float32)


def distance_to_edge(contour, mask):
    """Mean distance in pixels of a contour from the border of a mask."""
    border = mask ^ ndimage.binary_erosion(mask)
    distance = ndimage.distance_transform_edt(~border)
    points = resample_ring(np.array(contour))
    return float(ndimage.map_coordinates(distance, points.T[::-1] - 0.5, order=1, mode="nearest").mean())


@pytest.mark.parametrize(("inside", "outside"), [(0.2, 0.7), (0.8, 0.4)])
@pytest.mark.parametrize(("scale", "shift"), [(0.94, (0, 0)), (1.06, (0, 0)), (1.0, (5, -6))])
def test_a_contour_near_an_edge_comes_to_lie_on_it(inside, outside, scale, shift):
    mask = fill_polygons([np.array(ellipse(count=400))], SIZE)
    contour = ellipse(scale, shift)
    (snapped,) = snap_contours(picture(inside, outside), (contour,))
    assert distance_to_edge(contour, mask) > 2.5
    assert distance_to_edge(snapped, mask) < 1.3
    assert len(snapped) < 120


def test_a_contour_moves_no_farther_than_its_reach_and_stays_without_an_edge():
    mask = fill_polygons([np.array(ellipse(count=400))], SIZE)
    far = ellipse(0.5)
    (snapped,) = snap_contours(picture(0.2, 0.7), (far,))
    own = fill_polygons([np.array(far)], SIZE)
    assert distance_to_edge(snapped, own) <= REACH * max(SIZE)
    assert distance_to_edge(snapped, mask) > 20
    (kept,) = snap_contours(np.full(SIZE, 0.5, np.float32), (far,))
    assert distance_to_edge(kept, own) < 1.0


def test_several_parts_are_snapped_one_by_one_and_invalid_ones_refused():
    parts = (ellipse(0.95), ellipse(1.05))
    first, second = snap_contours(picture(0.2, 0.7), parts)
    assert [first, second] == [snap_contours(picture(0.2, 0.7), (part,))[0] for part in parts]
    with pytest.raises(MedpriorError, match="not a closed contour"):
        snap_contours(picture(0.2, 0.7), (((1.0, 2.0), (3.0, 4.0)),))
    with pytest.raises(ValidationError):
        EdgeSnap(picture="p", contours=())


@pytest.mark.parametrize("name", ["right_lung", "left_lung"])
def test_a_rough_contour_of_a_phantoms_lung_comes_nearer_to_its_border(name):
    phantom = render_phantom(3, size=512)
    mask = phantom.masks[name]
    rough = ndimage.binary_erosion(mask, iterations=7)
    (contour, *_) = trace_contours(rough, (512, 512))
    (snapped,) = snap_contours(phantom.pixels, (tuple(contour),))
    assert distance_to_edge(snapped, mask) < 0.6 * distance_to_edge(contour, mask)


def test_the_page_snaps_contours_of_its_image(tmp_path, unmasked_cohort):
    client = client_of(DrawingSession(tmp_path / "out", unmasked_cohort, read_radiograph_bytes))
    contour = ((20.0, 20.0), (50.0, 20.0), (50.0, 70.0), (20.0, 70.0))
    answer = client.post("/api/snap", json={"picture": "i1", "contours": [contour]})
    assert answer.json() == {"contours": [[list(p) for p in part] for part in
                                          snap_contours(unmasked_cohort.pixels("i1"), (contour,))]}  # fmt: skip
    assert parse_ring(answer.json()["contours"][0], "contour").shape[1] == 2
    assert client.post("/api/snap", json={"picture": "i9", "contours": [contour]}).status_code == 422
