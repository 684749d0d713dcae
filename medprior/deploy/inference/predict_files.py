"""Predicts on a file or a folder: JSON, masks and overlay per radiograph, and one table.

The result folder holds no source names; `<result>.private/sources.jsonl` beside it, readable by its
owner alone, maps each answer to its file and lets an interrupted run resume. Only the DICOM
objects, which are optional, identify the patient: they are meant for the archive.
"""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medprior.cohort.journal import Journal
from medprior.deploy.inference.object_kinds import DEFAULT_OBJECTS, OBJECT_KINDS, format_object_file
from medprior.errors import InputMissing, MedpriorError, Rejected
from medprior.locks import LOCK_FILE, acquire_lock
from medprior.provenance import atomic_write, sha256_file, write_json

if TYPE_CHECKING:
    from medprior.deploy.inference.prediction import RadiographPrediction

REPORT_FILE, DICOM_FOLDER = "report.csv", "dicom"
OVERLAY_COMPRESS_LEVEL = 3  # a tenth larger than zlib's default of 6, in a third of its time
PredictFile = Callable[[Path], "RadiographPrediction"]


@dataclass
class PredictionCounts:
    """How many files were answered, rejected, and answered by an earlier run.

    Attributes:
        is_any_readable: whether any file of this or an earlier run was a radiograph.
    """

    ok: int = 0
    rejected: int = 0
    already_answered: int = 0
    is_any_readable: bool = False


def predict_path(
    source: Path,
    out: Path,
    predict: PredictFile,
    model_digest: str,
    progress: Callable[[list[Path]], Iterable[Path]] = iter,
    dicom: bool | Sequence[str] = False,
    refusing: bool = False,
    keep_names: bool = False,
) -> PredictionCounts:
    """Answer every file of `source` into `out`.

    Args:
        source: one radiograph, or a folder of them (links are not followed).
        out: result folder, created if missing; answers of the same model in it are kept.
        predict: answers one file or raises `Rejected`, which is reported without ending the run.
        model_digest: identifies the model; answers of two models are never mixed.
        progress: wraps the list of files, such as a progress bar.
        dicom: also write objects to `dicom/` in `out`, readable by its owner alone: those of `OBJECT_KINDS`
            that are named, or True for those of `DEFAULT_OBJECTS`.
        refusing: whether `predict` refuses unfamiliar images; the two kinds of answers never mix.
        keep_names: name the files in `report.csv`; by default only the private map does.

    Raises:
        MedpriorError: the source does not exist or has no file, or `out` holds answers of another
            model or of another choice of `refusing`.
    """
    files = list_source_files(source)
    kinds = tuple(DEFAULT_OBJECTS if dicom else ()) if isinstance(dicom, bool) else tuple(dicom)
    claim_result_folder(out, model_digest, refusing)
    private = out.parent / f"{out.name}.private"
    private.mkdir(mode=0o700, exist_ok=True)
    lock = acquire_lock(private / LOCK_FILE, "these predictions")
    journal = Journal(private / "sources.jsonl", mode=0o600)
    counts = PredictionCounts()
    try:
        done = {(item["source"], item["sha256"]): item["item"] for item in journal.records}
        for path in progress(files):
            key = (format_source_name(path, source), compute_content_digest(path))
            earlier = read_object_kinds(out / f"{done[key]}.json") if key in done else None
            if earlier is not None and earlier >= set(kinds):
                counts.already_answered += 1
                continue
            index = int(done[key][:5]) if key in done else len(journal.records)
            asked = [kind for kind in OBJECT_KINDS if kind in {*kinds, *(earlier or ())}]
            item, code = predict_file(path, out, predict, index, asked)
            journal.append({"source": key[0], "sha256": key[1], "item": item, "code": code})
            counts.rejected += bool(code)
            counts.ok += not code
        sources = {record["item"]: record["source"] for record in journal.records}
        counts.is_any_readable = not all(record["code"] for record in journal.records)
    finally:
        journal.close()
        lock.release()
    write_prediction_table(out, sources, keep_names)
    return counts


def list_source_files(source: Path) -> list[Path]:
    """The regular files at or below `source`, sorted; hidden ones and links are left out."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputMissing("no such file or folder", where=str(source), fix="check the path")
    paths = []
    for folder, names, files in os.walk(source):
        names[:] = sorted(name for name in names if not name.startswith("."))
        visible = (Path(folder) / name for name in files if not name.startswith("."))
        paths += [path for path in visible if stat.S_ISREG(path.lstat().st_mode)]
    if not paths:
        raise InputMissing("no file to read", where=str(source), fix="check the path")
    return sorted(paths)


def format_source_name(path: Path, source: Path) -> str:
    """A file's path below `source`, with bytes that are not UTF-8 escaped."""
    name = path.relative_to(source) if source.is_dir() else Path(path.name)
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def read_object_kinds(answer: Path) -> set[str] | None:
    """Kinds of objects that an answer was asked for; None where it is missing, all where it is a refusal."""
    if not answer.is_file():
        return None
    record = json.loads(answer.read_text("utf-8"))
    if "code" in record:
        return set(OBJECT_KINDS)
    return set(record["dicom"].get("kinds", DEFAULT_OBJECTS)) if "dicom" in record else set()


