"""Maps the reject codes of radiographs to HTTP statuses; the codes themselves stay the same."""

from __future__ import annotations

from medprior.errors import Rejected
from medprior.pages.problem import Problem

# The file is broken, or is not an image.
BROKEN_FILE_CODES = {
    "empty", "not_dicom", "not_an_image", "malformed", "truncated", "too_deep",
    "too_many_elements", "no_pixels", "pixel_length", "codestream", "codestream_mismatch",
    "decode_failed", "bits_inconsistent",
}  # fmt: skip
# The file may be whole, but its encoding is not supported.
UNSUPPORTED_CODES = {"syntax_unsupported", "syntax_unknown", "bits_unsupported"}
DEFAULT_STATUS = 422  # a whole file that the policy or the limits refuse


def map_reject_status(code: str) -> int:
    """The HTTP status of a reject code."""
    if code == "too_large":
        return 413
    if code in UNSUPPORTED_CODES:
        return 415
    return 400 if code in BROKEN_FILE_CODES else DEFAULT_STATUS


def build_rejection_problem(error: Rejected) -> Problem:
    """A refused radiograph as an HTTP error."""
    return Problem(map_reject_status(error.code), error.code, error.what)
