import shutil

import numpy as np
import pandas as pd
import pytest

from medprior.errors import InputMissing
from medprior.priors import SpatialPrior
from medprior.provenance import write_config


def test_an_image_without_a_match_keeps_the_static_maps_and_no_trust(registered):
    prior, _ = registered
    row = prior.table.set_index("image_id").loc["noise"]
    assert row.status == "static"
    np.testing.assert_allclose(prior.maps_for("noise"), prior.maps, atol=0.5 / 255 + 1e-6)
    assert prior.trust("noise") == 0
    assert prior.trust("t003") == 1
    np.testing.assert_array_equal(prior.maps_for("unknown"), prior.maps)
    assert prior.trust("unknown") == 0


def test_batch_is_the_single_maps(registered):
    prior, _ = registered
    batch = prior.batch(["t004", "unknown", "t001"])
    assert batch.shape == (3, 3, 128, 128)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch[2], prior.maps_for("t001"))
    assert np.abs(batch[0] - batch[2]).max() > 0.2


def test_saved_again_it_is_the_same(registered, tmp_path):
    prior, out = registered
    prior.save(tmp_path)
    shutil.copy(out / "config.json", tmp_path)
    back = SpatialPrior.load(tmp_path)
    assert (back.names, back.method, back.source, back.excluded, back.facts) == (
        prior.names, prior.method, prior.source, prior.excluded, prior.facts)  # fmt: skip
    np.testing.assert_array_equal(back.maps, prior.maps)
    np.testing.assert_array_equal(back.per_image, prior.per_image)
    pd.testing.assert_frame_equal(back.table, prior.table)
    (tmp_path / "per_image.npy").unlink()
    with pytest.raises(InputMissing, match="missing or broken"):
        SpatialPrior.load(tmp_path)


def two_images():
    """Per-image maps of `b` and `a`, in that order."""
    per_image = np.zeros((2, 1, 2, 2), np.uint8)
    per_image[0], per_image[1, 0, 0] = 255, 51
    table = pd.DataFrame({"image_id": ["b", "a"], "trust": [0.5, 1.0]})
    common = np.full((1, 2, 2), 0.25, np.float32)
    return SpatialPrior(common, ("heart",), "registered", "annotation", per_image=per_image, table=table)


def test_maps_and_trust_are_looked_up_by_name():
    prior = two_images()
    np.testing.assert_array_equal(prior.maps_for("b"), np.ones((1, 2, 2)))
    np.testing.assert_allclose(prior.maps_for("a"), [[[0.2, 0.2], [0, 0]]])
    assert (prior.maps_for("c") == 0.25).all()
    assert [prior.trust(name) for name in "abc"] == [1.0, 0.5, 0.0]
    shared = SpatialPrior(prior.maps, ("heart",), "static", "annotation")
    assert shared.trust("c") == 1
    assert (shared.maps_for("b") == 0.25).all()


def test_facts_come_back_without_the_fields(tmp_path):
    prior = two_images()
    prior.facts["quality"] = {"n": 3}
    prior.save(tmp_path)
    write_config(tmp_path, "prior", {})
    loaded = SpatialPrior.load(tmp_path)
    assert loaded.facts == {"quality": {"n": 3}}
    assert [loaded.trust(name) for name in "ab"] == [1.0, 0.5]
    shared = SpatialPrior(prior.maps, ("heart",), "static", "annotation", frozenset({"z", "y"}))
    shared.save(tmp_path)
    again = SpatialPrior.load(tmp_path)
    assert again.table is None
    assert again.per_image is None
    assert again.excluded == {"y", "z"}


@pytest.mark.parametrize(
    ("maps", "names"),
    [
        (np.ones((1, 2, 2), np.uint8), ["heart"]),
        (np.ones((2, 2), np.float32), ["heart", "lungs"]),
        (np.ones((2, 2, 2), np.float32), ["heart"]),
    ],
)
def test_arrays_of_another_form_are_broken(tmp_path, maps, names):
    prior = two_images()
    prior.save(tmp_path)
    write_config(tmp_path, "prior", {})
    np.savez(tmp_path / "prior.npz", maps=maps, names=np.array(names))
    with pytest.raises(InputMissing, match="missing or broken"):
        SpatialPrior.load(tmp_path)
