"""Files made to run code, to fill memory or to reach outside: what a stranger could hand us."""

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from medprior.provenance import sha256_file


class Runs:
    """Unpickling it makes the folder `marker`: the sign that something was run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def with_header(path: Path, header: object, body: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def overlapping(path: Path, marker: Path) -> None:
    one = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    with_header(path, {"a": one, "b": one}, bytes(16))


def huge_shape(path: Path, marker: Path) -> None:
    shape = {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 16]}
    with_header(path, {"a": shape}, bytes(16))


def zip_slip(path: Path, marker: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"../../../..{marker}", "out")
        archive.writestr("archive/data.pkl", pickle.dumps(Runs(marker)))


WEIGHTS = {
    "torch_pickle": lambda path, marker: torch.save({"w": Runs(marker)}, path),
    "old_torch_pickle": lambda path, marker: torch.save(
        {"w": Runs(marker)}, path, _use_new_zipfile_serialization=False
    ),
    "bare_pickle": lambda path, marker: path.write_bytes(pickle.dumps(Runs(marker))),
    "zip_slip": zip_slip,
    "header_length": lambda path, marker: path.write_bytes(struct.pack("<Q", 2**62) + b"{}"),
    "header_depth": lambda path, marker: with_header(path, b'{"a":' * 200_000 + b"1"),
    "overlapping": overlapping,
    "huge_shape": huge_shape,
    "nan": lambda path, marker: save_file({"w": np.full(4, np.nan, np.float32)}, path),
    "empty": lambda path, marker: path.write_bytes(b""),
}


def swap_weights(folder: Path, kind: str, marker: Path) -> None:
    """Put hostile bytes where the weights are, and the digest that goes with them."""
    (path,) = folder.glob("*.safetensors")
    WEIGHTS[kind](path, marker)
    edit_config(folder, lambda c: c["outputs"].update({path.name: sha256_file(path)}))


def edit_config(folder: Path, change) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def expressions(value: object, marker: Path) -> object:
    """Every text of a JSON value, and every key's value in `settings`, as an expression."""
    code = f"$__import__('os').mkdir('{marker}')"
    if isinstance(value, dict):
        return {key: expressions(item, marker) for key, item in value.items()}
    if isinstance(value, list):
        return [expressions(item, marker) for item in value]
    return code if isinstance(value, str) else value


def expression_config(folder: Path, marker: Path) -> None:
    """`$` in all texts but those that make it this stage's, and a `_target_` beside them."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    kept = {key: config[key] for key in ("stage", "task", "outputs", "inputs") if key in config}
    target = {"_target_": "os.mkdir", "path": str(marker)}
    made = {**expressions(config, marker), **kept}
    for key in ("settings", "network"):
        if key in made:
            made[key] = {**made[key], **target}
    path.write_text(json.dumps(made))


def deep(path: Path) -> None:
    path.write_text('{"stage": ' + "[" * 200_000 + "]" * 200_000 + "}")


def timm_checkpoint(folder: Path, marker: Path) -> None:
    """A backbone whose options make timm read a pickle."""
    evil = folder / "evil.pth"
    torch.save({"w": Runs(marker)}, evil)
    body = {
        "source": "timm",
        "name": "vit_tiny_patch16_224",
        "options": {"checkpoint_path": str(evil)},
    }
    edit_config(folder, lambda c: c.update(network=body))


def set_network(**values):
    return lambda folder, marker: edit_config(folder, lambda c: c["network"].update(values))


def set_key(*keys: str, value: object):
    """Change one value deep in `config.json`."""

    def change(config):
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = value

    return lambda folder, marker: edit_config(folder, change)


CONFIGS = {
    "expressions": expression_config,
    "deep": lambda folder, marker: deep(folder / "config.json"),
    "long_number": lambda folder, marker: (folder / "config.json").write_text('{"stage": ' + "1" * 100_000 + "}"),
    "no_mapping": lambda folder, marker: (folder / "config.json").write_text("[1, 2]"),
    "not_text": lambda folder, marker: (folder / "config.json").write_bytes(b"\xff\xfe\x00" * 9),
    "wide": set_network(width=12 * 10**6, heads=12),
    "many_blocks": set_network(depth=10**9),
    "large_image": set_network(image_size=8 * 10**6),
    "infinite": set_network(mlp_ratio=1e999),
    "missing_keys": lambda folder, marker: edit_config(
        folder, lambda c: [c.pop(key, None) for key in ("network", "heads")]
    ),
    "outputs_list": set_key("outputs", value=["x"]),
    "timm_checkpoint": timm_checkpoint,
}


def object_npz(path: Path, marker: Path) -> None:
    np.savez(path, maps=np.array([Runs(marker)], dtype=object), names=np.array(["a"]))


def npy(shape: str) -> bytes:
    """A .npy of few bytes that claims a shape."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def huge_npz(path: Path, marker: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("maps.npy", npy("(1000000, 1000000, 1000)"))
        archive.writestr("names.npy", npy("(3,)"))
    path.write_bytes(buffer.getvalue())


ARRAYS = {
    "objects": object_npz,
    "pickle": lambda path, marker: path.write_bytes(pickle.dumps(Runs(marker))),
    "huge": huge_npz,
    "torn_zip": lambda path, marker: path.write_bytes(b"PK\x03\x04" + bytes(100)),
    "zip_slip": zip_slip,
}
