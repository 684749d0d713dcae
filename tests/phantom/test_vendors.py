"""Five vendors, five ways to store an image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medprior.phantom.vendors import CR_SOP_CLASS, DX_SOP_CLASS, VENDORS, sample_vendor


def test_vendors_cover_what_files_in_the_wild_do():
    assert {vendor.bits for vendor in VENDORS} >= {12, 14, 16}
    assert {vendor.inverted for vendor in VENDORS} == {True, False}
    assert {vendor.voi for vendor in VENDORS} == {"LINEAR", "SIGMOID", "TABLE"}
    assert {vendor.modality for vendor in VENDORS} == {"CR", "DX"}
    assert len({vendor.syntax for vendor in VENDORS}) == 5
    assert any(vendor.padding is not None for vendor in VENDORS if vendor.inverted)
    assert any(vendor.slope not in (None, 1.0) for vendor in VENDORS)


@pytest.mark.parametrize(("bits", "largest"), [(12, 4095), (14, 16383), (16, 65535)])
def test_the_largest_value_fills_the_stored_bits(bits, largest):
    assert replace(VENDORS[0], bits=bits).max_stored_value == largest


def test_the_modality_is_that_of_the_class():
    assert replace(VENDORS[0], sop_class=CR_SOP_CLASS).modality == "CR"
    assert replace(VENDORS[0], sop_class=DX_SOP_CLASS).modality == "DX"


def test_every_vendor_is_drawn():
    rng = np.random.default_rng(0)
    names = [sample_vendor(rng).name for _ in range(500)]
    assert all(70 < names.count(vendor.name) < 130 for vendor in VENDORS)
