import numpy as np
import pytest
from scipy import ndimage

from medprior.priors.correction import fit_corrector
from medprior.priors.doubtful_images import list_doubt_reasons
from medprior.priors.fusion import compute_disagreement, compute_local_match, fuse_label_maps
from medprior.priors.refinement import blend_with_attention, select_top_mass
from medprior.priors.registration import Example, register_example
from medprior.priors.settings import PriorSettings, RefineSettings, RegistrationSettings
from medprior.priors.soft_maps import soften_maps
from medprior.priors.transfer import LabelTransfer

from .conftest import SIZE, noise, thorax


def test_fused_is_the_weighted_mean():
    rng = np.random.default_rng(0)
    layers = rng.random((3, 2, 8, 8)).astype(np.float32)
    matches = [rng.random((8, 8)) for _ in range(3)]
    twin = np.zeros((2, 8, 8))
    for y in range(8):
        for x in range(8):
            weight = np.array([m[y, x] ** 2 + 1e-3 for m in matches])
            twin[:, y, x] = (layers[:, :, y, x] * weight[:, None]).sum(0) / weight.sum()
    np.testing.assert_allclose(fuse_label_maps(layers, matches), twin, rtol=1e-5)
    np.testing.assert_array_equal(fuse_label_maps(layers[:1], []), layers[0])


def test_an_example_that_matches_here_speaks_louder_here():
    picture, masks = thorax(3)
    coverage = np.stack([m.astype(np.float32) for m in masks.values()])
    good = Example(picture, coverage)
    bad = Example(noise(), coverage)
    settings = RegistrationSettings()
    well, ill = (
        compute_local_match(picture, e, register_example(picture, e, "static", settings), SIZE) for e in (good, bad)
    )
    assert well.shape == (SIZE, SIZE)
    assert well[40:90, 30:100].mean() > 0.95
    assert ill[40:90, 30:100].mean() < 0.3


def test_disagreement():
    one = np.zeros((1, 1, 8, 8), np.float32)
    one[..., :4] = 1
    assert compute_disagreement(one) == 0
    assert compute_disagreement(np.concatenate([one, one])) == 0
    assert compute_disagreement(np.concatenate([one, one, np.roll(one, 2, -1)])) == pytest.approx(1 / 6)


def test_the_corrector_learns_a_border_that_is_always_off():
    def carry(picture, others):
        del others
        seed = next(s for s in range(9) if np.array_equal(picture, thorax(s)[0]))
        true = thorax(seed)[1]["left_lung"]
        return ndimage.binary_erosion(true, iterations=3)[None].astype(np.float32)

    examples = [Example(thorax(s)[0], thorax(s)[1]["left_lung"][None].astype(np.float32)) for s in range(4)]
    assert fit_corrector(examples[:2], carry, 0) is None
    corrector = fit_corrector(examples, carry, 0)
    for seed in (5, 6):
        picture, masks = thorax(seed)
        truth, given = masks["left_lung"], carry(picture, [])
        better = corrector(picture, given)[0] >= 0.5
        overlap = [2 * (m & truth).sum() / (m.sum() + truth.sum()) for m in (given[0] >= 0.5, better)]
        assert overlap[0] < 0.87
        assert overlap[1] > 0.94
    empty = np.zeros((1, SIZE, SIZE), np.float32)
    np.testing.assert_array_equal(corrector(thorax(5)[0], empty), empty)


def test_reasons_to_doubt():
    names = ("heart", "left_lung", "right_lung")
    masks = thorax(0)[1]
    maps = np.stack([masks[name].astype(np.float32) for name in names])
    fine = {"trust": 1.0, "disagreement": 0.02}
    assert list_doubt_reasons(fine, maps, names) == []
    assert list_doubt_reasons({"trust": 0.5, "disagreement": 0.3}, maps, names) == [
        "registration",
        "disagreement",
    ]
    half = maps.copy()
    half[1, :75] = 0
    assert "lung_ratio" in list_doubt_reasons(fine, half, names)
    wide = maps.copy()
    wide[0, 90, 5:120] = 1
    assert list_doubt_reasons(fine, wide, names) == ["heart_ratio"]
    assert list_doubt_reasons(fine, np.zeros_like(maps), names) == ["empty"]


def test_blend_moves_only_what_agrees():
    maps = np.zeros((1, 2, 16, 16), np.float32)
    maps[0, 0, 4:12, 4:12], maps[0, 1, :4, :4] = 1, 1
    attention = np.full((1, 2, 16, 16), 1e-9, np.float32)
    attention[0, 0, 4:12, 5:13], attention[0, 1, 10:, 10:] = 1, 1
    after, agreed = blend_with_attention(maps, attention, RefineSettings(mass=0.99))
    assert agreed.tolist() == [[True, False]]
    np.testing.assert_array_equal(after[0, 1], maps[0, 1])
    np.testing.assert_allclose(after[0, 0, 5, [4, 5, 12, 13]], [0.7, 1, 0.3, 0], atol=1e-6)
    assert select_top_mass(attention, 0.99)[0, 0].sum() == 64


def test_what_several_say_is_blurred_half_as_much():
    picture, masks = thorax(0)
    example = Example(picture, np.stack([m.astype(np.float32) for m in masks.values()]))
    settings = PriorSettings(registration=RegistrationSettings(size=64, iterations=2))
    for count, softness in ((1, 2.5), (2, 1.25)):
        transfer = LabelTransfer((example,) * count, "affine", settings, tuple(masks), count)
        coverage, _, _ = transfer.transfer_labels(picture, transfer.examples)
        maps, (record,) = transfer(picture[None])
        assert record["heard"] == count
        np.testing.assert_array_equal(maps[0], np.rint(soften_maps(coverage, softness) * 255))
