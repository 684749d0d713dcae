"""Trained (briefly) on phantoms, then asked about a phantom's DICOM file."""

import io
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from medprior.deploy import load_model
from medprior.dicom import Radiograph, read_image
from medprior.errors import MedpriorError, Rejected
from medprior.finetune.model import load_finetuned_model as load_finetuned
from medprior.metrics.cardiothoracic_ratio import measure_cardiothoracic_ratio
from medprior.phantom import render_phantom
from medprior.provenance import sha256_file


def test_a_reading_is_what_the_models_say(classifier, segmenter, dicom):
    predictor = load_model(classifier, segmenter=segmenter)
    reading = predictor.predict(dicom)
    pixels = read_image(dicom).pixels
    want = load_finetuned(classifier).predict_pixels(pixels)
    masks = load_finetuned(segmenter).predict_pixels(pixels).masks
    assert reading.findings == want.probabilities
    assert set(reading.findings) == set(reading.thresholds)
    assert set(masks) == set(reading.masks) == {"left_lung", "right_lung", "heart"}
    assert all(np.array_equal(masks[name], reading.masks[name]) for name in masks)
    assert all(mask.shape == pixels.shape for mask in reading.masks.values())
    assert list(reading.attention) == ["all_heads"]
    assert reading.attention["all_heads"].shape == pixels.shape
    assert reading.attention["all_heads"].mean() == pytest.approx(1, abs=0.2)
    record = json.loads(json.dumps(reading.record()))
    assert record["view"] in {"PA", "AP"}
    assert record["model_digest"] == predictor.digest
    for name, entry in record["findings"].items():
        assert entry["present"] == (want.probabilities[name] >= reading.thresholds[name])


def test_path_bytes_and_stream_agree(classifier, dicom):
    predictor = load_model(str(classifier))
    data = dicom.read_bytes()
    answers = [predictor.predict(item).record() for item in (dicom, str(dicom), data, io.BytesIO(data))]
    assert all(answer == answers[0] for answer in answers)


def test_the_heart_ratio_follows_the_masks(segmenter):
    predictor = load_model(segmenter)
    measured = 0
    for seed in range(2000, 2008):
        image = render_phantom(seed, size=256)
        reading = predictor.predict_pixels(image.pixels)
        assert reading.cardiothoracic == measure_cardiothoracic_ratio(reading.masks)
        flagged = "implausible_cardiothoracic_ratio" in reading.flags
        assert reading.cardiothoracic is None or flagged != reading.cardiothoracic.plausible
        measured += reading.cardiothoracic is not None
    assert measured > 0


def test_true_masks_give_the_phantoms_own_ratio():
    errors = []
    for seed in range(8):
        image = render_phantom(seed, size=256)
        found = measure_cardiothoracic_ratio(image.masks)
        assert found is not None
        errors.append(abs(found.ratio - image.facts["ctr"]))
    assert np.mean(errors) < 0.01


def test_doubts_are_flagged(segmenter):
    predictor = load_model(segmenter)
    image = render_phantom(2000, size=256)
    valid = np.ones(image.pixels.shape, bool)
    side = predictor.predict_radiograph(Radiograph(image.pixels, valid, view="LL", age=9, flags=("dark",)))
    assert side.flags == ("dark", "not_frontal", "child")
    assert side.cardiothoracic is None
    lying = predictor.predict_radiograph(Radiograph(image.pixels, valid, view="AP"))
    assert "ap_magnifies_heart" in lying.flags


def test_no_radiograph_is_rejected_with_its_code(classifier):
    predictor = load_model(classifier)
    with pytest.raises(Rejected) as caught:
        predictor.predict(b"no radiograph at all")
    assert caught.value.code
    with pytest.raises(Rejected):
        predictor.predict(b"")


def copied(model: Path, out: Path) -> Path:
    out.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(model / name, out / name)
    return out


def rewritten(folder: Path, **changes) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def with_true_digest(folder: Path) -> None:
    rewritten(folder, outputs={"model.safetensors": sha256_file(folder / "model.safetensors")})


def nan_weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(iter(tensors))
    tensors[name] = np.full_like(tensors[name], np.nan)
    save_file(tensors, folder / "model.safetensors")
    with_true_digest(folder)


def other_weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: np.asarray(value + 1) for name, value in tensors.items()},
        folder / "model.safetensors",
    )


def header_bomb(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with_true_digest(folder)


def lying_header(folder: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    data = struct.pack("<Q", len(header)) + header
    (folder / "model.safetensors").write_bytes(data)
    with_true_digest(folder)


def a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.")
    with_true_digest(folder)


def cut_short(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with_true_digest(folder)


def no_digest(folder: Path) -> None:
    rewritten(folder, outputs={})


def other_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    rewritten(folder, network=config["network"] | {"width": 48})


def memory_bomb(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    rewritten(folder, network=config["network"] | {"width": 12 * 10**6, "heads": 1})


def unknown_task(folder: Path) -> None:
    rewritten(folder, task="__import__('os').system('touch ran')")


def no_thresholds(folder: Path) -> None:
    rewritten(folder, threshold={})


def broken_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def not_a_mapping(folder: Path) -> None:
    (folder / "config.json").write_text("[1]")


def weights_gone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    "harm",
    [
        nan_weights, other_weights, header_bomb, lying_header, a_pickle, cut_short, no_digest,
        other_shape, memory_bomb, unknown_task, no_thresholds, broken_json, not_a_mapping,
        weights_gone,
    ],
    ids=lambda harm: harm.__name__,
)  # fmt: skip
def test_harmed_models_are_refused_in_one_line(harm, classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = copied(classifier, tmp_path / "model")
    load_model(folder)
    harm(folder)
    with pytest.raises(MedpriorError) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_wrong_places_are_refused(classifier, segmenter, tmp_path):
    with pytest.raises(MedpriorError, match="no such model"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(MedpriorError, match="no finished result"):
        load_model(tmp_path)
    with pytest.raises(MedpriorError, match="two models of task"):
        load_model(classifier, segmenter=classifier)


def test_the_digest_names_weights_and_thresholds(classifier, tmp_path):
    folder = copied(classifier, tmp_path / "model")
    first = load_model(folder).digest
    assert first == load_model(classifier).digest
    config = json.loads((folder / "config.json").read_text())
    rewritten(folder, threshold={name: 0.1 for name in config["threshold"]})
    assert load_model(folder).digest != first
