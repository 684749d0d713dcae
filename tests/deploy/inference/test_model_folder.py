"""Model folders, whole and harmed."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from medprior.deploy import load_model
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
