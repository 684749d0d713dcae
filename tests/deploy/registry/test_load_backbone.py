"""A backbone's attention through `load_model`, against the same network over a cohort."""

import numpy as np
import pytest
import torch

from medprior.cohort import Cohort, CohortWriter
from medprior.deploy import load_model
from medprior.deploy.service.dynamic_batching import DynamicBatcher
from medprior.errors import ConfigError, InputMissing
from medprior.networks.backbone import BACKBONE_FILE, load_backbone, save_weights
from medprior.networks.cohort_attention import compute_cohort_attention
from medprior.networks.factory import build_encoder
from medprior.networks.vit_settings import ViTSettings
from medprior.phantom import render_phantom
from medprior.provenance import write_config

HEADS = {"left_lung": 0, "heart": 2}


def write_backbone(folder, heads):
    """A backbone folder as of `medprior pretrain`, untrained."""
    torch.manual_seed(0)
    shape = ViTSettings(width=24, depth=2, heads=3, patch=8, registers=1, image_size=64)
    folder.mkdir()
    save_weights(folder / BACKBONE_FILE, build_encoder(shape))
    facts = {"network": shape.model_dump(), "heads": heads, "view_size": 64}
    write_config(folder, "pretrain", {}, inputs={}, outputs=(BACKBONE_FILE,), seed=0, facts=facts)
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return write_backbone(tmp_path_factory.mktemp("backbone") / "b", HEADS)


def test_a_backbone_predicts_its_attention_and_nothing_else(backbone):
    predictor = load_model(backbone)
    assert predictor.models == {}
    pixels = render_phantom(3, size=96).pixels
    prediction = predictor.predict_pixels(pixels)
    assert (prediction.findings, prediction.masks, prediction.cardiothoracic) == ({}, {}, None)
    assert set(prediction.attention) == set(HEADS)
    assert all(values.shape == pixels.shape for values in prediction.attention.values())
    assert not np.allclose(prediction.attention["left_lung"], prediction.attention["heart"])
    assert "familiarity_unknown" in prediction.flags
    batcher = DynamicBatcher()
    try:
        assert batcher.predictor(predictor) is predictor
    finally:
        batcher.close()
    assert prediction.record()["model_digest"] == predictor.digest


def test_the_maps_are_those_of_the_network_over_a_cohort(backbone, tmp_path):
    pixels = render_phantom(3, size=96).pixels
    assert pixels.shape == (96, 96)
    with CohortWriter(tmp_path / "cohort", store_size=96) as writer:
        writer.add(image_id="a", pixels=pixels, patient_id="p", dataset="phantom", view="PA", labels={}, masks={})
        writer.finish(fractions=(1.0, 0.0, 0.0))
    network = load_backbone(backbone).network
    cohort = Cohort.open(tmp_path / "cohort")
    expected = next(compute_cohort_attention(network, cohort, 64, 96, 1, torch.device("cpu")))[0]
    maps = load_model(backbone).predict_pixels(pixels).attention
    for name, head in HEADS.items():
        # The predictor averages views shifted by a quarter of a patch each way.
        np.testing.assert_allclose(maps[name].mean(), expected[head].mean() * 64, rtol=0.02)
        assert np.corrcoef(maps[name].ravel(), expected[head].ravel())[0, 1] > 0.85


def test_a_backbone_without_trained_heads_gives_their_mean(tmp_path):
    folder = write_backbone(tmp_path / "b", {})
    predictor = load_model(folder)
    maps = predictor.predict_pixels(render_phantom(1, size=80).pixels).attention
    assert list(maps) == ["all_heads"]
    assert maps["all_heads"].mean() == pytest.approx(1, abs=0.2)


def test_a_file_is_read_as_by_any_model(backbone, dicom):
    prediction = load_model(str(backbone)).predict(dicom)
    assert prediction.native is not None
    assert prediction.facts["view"] in {"PA", "AP"}


def test_wrong_pixels_folders_and_company_are_refused(backbone, tmp_path):
    with pytest.raises(ConfigError, match="not a picture"):
        load_model(backbone).predict_pixels(np.full((8, 8), 7.0, np.float32))
    with pytest.raises(InputMissing, match="a backbone takes no segmenter"):
        load_model(backbone, segmenter=tmp_path)
    (tmp_path / BACKBONE_FILE).write_bytes(b"")
    with pytest.raises(InputMissing, match="no finished result"):
        load_model(tmp_path)
