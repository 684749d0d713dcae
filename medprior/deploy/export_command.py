"""`medprior export`: writes a model folder as one ONNX file, checked against PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of medprior finetune")
    parser.add_argument("out", type=Path, metavar="OUT.onnx", help="file to write")


def result_folder(args: argparse.Namespace) -> Path:
    """The folder that holds the ONNX file."""
    folder: Path = args.out.parent
    return folder


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Export, and print the largest difference from PyTorch."""
    from medprior.deploy.inference.onnx_export import export_onnx

    agreement = export_onnx(args.model, args.out)
    print(f"wrote {args.out}: at most {agreement.max_difference:.1e} from PyTorch on {agreement.image_count} views")
