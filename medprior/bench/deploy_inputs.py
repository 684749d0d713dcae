"""Inputs of the deploy bench: models of the usual size, valid files, and hostile bodies.

The weights are random: the predictions have no meaning, but cost as much as those of trained ones.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.deploy.inference.example import create_example_dicom

LABELS = tuple(f"finding_{number:02d}" for number in range(1, 15))
STRUCTURES = ("left_lung", "right_lung", "heart")
VIT_SMALL_NETWORK = {"width": 384, "depth": 12, "heads": 6, "patch": 16, "image_size": 224}
FILE_FORMS = ("uncompressed", "jpeg_2000", "jpeg_ls", "rle", "jpeg_lossless", "png")
MULTIPART_TYPE = "multipart/form-data; boundary=b"


def create_random_model(folder: Path, task: str, network: dict[str, Any] | None = None) -> Path:
    """A model folder in the format of `medprior finetune`, with random weights.

    Args:
        folder: to write into.
        task: classification or segmentation.
        network: settings; by default ViT-S/16 at 224 pixels (Touvron et al. 2021).
    """
    from medprior.finetune.assembly import build_finetune_network
    from medprior.finetune.model import MODEL_WEIGHTS_FILE
    from medprior.finetune.settings import FinetuneSettings
    from medprior.networks.backbone import save_weights
    from medprior.provenance import write_config

    settings = FinetuneSettings.from_values({"task": task, "network": network or VIT_SMALL_NETWORK})
    settings = settings.resolved(False, settings.network.image_size)
    names = LABELS if task == "classification" else STRUCTURES
    network_module = build_finetune_network(settings, len(names), None)
    folder.mkdir(parents=True)
    save_weights(folder / MODEL_WEIGHTS_FILE, network_module)
    facts = {
        "task": task,
        "labels" if task == "classification" else "structures": list(names),
        "network": network_module.vit.settings.model_dump(mode="json"),
        "heads": {name: head for head, name in enumerate(STRUCTURES)},
        "preprocessing": {"size": settings.size, "source_size": settings.source_size},
        "calibration": {"temperature": dict.fromkeys(names, 1.0)},
        "threshold": dict.fromkeys(names, 0.5),
    }
    write_config(folder, "finetune", settings.model_dump(mode="json"), outputs=(MODEL_WEIGHTS_FILE,), facts=facts)
    return folder


def create_good_files(side: int = 512, names: tuple[str, ...] = FILE_FORMS) -> dict[str, bytes]:
    """One phantom in common transfer syntaxes and as PNG; name -> content."""
    plain = create_example_dicom(seed=4, side=side)
    return {name: convert_file_format(plain, name) for name in names}


def convert_file_format(plain: bytes, name: str) -> bytes:
    """An uncompressed DICOM file converted to one of `FILE_FORMS`."""
    from pydicom import dcmread
    from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

    from medprior.phantom.pixel_encoding import encode_pixels
    from medprior.phantom.vendors import JPEG_LOSSLESS

    dataset = dcmread(io.BytesIO(plain))
    syntaxes = {"jpeg_2000": JPEG2000Lossless, "jpeg_ls": JPEGLSLossless, "rle": RLELossless}
    if name == "png":
        return encode_8bit_png(dataset.pixel_array)
    if name == "jpeg_lossless":
        encode_pixels(dataset, dataset.pixel_array, JPEG_LOSSLESS)
    elif name in syntaxes:
        dataset.compress(syntaxes[name], generate_instance_uid=False)
    return encode_dicom_file(dataset)


def encode_dicom_file(dataset: Any) -> bytes:
    """A data set as the bytes of a file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def encode_8bit_png(stored: NDArray[Any]) -> bytes:
    """12-bit values [rows, columns] as an 8-bit PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray((stored >> 4).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def create_hostile_bodies(seed: int = 0) -> dict[str, tuple[bytes, str]]:
    """Bodies that the service must refuse with 4xx; name -> (content, content type)."""
    rng = np.random.default_rng(seed)
    plain = create_example_dicom(seed=4, side=192)
    noise = rng.integers(0, 256, 20_000, dtype=np.uint8).tobytes()
    raw = "application/dicom"
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    return {
        "empty": (b"", raw),
        "random": (noise, raw),
        "random_behind_magic": (b"\0" * 128 + b"DICM" + noise, raw),
        "cut_header": (plain[:200], raw),
        "cut_pixels": (plain[: len(plain) // 2], raw),
        "no_preamble": (plain[500:], raw),
        "deflate_bomb": (build_deflate_bomb(plain), raw),
        "rows_bomb": (build_rows_bomb(plain), raw),
        "length_bomb": (build_length_bomb(plain), raw),
        "codestream": (build_garbage_codestream(plain, noise), raw),
        "text": (b"dear radiologist, see attachment", raw),
        "zip": (b"PK\x03\x04" + noise, raw),
        "png_garbage": (b"\x89PNG\r\n\x1a\n" + noise, "image/png"),
        "png_bomb": (build_png_bomb(), "image/png"),
        "json": (b'{"instances": [[', "application/json"),
        "wrong_type": (plain, "text/html"),
        "no_boundary": (form + plain, "multipart/form-data"),
        "multipart_garbage": (noise, MULTIPART_TYPE),
        "multipart_cut": (form + plain[:5000], MULTIPART_TYPE),
        "multipart_empty": (b"--b--\r\n", MULTIPART_TYPE),
        "multipart_many": (form.join([b"x\r\n"] * 400) + b"--b--\r\n", MULTIPART_TYPE),
    }


def build_deflate_bomb(plain: bytes) -> bytes:
    """A deflated DICOM file of 1 MB that inflates to a gigabyte."""
    from pydicom import dcmread
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    dataset = dcmread(io.BytesIO(plain))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    head = encode_dicom_file(dataset)[:2000]
    end = head.index(b"1.2.840.10008.1.2.1.99") + 22
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [compressor.compress(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100")]
    zeros = bytes(2**20)
    parts += [compressor.compress(zeros) for _ in range(1024)]
    meta_end = 132 + 12 + struct.unpack("<I", head[140:144])[0]
    return head[: max(meta_end, end)] + b"".join(parts) + compressor.flush()


def build_length_bomb(plain: bytes) -> bytes:
    """A file whose pixel data announce a length of two gigabytes."""
    start = plain.index(b"\xe0\x7f\x10\x00OW\0\0") + 8
    return plain[:start] + struct.pack("<I", 2**31) + plain[start + 4 :]


def build_rows_bomb(plain: bytes) -> bytes:
    """A header that announces 65535 x 65535 pixels."""
    from pydicom import dcmread

    dataset = dcmread(io.BytesIO(plain))
    dataset.Rows = dataset.Columns = 65535
    return encode_dicom_file(dataset)


def build_garbage_codestream(plain: bytes, noise: bytes) -> bytes:
    """A JPEG 2000 file whose codestream is noise."""
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless

    dataset = dcmread(io.BytesIO(plain))
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51" + noise])
    dataset["PixelData"].VR = "OB"
    return encode_dicom_file(dataset)


def build_png_bomb(side: int = 60_000) -> bytes:
    """A PNG of a few megabytes that announces and holds 60 000 x 60 000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        """Encode one PNG chunk."""
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 1) * 200), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
