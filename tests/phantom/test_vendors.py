"""Five vendors, five ways to store an image."""

from __future__ import annotations

from medprior.phantom.vendors import VENDORS


def test_vendors_cover_what_files_in_the_wild_do():
    assert {vendor.bits for vendor in VENDORS} >= {12, 14, 16}
    assert {vendor.inverted for vendor in VENDORS} == {True, False}
    assert {vendor.voi for vendor in VENDORS} == {"LINEAR", "SIGMOID", "TABLE"}
    assert {vendor.modality for vendor in VENDORS} == {"CR", "DX"}
    assert len({vendor.syntax for vendor in VENDORS}) == 5
    assert any(vendor.padding is not None for vendor in VENDORS if vendor.inverted)
    assert any(vendor.slope not in (None, 1.0) for vendor in VENDORS)
