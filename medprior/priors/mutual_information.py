"""Affine registration with SimpleITK by Mattes' mutual information, coarse to fine."""
# SimpleITK has no type stubs.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medprior.priors.deformation import Deformation
from medprior.priors.settings import RegistrationSettings

if TYPE_CHECKING:
    import SimpleITK

Array = NDArray[np.float64]
ITK_SIDE_UNITS = 128.0
"""Width of the unit square inside ITK, to suit its default step lengths."""


def convert_to_itk(picture: Array) -> SimpleITK.Image:
    """A square picture as an ITK image that covers the unit square."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.asarray(picture, dtype=np.float32))
    step = ITK_SIDE_UNITS / len(picture)
    image.SetSpacing((step, step))
    image.SetOrigin(((step - 1) / 2, (step - 1) / 2))
    return image


@contextmanager
def use_single_itk_thread() -> Iterator[None]:
    """Limit ITK to one thread: sums over threads differ in their last digits.

    `SetNumberOfThreads` of the registration alone does not suffice, by measurement.
    """
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def register_affine(fixed: Array, moving: Array, settings: RegistrationSettings) -> Deformation | None:
    """The affine map that aligns `moving` with `fixed`, or None where ITK finds no overlap.

    It is deterministic: all pixels are used, on one thread.

    Shape:
        fixed, moving: float [n, n].
    """
    import SimpleITK as sitk

    transform = sitk.AffineTransform(2)
    transform.SetCenter((ITK_SIDE_UNITS / 2 - 0.5, ITK_SIDE_UNITS / 2 - 0.5))
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(settings.bins)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=settings.affine_iterations
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel((4, 2, 1))
    method.SetSmoothingSigmasPerLevel((2, 1, 0))
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(transform, inPlace=True)
    try:
        with use_single_itk_thread():
            method.Execute(convert_to_itk(fixed), convert_to_itk(moving))
    except RuntimeError:
        return None
    # ITK orders coordinates as (x, y).
    matrix = np.array(transform.GetMatrix()).reshape(2, 2)[::-1, ::-1]
    return Deformation(matrix.copy(), np.array(transform.GetTranslation())[::-1] / ITK_SIDE_UNITS)