def claim_result_folder(out: Path, model_digest: str, refusing: bool) -> None:
    """Mark `out` as holding this model's answers; refuse a folder with other content."""
    marker = out / "model.json"
    if out.exists() and not out.is_dir():
        raise MedpriorError("not a folder", where=str(out), fix="give another one with -o")
    if marker.is_file():
        earlier = json.loads(marker.read_text(encoding="utf-8"))
        same_model = earlier.get("model_digest") == model_digest
        if not same_model or earlier.get("refuse_unfamiliar", False) != refusing:
            other = "without --refuse-unfamiliar" if refusing else "with --refuse-unfamiliar"
            raise MedpriorError(
                f"holds answers {other if same_model else 'of another model'}",
                where=str(out),
                fix="give an empty folder with -o, or remove this one",
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise MedpriorError("not empty, and no earlier answers in it", where=str(out), fix="give an empty folder")
    write_json(marker, {"model_digest": model_digest, "refuse_unfamiliar": refusing})


def compute_content_digest(path: Path) -> str:
    """Hex sha256 of a file, or an empty text if it cannot be read."""
    try:
        return sha256_file(path)
    except OSError:
        return ""


def predict_file(path: Path, out: Path, predict: PredictFile, index: int, kinds: Sequence[str]) -> tuple[str, str]:
    """Answer one file; returns its item name and its reject code, empty if it was accepted."""
    try:
        prediction = predict(path)
    except Rejected as error:
        item = f"{index:05d}_rejected"
        write_json(
            out / f"{item}.json",
            {"item": item, "status": "rejected", "code": error.code, "message": error.what},
        )
        return item, error.code
    item = f"{index:05d}_{prediction.pixel_sha256[:12]}"
    extra = {"dicom": write_dicom_objects(prediction, path, out, item, kinds)} if kinds else {}
    write_prediction(prediction, out, item, extra)
    return item, ""


def write_dicom_objects(
    prediction: RadiographPrediction, path: Path, out: Path, item: str, kinds: Sequence[str]
) -> dict[str, Any]:
    """Write one answer's objects; returns their files, or the code of their refusal, and which were asked for."""
    from medprior.deploy.inference.dicom_output import build_dicom_objects
    from medprior.dicom.derived.derived_object import write_owner_only_file

    try:
        objects = build_dicom_objects(prediction, path, kinds)
    except Rejected as error:
        return {"files": {}, "code": error.code, "message": error.what, "kinds": list(kinds)}
    (out / DICOM_FOLDER).mkdir(mode=0o700, exist_ok=True)
    files = {kind: f"{DICOM_FOLDER}/{format_object_file(item, kind)}" for kind in objects}
    for kind, content in objects.items():
        write_owner_only_file(out / files[kind], content)
    return {"files": files, "code": "", "message": "", "kinds": list(kinds)}


def write_prediction(prediction: RadiographPrediction, out: Path, item: str, extra: dict[str, Any]) -> None:
    """Write one answer's pictures, and its JSON last: an answer with JSON is complete."""
    from medprior.deploy.inference.overlays import render_mask, render_overlay

    files: dict[str, Any] = {"overlay": f"{item}_overlay.png", "masks": {}}
    with atomic_write(out / files["overlay"]) as temporary:
        render_overlay(prediction).save(temporary, "PNG", compress_level=OVERLAY_COMPRESS_LEVEL)
    for name, mask in prediction.masks.items():
        files["masks"][name] = f"{item}_{name}.png"
        with atomic_write(out / files["masks"][name]) as temporary:
            render_mask(mask).save(temporary, "PNG")
    write_json(out / f"{item}.json", {"item": item, **prediction.record(), **extra, "files": files})


def write_prediction_table(out: Path, sources: Mapping[str, str], keep_names: bool) -> None:
    """Write `report.csv`: one row for each file, in the order they were answered.

    Args:
        out: result folder.
        sources: item -> name of its file.
        keep_names: whether the table has them as its column `file`.
    """
    rows = []
    for item, source in sources.items():
        record = json.loads((out / f"{item}.json").read_text(encoding="utf-8"))
        ratio = record.get("cardiothoracic_ratio") or {}
        findings = record.get("findings", {})
        rows.append(
            {
                "item": item,
                **({"file": source} if keep_names else {}),
                "status": record["status"],
                "code": record.get("code", ""),
                "message": record.get("message", ""),
                "present": " ".join(name for name, entry in findings.items() if entry["present"]),
                **{name: entry["probability"] for name, entry in findings.items()},
                "cardiothoracic_ratio": ratio.get("value"),
                "familiarity_score": (record.get("familiarity") or {}).get("score"),
                "view": record.get("view", ""),
                "dicom": format_object_kinds(record.get("dicom")),
                "flags": " ".join(record.get("flags", ())),
            }
        )
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_write(out / REPORT_FILE) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def format_object_kinds(objects: dict[str, Any] | None) -> str:
    """Kinds of the objects that were written, the code if there are none, empty if not asked for."""
    if objects is None:
        return ""
    return " ".join(sorted(objects["files"])) or f"none: {objects['code']}"
