"""Model folders, whole and harmed."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from medprior.deploy import load_model
from medprior.deploy.inference.model_folder import compute_min_weight_bytes, compute_models_digest
from medprior.errors import MedpriorError
from medprior.provenance import sha256_file


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


def test_the_digest_names_weights_and_thresholds(classifier, tmp_path):
    folder = copied(classifier, tmp_path / "model")
    first = load_model(folder).digest
    assert first == load_model(classifier).digest
    config = json.loads((folder / "config.json").read_text())
    rewritten(folder, threshold={name: 0.1 for name in config["threshold"]})
    assert load_model(folder).digest != first


SHAPE = {"width": 10, "mlp_ratio": 4, "image_size": 16, "patch": 8, "depth": 2}


@pytest.mark.parametrize(
    ("task", "decoder", "size"),
    [
        # 2 blocks x (4 + 2 x 4) x 10^2 = 2400 and 4 places x 10 = 40 weights of 2 bytes.
        ("classification", "pyramid", 4880),
        ("segmentation", "linear", 4880),
        # The pyramid adds one convolution of 3 x 3 with 5 channels: 9 x 25 = 225.
        ("segmentation", "pyramid", 5330),
    ],
)
def test_least_size_of_the_weights_of_a_transformer(task, decoder, size):
    settings = {"decoder": decoder, "channels": 5}
    assert compute_min_weight_bytes({"task": task, "network": SHAPE, "settings": settings}) == size


@pytest.mark.parametrize("change", [{"patch": 0}, {"width": "x"}, {"depth": None}, {"width": 10**400}])
def test_a_shape_that_cannot_be_computed_is_larger_than_any_file(change):
    config = {"task": "classification", "network": SHAPE | change, "settings": {}}
    assert compute_min_weight_bytes(config) == float("inf")
    assert compute_min_weight_bytes({}) == float("inf")
    assert compute_min_weight_bytes({"network": {"architecture": "resnet18"}}) == 0


def test_the_digest_tells_which_model_is_the_segmenter(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    a, b = tmp_path / "a", tmp_path / "b"
    digest = compute_models_digest({"model": a, "segmenter": b})
    assert digest == compute_models_digest({"segmenter": b, "model": a})
    assert digest not in {compute_models_digest({"model": b, "segmenter": a}), compute_models_digest({"model": a})}
