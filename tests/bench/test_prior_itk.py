import numpy as np

from medprior.bench.prior_itk import shrink_itk_image, transfer_with_itk
from medprior.priors.mutual_information import ITK_SIDE_UNITS, convert_to_itk
from medprior.priors.registration import Example


def test_a_shifted_picture_takes_its_structures_along():
    rows, columns = np.mgrid[:64, :64]
    picture = (0.5 + 0.4 * np.sin(rows / 7) * np.cos(columns / 9) + 0.1 * (rows > 40)).astype(np.float32)
    disc = (np.hypot(rows - 30, columns - 36) < 10).astype(np.float32)
    moved = transfer_with_itk(np.roll(picture, (2, 3), (0, 1)), Example(picture, disc[None]))
    assert moved.shape == (1, 64, 64)
    assert moved.dtype == np.float32
    centre = [float((moved[0] * axis).sum() / moved[0].sum()) for axis in (rows, columns)]
    np.testing.assert_allclose(centre, [32, 39], atol=0.75)


def test_shrinking_halves_the_grid_and_keeps_the_place():
    picture = convert_to_itk(np.arange(64.0).reshape(8, 8))
    assert shrink_itk_image(picture, 1) is picture
    half = shrink_itk_image(picture, 2)
    assert half.GetSize() == (4, 4)
    assert half.GetSpacing()[0] * 4 == ITK_SIDE_UNITS
    corner = [half.TransformIndexToPhysicalPoint(index) for index in ((0, 0), (3, 3))]
    assert np.add(*corner).tolist() == [ITK_SIDE_UNITS - 1] * 2
