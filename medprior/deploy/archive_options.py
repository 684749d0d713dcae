"""Options of the archive that results are sent to, which `medprior node` and `medprior serve` share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from medprior.deploy.inference.object_kinds import SENT_KINDS

if TYPE_CHECKING:
    from medprior.deploy.node.destinations import DimseDestination, WebDestination


def add_archive_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup, required: bool) -> None:
    """Add `--send-to`."""
    parser.add_argument(
        "--send-to", required=required, metavar="ARCHIVE",
        help="AET@host:port or https://host/dicom-web; MEDPRIOR_ARCHIVE_USER and MEDPRIOR_ARCHIVE_PASSWORD, or "
        "MEDPRIOR_ARCHIVE_TOKEN, where it asks for them",
    )  # fmt: skip


def add_objects_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add `--objects`."""
    parser.add_argument(
        "--objects", default="seg,sr", metavar="KINDS",
        help=f"what is sent, joined by commas: {', '.join(SENT_KINDS)} (default seg,sr)",
    )  # fmt: skip


def add_authorities_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add `--send-tls-ca`."""
    parser.add_argument("--send-tls-ca", type=Path, help="authorities (PEM) of an archive that takes C-STORE over TLS")


def read_archive(args: argparse.Namespace) -> DimseDestination | WebDestination:
    """The archive of `--send-to`.

    Raises:
        MedpriorError: it is no address, or its authorities cannot be read.
    """
    from medprior.deploy.node.destinations import load_authorities, parse_destination

    tls = load_authorities(args.send_tls_ca, "--send-tls-ca") if args.send_tls_ca else None
    return parse_destination(args.send_to, args.aet, tls)
