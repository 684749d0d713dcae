"""Checks of masks: errors for unusable ones, warnings for unusual ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medprior.errors import MedpriorError

Mask = NDArray[np.bool_]
RESERVED_MASK_NAMES = {"image", "preview", "annotation", "config"}
KNOWN_STRUCTURES = {"left_lung", "right_lung", "lungs", "heart"}


def check_masks(shape: tuple[int, int], masks: Mapping[str, Mask]) -> tuple[str, ...]:
    """Check masks of an image, and return warnings.

    Any structure name is allowed; the checks of lungs and heart assume the display convention that
    the patient's left is on the right of the image.

    Args:
        shape: rows and columns of the image.
        masks: structure -> bool [rows, cols].

    Raises:
        MedpriorError: no mask, an invalid name, a different size, an empty or full mask, or left
            and right lung swapped.
    """
    if not masks:
        raise MedpriorError("no mask was given", where="annotation", fix="give at least one structure's mask")
    for name, mask in masks.items():
        check_structure_name(name)
        check_mask(name, mask, shape)
    check_lung_sides(masks)
    return tuple(list_mask_warnings(masks))


def check_structure_name(name: str) -> None:
    """Raise MedpriorError where a structure name is no valid file and column name."""
    is_valid = name.isidentifier() and name.isascii() and name == name.lower()
    if not is_valid or name in RESERVED_MASK_NAMES:
        raise MedpriorError(
            "not a structure's name",
            where=repr(name),
            expected="lower-case letters, digits and _, for example left_lung",
            fix="rename the structure",
        )


def check_mask(name: str, mask: Mask, shape: tuple[int, int]) -> None:
    """Raise MedpriorError where a mask has a different size, is empty or full."""
    if mask.shape != shape:
        raise MedpriorError(
            "the mask has another size than the picture",
            where=name,
            expected=f"{shape[0]} rows x {shape[1]} columns",
            found=f"{mask.shape[0]} rows x {mask.shape[1]} columns",
            fix="export the mask at the picture's own size, uncropped",
        )
    if not mask.any() or mask.all():
        state = "empty" if not mask.any() else "everywhere"
        raise MedpriorError(
            f"the mask is {state}",
            where=name,
            expected="the structure at 255 (or 1) and the rest at 0",
            fix="check the drawing and its export",
        )


def compute_mask_centre(mask: Mask) -> tuple[float, float]:
    """Row and column of a mask's centre, as fractions of the image size."""
    rows, columns = np.nonzero(mask)
    return float((rows.mean() + 0.5) / mask.shape[0]), float((columns.mean() + 0.5) / mask.shape[1])


def check_lung_sides(masks: Mapping[str, Mask]) -> None:
    """Raise MedpriorError where the left lung lies left of the right lung in the image."""
    if not {"left_lung", "right_lung"} <= set(masks):
        return
    left, right = compute_mask_centre(masks["left_lung"])[1], compute_mask_centre(masks["right_lung"])[1]
    if left <= right:
        raise MedpriorError(
            "left and right lung are swapped, or the picture is mirrored",
            where="left_lung, right_lung",
            expected="left_lung (the patient's left) on the picture's right",
            found=f"left_lung at {left:.0%} and right_lung at {right:.0%} of the width",
            fix="swap the two masks, or mirror the picture with all its masks",
        )


def list_mask_warnings(masks: Mapping[str, Mask]) -> list[str]:
    """Warnings about unknown names, unusual sizes, overlaps and positions."""
    warnings = []
    for name, mask in sorted(masks.items()):
        share = float(mask.mean())
        if name not in KNOWN_STRUCTURES:
            warnings.append(f"{name}: not one of {', '.join(sorted(KNOWN_STRUCTURES))}; used as it is")
        if share < 0.002 or (name in KNOWN_STRUCTURES and not 0.02 < share < 0.6):
            warnings.append(f"{name}: covers {share:.1%} of the picture")
    lungs = [masks[name] for name in ("left_lung", "right_lung") if name in masks]
    if len(lungs) == 2:
        overlap = float((lungs[0] & lungs[1]).sum() / min(lung.sum() for lung in lungs))
        if overlap > 0.1:
            warnings.append(f"left_lung and right_lung overlap by {overlap:.0%}")
    if "heart" in masks and lungs and compute_mask_centre(masks["heart"])[0] < compute_mask_centre(lungs[0])[0] - 0.1:
        warnings.append("heart: lies above the lung's centre")
    return warnings
