import numpy as np

from medprior.priors.registration import Example
from medprior.priors.settings import PriorSettings, RegistrationSettings
from medprior.priors.soft_maps import soften_maps
from medprior.priors.transfer import LabelTransfer

from .conftest import SIZE, noise, thorax


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


def small_transfer(transformation, *examples, annotated=1):
    """Transfer of the heart at 64 pixels with few iterations."""
    settings = PriorSettings.from_values({
        "size": 32, "softness": 0, "registration": {"size": 64, "iterations": 4, "mesh": 6, "shrink": [4, 2]},
    })  # fmt: skip
    return LabelTransfer(tuple(examples), transformation, settings, ("heart",), annotated)


def small(seed):
    """A thorax at 64 pixels and the coverage by its heart, [1, 32, 32]."""
    picture, masks = thorax(seed)
    means = [
        array.astype(np.float32).reshape(n, SIZE // n, n, SIZE // n).mean((1, 3))
        for array, n in ((picture, 64), (masks["heart"], 32))
    ]
    return Example(means[0], means[1][None])


def test_trust_follows_from_what_was_asked_for_and_what_was_kept():
    own, other = small(0), small(1).image
    for transformation, picture, status, trust in [
        ("static", other, "static", 0.0), ("affine", other, "affine", 1.0),
        ("deformable", other, "deformable", 1.0), ("affine", noise()[:64, :64], "static", 0.0),
    ]:  # fmt: skip
        maps, (record,) = small_transfer(transformation, own)(picture[None])
        assert (record["status"], record["trust"], record["heard"]) == (status, trust, 1)
        assert maps.shape == (1, 1, 32, 32)
        assert record["doubt"] == ("" if trust == 1 else "registration")


def test_measures_have_six_decimals():
    transfer = small_transfer("affine", small(0), small(1), annotated=2)
    _, records = transfer(np.stack([small(seed).image for seed in (2, 3, 4)]))
    for name in ("local", "correlation", "gain", "disagreement"):
        values = np.array([record[name] for record in records])
        np.testing.assert_array_equal(values, np.round(values, 6))
        assert (values != np.round(values, 5)).any()


def test_maps_are_rounded_to_255():
    maps, _ = small_transfer("static", small(0))(small(1).image[None])
    np.testing.assert_array_equal(maps[0], np.rint(small(0).coverage * 255))
    assert maps.dtype == np.uint8
    assert maps.max() == 255


def test_an_intermediate_example_that_does_not_fit_is_not_heard():
    stranger = Example(noise()[:64, :64], np.ones((1, 32, 32), np.float32))
    picture = small(1).image[None]
    alone, (record,) = small_transfer("affine", small(0))(picture)
    with_stranger, (heard,) = small_transfer("affine", small(0), stranger)(picture)
    assert heard == record
    np.testing.assert_array_equal(with_stranger, alone)
    _, (both,) = small_transfer("affine", small(0), stranger, annotated=2)(picture)
    assert both["heard"] == 2
    assert both["status"] == "affine"  # of the annotated example that matches best


def test_doubt_halves_full_trust_alone():
    """An empty map is doubtful although the image was registered; trust of 0 stays 0."""
    blank = Example(small(0).image, np.zeros((1, 32, 32), np.float32))
    _, (record,) = small_transfer("affine", blank)(small(1).image[None])
    assert (record["status"], record["doubt"], record["trust"]) == ("affine", "empty", 0.5)
    _, (record,) = small_transfer("static", blank)(small(1).image[None])
    assert (record["doubt"], record["trust"]) == ("registration,empty", 0.0)
