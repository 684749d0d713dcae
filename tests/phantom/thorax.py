"""A drawn anatomy for tests."""

from __future__ import annotations

import numpy as np

from medprior.phantom.anatomy import sample_anatomy, sample_patient


def anatomy_of(seed):
    """An upright patient's anatomy."""
    rng = np.random.default_rng(seed)
    return sample_anatomy(sample_patient(rng), False, rng)
