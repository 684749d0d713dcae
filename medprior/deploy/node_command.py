"""`medprior node`: receives radiographs by C-STORE, sends SEG and SR to the archive; for research, not for care."""

from __future__ import annotations

import argparse
import logging
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medprior.deploy.archive_options import (
    add_archive_option,
    add_authorities_option,
    add_objects_option,
    read_archive,
)
from medprior.deploy.inference.object_kinds import SENT_KINDS, parse_object_kinds
from medprior.errors import ConfigError, InputMissing
from medprior.observer import Observer

if TYPE_CHECKING:
    from medprior.deploy.node.destinations import DimseDestination, WebDestination
    from medprior.deploy.node.node import Node
    from medprior.deploy.node.settings import NodeSettings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--aet", default="MEDPRIOR", help="AE title of the node (default MEDPRIOR)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=11112, help="DICOM port (default 11112); 0 takes a free one")
    parser.add_argument(
        "--http-port", type=int, default=11113, help="port of /metrics and /health (default 11113); 0 takes a free one"
    )
    add_archive_option(parser, required=True)
    parser.add_argument(
        "--known", action="append", default=[], metavar="AET",
        help="AE title that may call, repeatable (default: the one in --send-to)",
    )  # fmt: skip
    add_objects_option(parser)
    parser.add_argument(
        "--queue", type=Path, default=Path("medprior_node"), metavar="FOLDER",
        help="folder of the queue (default medprior_node); it holds patient data and outlives the node",
    )  # fmt: skip
    parser.add_argument(
        "--model",
        help="models:/NAME@ALIAS, models:/NAME/VERSION or a model folder (default: the anatomy model of medprior)",
    )
    parser.add_argument("--segmenter", help="segmentation model for masks, beside a classification model folder")
    parser.add_argument("--verify-key", type=Path, metavar="FILE", help="public key; refuse models it did not sign")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default: auto, CUDA where there is one)")
    parser.add_argument("--tracking-uri", help="MLflow store (default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db)")
    parser.add_argument("--workers", type=int, default=2, help="radiographs read at once (default 2)")
    parser.add_argument("--max-mb", type=int, default=128, help="largest image, MiB (default 128)")
    parser.add_argument("--associations", type=int, default=16, help="open associations (default 16)")
    parser.add_argument("--refuse-unfamiliar", action="store_true", help="send nothing for images unlike training")
    parser.add_argument("--tls-cert", type=Path, help="certificate of the node (PEM): callers must use TLS")
    parser.add_argument("--tls-key", type=Path, help="private key of --tls-cert")
    parser.add_argument("--tls-ca", type=Path, help="authorities (PEM): callers must show a certificate of theirs")
    add_authorities_option(parser)


def result_folder(args: argparse.Namespace) -> Path:
    """The folder of the queue."""
    folder: Path = args.queue
    return folder


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Receive, predict and send until SIGTERM or Ctrl-C."""
    settings, destination = read_settings(args)
    tls = build_server_tls(args.tls_cert, args.tls_key, args.tls_ca)
    warn_of_plain_connections(settings, tls)
    configure_log()
    from medprior.dicom.bounded_reader import PRELOADED_MODULES
    from medprior.workers.sandbox import start_fork_server

    start_fork_server(PRELOADED_MODULES)  # the decoding process imports its libraries while this one imports torch
    from medprior.deploy.node.node import run_node
    from medprior.deploy.registry.load import load_model

    predictor = load_model(args.model, args.tracking_uri, args.segmenter, args.device, verify_key=args.verify_key)
    if settings.refuse_unfamiliar:
        predictor.require_familiarity_score()
    run_node(args.queue, predictor, destination, settings, tls, lambda node: print_node_address(node, settings))


def warn_of_plain_connections(settings: NodeSettings, tls: ssl.SSLContext | None) -> None:
    """Tell where other machines can connect without TLS."""
    if not settings.is_loopback and tls is None:
        print("note: without --tls-cert, callers send patient data unencrypted", file=sys.stderr)


def configure_log() -> None:
    """Log the node alone, to the standard error."""
    from medprior.deploy.node.library_logs import silence_dicom_libraries

    silence_dicom_libraries()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("medprior.node").setLevel(logging.INFO)


def read_settings(args: argparse.Namespace) -> tuple[NodeSettings, DimseDestination | WebDestination]:
    """The settings and the archive of a command line.

    Raises:
        ConfigError: a value is out of range, or no AE title may call.
    """
    from medprior.deploy.node.destinations import DimseDestination
    from medprior.deploy.node.settings import NodeSettings

    destination = read_archive(args)
    known = args.known or ([destination.aet] if isinstance(destination, DimseDestination) else [])
    if not known:
        raise ConfigError(
            "no AE title may call",
            where="--known",
            expected="the AE titles that send radiographs",
            fix="add --known AET",
        )
    values = {
        "aet": args.aet, "host": args.host, "port": args.port, "http_port": args.http_port, "known": tuple(known),
        "workers": args.workers, "max_mb": args.max_mb, "max_associations": args.associations,
        "objects": parse_object_kinds(args.objects, "--objects", SENT_KINDS),
        "refuse_unfamiliar": args.refuse_unfamiliar,
    }  # fmt: skip
    return NodeSettings.from_values(values, "medprior node"), destination


def build_server_tls(certificate: Path | None, key: Path | None, authorities: Path | None) -> ssl.SSLContext | None:
    """The TLS context of the receiver; None without a certificate.

    Raises:
        ConfigError: one of certificate and key is missing, or a file cannot be used.
    """
    if certificate is None and key is None and authorities is None:
        return None
    if certificate is None or key is None:
        raise ConfigError(
            "TLS needs a certificate and its key", where="--tls-cert", fix="give --tls-cert and --tls-key"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
        if authorities is not None:
            context.load_verify_locations(authorities)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError:
        raise InputMissing("the files of TLS cannot be read", where="--tls-cert, --tls-key, --tls-ca") from None
    return context


def print_node_address(node: Node, settings: NodeSettings) -> None:
    """Print where the node listens."""
    print(
        f"medprior node: {settings.aet}@{settings.host}:{node.port}, objects {','.join(settings.objects)}", flush=True
    )
    print(f"metrics: http://{settings.host}:{node.http_port}/metrics", flush=True)
    print("For research; not for diagnosis. Ctrl-C ends it.", flush=True)
