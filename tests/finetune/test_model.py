import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from medprior.errors import ConfigError, InputMissing
from medprior.finetune import load_finetuned_model
from medprior.finetune.model_folder import write_model_folder
from medprior.finetune.training import prepare_run
from medprior.geometry import create_whole_image_views
from medprior.networks import resample_maps_to_source
from medprior.observer import NullObserver
from medprior.provenance import sha256_file, write_json
from tests.finetune.conftest import CNNS, tiny


@pytest.mark.parametrize("head", ["cls", "cls_mean", "pooled"])
def test_a_loaded_model_predicts_as_trained(cohort, tmp_path, head):
    run = prepare_run(cohort, tmp_path, tiny(epochs=1, head=head))
    tmp_path.joinpath("metrics.csv").touch()
    run.trainer.run()
    write_model_folder(run, tmp_path, {"cohort": cohort.path}, NullObserver())
    model = load_finetuned_model(tmp_path)
    test = cohort.split("test")
    images, _ = model.create_views(test.squares(40), test.aspect)
    with torch.inference_mode():
        logits = run.network.eval()(images).numpy()
    found = model.predict_cohort(test, batch=3)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits / model.temperature)), atol=1e-6)
    again = load_finetuned_model(tmp_path).predict_cohort(test, batch=3)
    np.testing.assert_array_equal(found, again)


def test_segmentation_lies_on_the_unit_squares(cohort, vit_folders):
    model = load_finetuned_model(vit_folders / "segmentation")
    part = cohort.take(5, 1)
    maps = model.predict_cohort(part)
    assert maps.shape == (5, 1, 40, 40)
    images, views = model.create_views(part.squares(40), part.aspect)
    with torch.inference_mode():
        direct = resample_maps_to_source(model.network(images).sigmoid(), views, 40).numpy()
    np.testing.assert_allclose(maps, direct, atol=1e-6)


def test_a_picture_is_read_as_in_the_cohort(cohort, vit_folders):
    model = load_finetuned_model(vit_folders / "classification")
    image_id = cohort.image_ids[4]
    reading = model.predict_pixels(cohort.pixels(image_id))
    from_cohort = model.predict_cohort(cohort.select([image_id]))[0]
    assert list(reading.probabilities) == ["large", "right"]
    np.testing.assert_allclose(list(reading.probabilities.values()), from_cohort, atol=1e-5)
    assert reading.masks == {}
    assert reading.attention.shape == (3, 48, 40)
    assert reading.attention.mean() == pytest.approx(1, abs=0.25)


def test_masks_have_the_pictures_own_size(cohort, vit_folders):
    model = load_finetuned_model(vit_folders / "segmentation")
    for shape in ((48, 40), (97, 64), (30, 90)):
        pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
        reading = model.predict_pixels(pixels)
        assert reading.masks["heart"].shape == shape
        assert reading.masks["heart"].dtype == bool
        assert reading.probabilities == {}
    big = model.predict_pixels(np.full((1200, 600), 0.5, np.float32))
    assert big.attention.shape == (3, 512, 256)


def test_no_picture_is_refused(vit_folders):
    model = load_finetuned_model(vit_folders / "classification")
    for bad in (np.zeros((3, 4, 4)), np.full((4, 4), np.nan), np.full((4, 4), 255.0)):
        with pytest.raises(ConfigError, match="not a picture"):
            model.predict_pixels(bad.astype(np.float32))


def test_attention_lies_on_the_unit_squares(cohort, vit_folders):
    model = load_finetuned_model(vit_folders / "classification")
    part = cohort.take(4, 0)
    maps = model.attention(part, batch=3)
    assert maps.shape == (4, 3, 40, 40)
    assert (maps >= 0).all()
    box = create_whole_image_views(part.aspect, (32, 32)).box
    assert (box[:, 3] > 1).all(), "the pictures are narrow, so nothing of them lies outside"
    assert (maps > 0).all()


