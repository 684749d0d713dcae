"""The anatomy model that ships, on the real radiograph that ships."""

import json
import shutil

import numpy as np
import pytest
from scipy import ndimage

from medprior.cli import main
from medprior.deploy import load_model
from medprior.deploy.registry.load import find_source_backbone
from medprior.dicom import read_image
from medprior.finetune import load_finetuned_model
from medprior.resources import find_anatomy_model, find_resource_folder

EXAMPLE = find_resource_folder("bundles") / "chest_xray_segmentation" / "docs" / "example.png"
MAX_BYTES = 25e6
# The published cardiothoracic ratio of this radiograph (wing071).
EXAMPLE_RATIO = 0.505


@pytest.fixture(scope="module")
def prediction():
    return load_model().predict(EXAMPLE)


def test_all_weights_are_small_and_of_the_recorded_digest():
    models = find_anatomy_model().parent
    assert sum(path.stat().st_size for path in models.rglob("*") if path.is_file()) < MAX_BYTES
    assert {path.suffix for path in models.rglob("*") if path.is_file()} == {".json", ".safetensors"}
    assert find_source_backbone(find_anatomy_model()) == models / "backbone"


def test_lungs_and_heart_lie_where_they_belong(prediction):
    share = {name: mask.mean() for name, mask in prediction.masks.items()}
    assert 0.08 < share["right_lung"] < 0.25
    assert 0.06 < share["left_lung"] < 0.25
    assert 0.04 < share["heart"] < 0.2
    centre = {name: ndimage.center_of_mass(mask) for name, mask in prediction.masks.items()}
    assert centre["right_lung"][1] < centre["heart"][1] < centre["left_lung"][1], "the patient's left is on the right"
    assert centre["heart"][0] > centre["left_lung"][0]
    assert prediction.cardiothoracic.ratio == pytest.approx(EXAMPLE_RATIO, abs=0.04)
    assert "far_from_training" not in prediction.flags


def test_the_heads_of_the_backbone_look_at_their_structures(prediction):
    assert set(prediction.attention) == {"left_lung", "right_lung", "heart"}
    for name, attention in prediction.attention.items():
        mask = ndimage.zoom(prediction.masks[name].astype(np.uint8), np.array(attention.shape) / 512, order=0) > 0
        assert attention[mask].mean() > 2.5 * attention[~mask].mean(), name


def test_a_washed_out_copy_gives_the_same_anatomy(prediction):
    pixels = 0.45 + 0.25 * read_image(EXAMPLE).pixels
    faint = load_model().predict_pixels(pixels.astype(np.float32))
    for name, mask in prediction.masks.items():
        overlap = 2 * (mask & faint.masks[name]).sum() / (mask.sum() + faint.masks[name].sum())
        assert overlap > 0.9, name


def test_another_backbone_beside_a_model_is_not_its_own(tmp_path):
    folder = shutil.copytree(find_anatomy_model().parent, tmp_path / "models")
    config = json.loads((folder / "backbone" / "config.json").read_text())
    config["outputs"]["backbone.safetensors"] = "0" * 64
    (folder / "backbone" / "config.json").write_text(json.dumps(config))
    assert find_source_backbone(folder / "segmenter") is None
    shutil.rmtree(folder / "backbone")
    assert find_source_backbone(folder / "segmenter") is None


def test_one_command_reads_a_radiograph(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDPRIOR_MODEL", raising=False)
    assert main(["predict", str(EXAMPLE), "-o", str(tmp_path / "out")]) == 0
    (record,) = [path for path in (tmp_path / "out").glob("0*.json")]
    values = json.loads(record.read_text())
    assert values["status"] == "ok"
    assert set(values["files"]["masks"]) == {"left_lung", "right_lung", "heart"}
    assert (tmp_path / "out" / values["files"]["overlay"]).is_file()


def test_the_segmenters_own_attention_is_left_out_on_request():
    model = load_finetuned_model(find_anatomy_model())
    pixels = read_image(EXAMPLE).pixels
    whole, bare = (model.predict_pixels(pixels, with_attention=given) for given in (True, False))
    assert len(whole.attention) == 6
    assert len(bare.attention) == 0
    assert all((whole.masks[name] == bare.masks[name]).all() for name in whole.masks)
