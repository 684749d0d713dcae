"""Which sizes of pictures are usable."""

import pytest
from pydantic import ValidationError

from medprior.dicom.policy import Policy


@pytest.mark.parametrize(
    ("shape", "accepted"),
    [((4, 8), True), ((8, 4), True), ((8, 5), True), ((3, 8), False), ((8, 3), False),
     ((4, 9), False), ((9, 4), False), ((7, 6), False)],
)  # fmt: skip
def test_sides_and_pixels_may_reach_their_limits_in_either_direction(shape, accepted):
    assert Policy(min_side=4, max_side=8, max_pixels=40).accepts_shape(*shape) == accepted


def test_the_default_is_safe_and_unknown_words_are_refused():
    policy = Policy()
    assert (policy.for_processing, policy.other_body_parts, policy.secondary_capture) == (False, False, "radiograph")
    assert policy.accepts_shape(64, 64)
    assert not policy.accepts_shape(63, 64)
    with pytest.raises(ValidationError):
        Policy(secondary_capture="all")
