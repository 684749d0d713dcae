"""`medprior predict`: predicts findings, masks and attention maps; for research, not for care."""

from __future__ import annotations

import argparse
import csv
import functools
from collections import Counter
from pathlib import Path

from medprior.deploy.inference.object_kinds import DEFAULT_OBJECTS, OBJECT_KINDS, parse_object_kinds
from medprior.errors import InputMissing
from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("path", type=Path, metavar="PATH", help="DICOM, PNG, JPEG, TIFF or BMP, or a folder")
    parser.add_argument("-o", "--out", "--output", type=Path, required=True, help="result folder")
    parser.add_argument(
        "--model",
        help="models:/NAME@ALIAS, models:/NAME/VERSION or a model folder (default: the anatomy model of medprior)",
    )
    parser.add_argument("--segmenter", help="segmentation model for masks, beside a classification model folder")
    parser.add_argument("--verify-key", type=Path, metavar="FILE", help="public key; refuse models it did not sign")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default: auto, CUDA where there is one)")
    parser.add_argument(
        "--dicom",
        action="store_true",
        help="also write DICOM SEG, SR and an overlay, to OUT/dicom; they hold the patient's name",
    )
    parser.add_argument(
        "--objects",
        metavar="KINDS",
        help=f"what --dicom writes, joined by commas (default: {','.join(DEFAULT_OBJECTS)}): "
        + "; ".join(f"{kind}, {text}" for kind, text in OBJECT_KINDS.items()),
    )
    parser.add_argument(
        "--keep-names",
        action="store_true",
        help="name the files in report.csv; else only OUT.private/sources.jsonl maps its items to them",
    )
    parser.add_argument(
        "--refuse-unfamiliar",
        action="store_true",
        help="refuse pictures unlike the training images instead of flagging them",
    )
    parser.add_argument(
        "--check-upright",
        action="store_true",
        help="flag pictures that are inverted, turned or no frontal chest, by their pixels; takes five times as long",
    )
    parser.add_argument(
        "--tracking-uri",
        help="MLflow store (default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db)",
    )


def result_folder(args: argparse.Namespace) -> Path:
    """The result folder."""
    folder: Path = args.out
    return folder


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Predict on every file and print the counts."""
    from medprior.deploy.inference.predict_files import DICOM_FOLDER, REPORT_FILE, list_source_files, predict_path

    kinds: tuple[str, ...] = DEFAULT_OBJECTS if args.dicom else ()
    if args.objects is not None:
        kinds = parse_object_kinds(args.objects, "--objects")
    list_source_files(args.path)  # refuses a wrong path before the model loads, which takes seconds
    from medprior.dicom.bounded_reader import PRELOADED_MODULES, BoundedReader
    from medprior.workers.sandbox import start_fork_server

    start_fork_server(PRELOADED_MODULES)  # the decoding process imports its libraries while this one imports torch
    from tqdm import tqdm

    from medprior.deploy.inference.predictor import build_file_predictor
    from medprior.deploy.registry.load import load_model

    predictor = load_model(args.model, args.tracking_uri, args.segmenter, args.device, verify_key=args.verify_key)
    bar = functools.partial(tqdm, desc="predict", unit="file", disable=None)
    refusing, check = bool(args.refuse_unfamiliar), None
    if args.check_upright:
        # Its import of pydicom is a third of a second that other predictions do without.
        from medprior.deploy.inference.upright_check import flag_wrong_pose, require_upright_check

        require_upright_check(predictor)
        check = flag_wrong_pose
    with BoundedReader() as reader:
        predict = build_file_predictor(predictor, reader, refusing, check)
        counts = predict_path(args.path, args.out, predict, predictor.digest, bar, kinds, refusing, args.keep_names)
    if not counts.is_any_readable:
        refuse_unreadable_source(args.path, args.out / REPORT_FILE)
    summary = f"{counts.ok} read, {counts.rejected} rejected"
    if counts.already_answered:
        summary += f", {counts.already_answered} answered before"
    print(f"{summary}: {args.out / REPORT_FILE}")
    if (args.out / DICOM_FOLDER).is_dir():
        print(f"{args.out / DICOM_FOLDER} identifies patients")


def refuse_unreadable_source(source: Path, report: Path) -> None:
    """Refuse a file or folder in which no file is a radiograph, after the report is written.

    Raises:
        InputMissing: always; it quotes the most common reason of the report.
    """
    with report.open(encoding="utf-8", newline="") as file:
        messages = Counter(row["message"] for row in csv.DictReader(file))
    message, count = messages.most_common(1)[0]
    total = messages.total()
    reason = message if count == total else f"{message} ({count} of {total} files)"
    raise InputMissing(
        "no radiograph to predict on",
        where=str(source),
        expected="DICOM, PNG, JPEG, TIFF or BMP",
        found=f"{total} file{'s' * (total > 1)}: {reason}",
        fix=f"the reason for each file is in {report}",
    )
