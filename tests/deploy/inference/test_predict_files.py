"""File mechanics of `medprior predict`, with a reader of plain pictures in the model's place."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medprior.deploy.inference.predict_files import list_source_files, predict_path
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.dicom.radiograph import compute_pixel_sha256
from medprior.errors import InputMissing, MedpriorError, Rejected
from medprior.metrics.cardiothoracic_ratio import measure_cardiothoracic_ratio

DIGEST = "d" * 64


def read(path: Path) -> RadiographPrediction:
    if path.suffix != ".png":
        raise Rejected("unknown_format", "neither DICOM, PNG nor JPEG")
    stored = np.asarray(Image.open(path))
    pixels = (stored / 255).astype(np.float32)
    third = pixels.shape[1] // 3
    masks = {
        "right_lung": np.zeros(pixels.shape, bool),
        "left_lung": np.zeros(pixels.shape, bool),
        "heart": np.zeros(pixels.shape, bool),
    }
    masks["right_lung"][10:-10, 5:third] = True
    masks["left_lung"][10:-10, -third:-5] = True
    masks["heart"][30:50, third:-third] = True
    return RadiographPrediction(
        pixels=pixels,
        pixel_sha256=compute_pixel_sha256(stored),
        model_digest=DIGEST,
        findings={"effusion": float(pixels.mean()), "nodule": 0.25},
        thresholds={"effusion": 0.4, "nodule": 0.5},
        masks=masks,
        attention={"heart": pixels},
        cardiothoracic=measure_cardiothoracic_ratio(masks),
        facts={"view": "PA", "spacing_kind": "none", "spacing_mm": None},
        flags=("dark",),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "clinic"
    (source / "DOE_JANE").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(3):
        picture = rng.integers(0, 255, (80, 90)).astype(np.uint8)
        Image.fromarray(picture).save(source / "DOE_JANE" / f"patient{number}.png")
    (source / "notes.txt").write_text("no picture")
    (source / "link.png").symlink_to(source / "DOE_JANE" / "patient0.png")
    return source


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_one_answer_per_file_and_no_source_name(folder, tmp_path):
    out = tmp_path / "out"
    counts = predict_path(folder, out, read, DIGEST)
    assert (counts.ok, counts.rejected, counts.already_answered) == (3, 1, 0)
    table = pd.read_csv(out / "report.csv")
    assert list(table.status).count("ok") == 3
    assert table.code.dropna().tolist() == ["unknown_format"]
    row = table[table.status == "ok"].iloc[0]
    record = json.loads((out / f"{row['item']}.json").read_text())
    assert record["findings"]["effusion"]["probability"] == pytest.approx(row.effusion)
    assert record["findings"]["effusion"]["present"] is True
    assert row.present == "effusion"
    assert record["cardiothoracic_ratio"]["value"] == pytest.approx(row.cardiothoracic_ratio)
    mask = np.asarray(Image.open(out / record["files"]["masks"]["heart"]))
    assert mask.shape == (80, 90)
    assert mask[40, 45] == 255
    assert mask[5, 5] == 0
    assert Image.open(out / record["files"]["overlay"]).mode == "RGB"
    everything = b"".join(contents(out).values()) + "".join(contents(out)).encode()
    for secret in (b"DOE", b"patient0", b"notes", str(folder).encode()):
        assert secret not in everything
    private = tmp_path / "out.private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert stat.S_IMODE((private / "sources.jsonl").stat().st_mode) == 0o600
    lines = [json.loads(line) for line in (private / "sources.jsonl").read_text().splitlines()]
    assert {line["source"] for line in lines} >= {"DOE_JANE/patient0.png", "notes.txt"}


def test_the_table_names_the_files_on_request_alone(folder, tmp_path):
    out = tmp_path / "out"
    predict_path(folder, out, read, DIGEST)
    assert "file" not in pd.read_csv(out / "report.csv")
    predict_path(folder, out, read, DIGEST, keep_names=True)
    table = pd.read_csv(out / "report.csv")
    assert sorted(table.file) == [*(f"DOE_JANE/patient{number}.png" for number in range(3)), "notes.txt"]
    assert table[table.file == "notes.txt"].status.item() == "rejected"
    assert b"DOE" not in b"".join(data for name, data in contents(out).items() if name != "report.csv")
    predict_path(folder, out, read, DIGEST)
    assert "file" not in pd.read_csv(out / "report.csv")


def test_an_interrupted_run_goes_on(folder, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    predict_path(folder, whole, read, DIGEST)
    calls = []

    def dying(path: Path) -> RadiographPrediction:
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(path)

    with pytest.raises(KeyboardInterrupt):
        predict_path(folder, out, dying, DIGEST)
    with (tmp_path / "out.private" / "sources.jsonl").open("ab") as journal:
        journal.write(b'{"torn')
    counts = predict_path(folder, out, read, DIGEST)
    assert (counts.already_answered, counts.ok + counts.rejected) == (2, 2)
    assert contents(out) == contents(whole)
    assert predict_path(folder, out, read, DIGEST).already_answered == 4


def test_a_changed_file_is_read_again(folder, tmp_path):
    out = tmp_path / "out"
    predict_path(folder, out, read, DIGEST)
    Image.fromarray(np.full((80, 90), 200, np.uint8)).save(folder / "DOE_JANE" / "patient1.png")
    counts = predict_path(folder, out, read, DIGEST)
    assert (counts.ok, counts.already_answered) == (1, 3)


def test_answers_of_two_models_never_mix(folder, tmp_path):
    out = tmp_path / "out"
    predict_path(folder, out, read, DIGEST)
    with pytest.raises(MedpriorError, match="another model"):
        predict_path(folder, out, read, "e" * 64)


def test_bad_places_are_refused(folder, tmp_path):
    with pytest.raises(InputMissing, match="no such file"):
        list_source_files(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputMissing, match="no file to read"):
        list_source_files(empty)
    with pytest.raises(MedpriorError, match="not empty"):
        predict_path(folder, folder, read, DIGEST)
    taken = tmp_path / "file"
    taken.write_text("")
    with pytest.raises(MedpriorError, match="not a folder"):
        predict_path(folder, taken, read, DIGEST)


def test_names_of_any_bytes(folder, tmp_path):
    (folder / "notes.txt").rename(folder / os.fsdecode(b"\xff\n.txt"))
    counts = predict_path(folder, tmp_path / "out", read, DIGEST)
    assert counts.rejected == 1
    lines = (tmp_path / "out.private" / "sources.jsonl").read_text().splitlines()
    assert "\\xff\n.txt" in {json.loads(line)["source"] for line in lines}


def test_a_pipe_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.dcm")
    with pytest.raises(InputMissing):
        list_source_files(tmp_path)