def copied(source, target):
    target.mkdir()
    for path in source.iterdir():
        if path.is_file():
            (target / path.name).write_bytes(path.read_bytes())
    return target


def test_weights_that_are_not_what_was_written_are_refused(vit_folders, tmp_path):
    folder = copied(vit_folders / "classification", tmp_path / "m")
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    tensors["linear.bias"] = tensors["linear.bias"] + 1
    save_file(tensors, weights)
    with pytest.raises(InputMissing, match="digest"):
        load_finetuned_model(folder)

    def sign():
        config = json.loads((folder / "config.json").read_text())
        config["outputs"]["model.safetensors"] = sha256_file(weights)
        write_json(folder / "config.json", config)

    sign()
    load_finetuned_model(folder)
    tensors["linear.bias"][0] = torch.nan
    save_file(tensors, weights)
    sign()
    with pytest.raises(InputMissing, match="not finite"):
        load_finetuned_model(folder)
    tensors["linear.bias"] = torch.zeros(7)
    save_file(tensors, weights)
    sign()
    with pytest.raises(InputMissing, match="do not fit"):
        load_finetuned_model(folder)
    weights.unlink()
    with pytest.raises(InputMissing, match="missing"):
        load_finetuned_model(folder)
    with pytest.raises(InputMissing, match="no finished result"):
        load_finetuned_model(tmp_path / "nowhere")


@pytest.mark.parametrize("task", CNNS)
def test_a_loaded_cnn_predicts_as_trained(cohort, cnn_folders, task):
    record = json.loads((cnn_folders / task / "config.json").read_text())
    assert record["network"] == {"architecture": CNNS[task], "mean": 0.5, "std": 0.25}
    assert record["settings"]["architecture"] == CNNS[task]
    model, test = load_finetuned_model(cnn_folders / task), cohort.split("test")
    found = model.predict_cohort(test)
    images, _ = model.create_views(test.squares(64), test.aspect)
    logits = model.network(images)
    if task == "classification":
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits.numpy() / model.temperature)), atol=1e-6)
    else:
        assert found.shape == (len(test), 1, 64, 64)
    reading = model.predict_pixels(cohort.pixels(cohort.image_ids[4]))
    assert reading.attention.shape == (0, 48, 40)
    assert bool(reading.masks) == (task == "segmentation")
    assert model.familiarity is not None
    assert reading.familiarity is not None


def test_a_cnn_has_no_attention(cohort, cnn_folders):
    model = load_finetuned_model(cnn_folders / "classification")
    assert not model.has_attention
    assert model.attention(cohort.take(3)).shape == (3, 0, 64, 64)
    with pytest.raises(ConfigError, match="no attention"):
        _ = model.vit


def test_a_tampered_cnn_record_is_refused(cnn_folders, tmp_path):
    forged = (
        ("architecture", "convnext_xxlarge"), ("architecture", "densenet121"),
        ("architecture", "no_such_net"), ("architecture", "hf-hub:a/b"), ("std", 0),
    )  # fmt: skip
    for number, (name, value) in enumerate(forged):
        folder = tmp_path / str(number)
        folder.mkdir()
        for path in (cnn_folders / "classification").glob("*.*"):
            (folder / path.name).write_bytes(path.read_bytes())
        record = json.loads((folder / "config.json").read_text())
        record["network"][name] = value
        write_json(folder / "config.json", record)
        with pytest.raises((InputMissing, ConfigError)):
            load_finetuned_model(folder)
    del record["settings"]["architecture"]
    write_json(folder / "config.json", record)
    with pytest.raises(ConfigError):
        load_finetuned_model(folder)


def test_names_that_do_not_fit_the_outputs_are_no_prediction(cohort, vit_folders):
    pixels = cohort.pixels(cohort.image_ids[4])
    for task, names in (("classification", ("large",)), ("segmentation", ("heart", "lungs"))):
        model = replace(load_finetuned_model(vit_folders / task), labels=names)
        with pytest.raises(ValueError, match=r"zip\(\)"):
            model.predict_pixels(pixels)
