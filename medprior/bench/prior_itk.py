"""Peer of the prior bench: affine and B-spline registration by SimpleITK alone."""
# SimpleITK has no type stubs.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.priors.mutual_information import ITK_SIDE_UNITS, convert_to_itk, register_affine, use_single_itk_thread
from medprior.priors.registration import Example, equalise_histogram
from medprior.priors.settings import RegistrationSettings

Picture = NDArray[np.float32]
MESH, RADIUS, MAX_ITERATIONS = 10, 4, 20


def transfer_with_itk(image: Picture, example: Example) -> Picture:
    """Structures of `example` on `image`, registered by SimpleITK alone.

    Mattes affine, then a 10 x 10 B-spline on ANTS neighbourhood correlation of radius 4 by L-BFGS-B
    at half and full size. Each level is a separate registration, because within one registration
    ITK's L-BFGS-B restarts at every level.

    Shape:
        image: float32 [n, n]; float32 [K, n, n] back.
    """
    import SimpleITK as sitk

    fixed, moving = equalise_histogram(image), example.equalised
    affine = register_affine(fixed, moving, RegistrationSettings())
    # Deformations are (y, x), ITK is (x, y).
    start = sitk.AffineTransform(2)
    start.SetCenter((ITK_SIDE_UNITS / 2 - 0.5,) * 2)
    if affine is not None:
        start.SetMatrix(affine.matrix[::-1, ::-1].ravel().tolist())
        start.SetTranslation((affine.shift[::-1] * ITK_SIDE_UNITS).tolist())
    target, source = convert_to_itk(fixed), convert_to_itk(moving)
    spline = sitk.BSplineTransformInitializer(target, [MESH, MESH], order=3)
    with use_single_itk_thread():
        for factor in (2, 1):
            pair = (shrink_itk_image(picture, factor) for picture in (target, source))
            optimise_level(spline, start, *pair)
    both = sitk.CompositeTransform(2)
    both.AddTransform(start)
    both.AddTransform(spline)
    layers = [
        sitk.Resample(convert_to_itk(layer.astype(np.float64)), target, both, sitk.sitkLinear, 0.0)
        for layer in example.coverage
    ]
    return np.stack([sitk.GetArrayFromImage(layer) for layer in layers]).astype(np.float32)


def shrink_itk_image(picture: Any, factor: int) -> Any:
    """An ITK image smoothed and reduced by `factor`."""
    import SimpleITK as sitk

    if factor == 1:
        return picture
    smooth = sitk.DiscreteGaussian(picture, variance=picture.GetSpacing()[0] ** 2)
    return sitk.BinShrink(smooth, [factor, factor])


def optimise_level(spline: Any, start: Any, fixed: Any, moving: Any) -> None:
    """Optimise `spline` in place at one resolution."""
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsANTSNeighborhoodCorrelation(RADIUS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMovingInitialTransform(start)
    method.SetInitialTransform(spline, inPlace=True)
    method.SetOptimizerAsLBFGSB(
        gradientConvergenceTolerance=1e-5,
        numberOfIterations=MAX_ITERATIONS,
        maximumNumberOfCorrections=5,
        maximumNumberOfFunctionEvaluations=2 * MAX_ITERATIONS,
        costFunctionConvergenceFactor=1e5,
    )
    method.Execute(fixed, moving)
