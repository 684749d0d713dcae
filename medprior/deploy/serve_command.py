"""`medprior serve`: serves a model over HTTP, with a web page; for research, not for care."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medprior.deploy.archive_options import (
    add_archive_option,
    add_authorities_option,
    add_objects_option,
    read_archive,
)
from medprior.deploy.inference.object_kinds import SENT_KINDS, parse_object_kinds
from medprior.observer import Observer

if TYPE_CHECKING:
    from medprior.deploy.node.destinations import Destination
    from medprior.deploy.node.settings import DeliverySettings
    from medprior.deploy.service.result_sender import ResultSender


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--model",
        help="models:/NAME@ALIAS, models:/NAME/VERSION or a model folder (default: the anatomy model of medprior)",
    )
    parser.add_argument("--segmenter", help="segmentation model for masks, beside a classification model folder")
    parser.add_argument("--verify-key", type=Path, metavar="FILE", help="public key; refuse models it did not sign")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default: auto, CUDA where there is one)")
    parser.add_argument(
        "--evidence",
        type=Path,
        help="folder of `medprior evaluate` of the model: AUC, sensitivity and specificity to show beside findings",
    )
    parser.add_argument(
        "--tracking-uri",
        help="MLflow store (default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; others need --token-file")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument("--token-file", type=Path, help="file whose first line every visitor must know")
    parser.add_argument(
        "--name", action="append", default=[], metavar="HOST",
        help="host name that visitors use, such as that of a proxy; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--behind-tls-proxy", action="store_true",
        help="a proxy with TLS stands before it and sets X-Forwarded-Proto: cookies are for https alone",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=2, help="decoding processes (default 2)")
    parser.add_argument("--max-mb", type=int, default=64, help="largest request, MiB (default 64)")
    parser.add_argument("--queue", type=int, default=64, help="radiographs that may wait (default 64)")
    parser.add_argument("--batch", type=int, default=4, help="views that go through a network together (default 4)")
    parser.add_argument(
        "--refuse-unfamiliar",
        action="store_true",
        help="refuse pictures unlike the training images instead of flagging them",
    )
    sending = parser.add_argument_group("sending the results of store requests (/studies) on to an archive")
    add_archive_option(sending, required=False)
    add_objects_option(sending)
    sending.add_argument(
        "--send-queue", type=Path, default=Path("medprior_results"), metavar="FOLDER",
        help="folder of what waits (default medprior_results); it holds patient data and outlives the service",
    )  # fmt: skip
    sending.add_argument("--aet", default="MEDPRIOR", help="AE title that calls an archive (default MEDPRIOR)")
    add_authorities_option(sending)


def result_folder(args: argparse.Namespace) -> Path:
    """The current folder; the service writes none but its `--send-queue`."""
    return Path.cwd()


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    from medprior.deploy.service.settings import ServiceSettings
    from medprior.pages.access import read_token
    from medprior.pages.serving import open_listener, serve_app

    access = {
        "host": args.host,
        "port": args.port,
        "token": read_token(args.token_file),
        "names": args.name,
        "max_bytes": args.max_mb * 2**20,
        "trust_forwarded_proto": args.behind_tls_proxy,
    }
    destination = None if args.send_to is None else read_archive(args)
    settings = ServiceSettings.from_values(
        {
            "access": access,
            "queue": args.queue,
            "batch": args.batch,
            "refuse_unfamiliar": args.refuse_unfamiliar,
            "held_mb": 4 * args.max_mb,
            "threads": max(2, args.workers + 2),
            "delivery": {"objects": parse_object_kinds(args.objects, "--objects", SENT_KINDS)},
        },
        "medprior serve",
    )
    with open_listener(settings.access) as listener:  # refuses a taken port before the model loads, which takes seconds
        from medprior.deploy.registry.load import load_model
        from medprior.deploy.service.app import build_app
        from medprior.dicom import Policy
        from medprior.dicom.bounded_reader import BoundedReader

        predictor = load_model(
            args.model, args.tracking_uri, args.segmenter, args.device, args.evidence, args.verify_key
        )
        if args.refuse_unfamiliar:
            predictor.require_familiarity_score()
        policy = Policy(max_bytes=settings.access.max_bytes)
        with (
            open_result_sender(args.send_queue, destination, settings.delivery) as sender,
            BoundedReader(args.workers, policy) as reader,
        ):
            app = build_app(predictor, reader, settings, sender)
            serve_app(app, settings.access, listener, lambda url: print_service_url(url, args.token_file))


@contextmanager
def open_result_sender(
    folder: Path, destination: Destination | None, settings: DeliverySettings
) -> Iterator[ResultSender | None]:
    """The sender to an archive, whose folder no other process uses meanwhile; None without an archive.

    Raises:
        MedpriorError: another process uses the folder.
    """
    if destination is None:
        yield None
        return
    from medprior.deploy.node.library_logs import silence_dicom_libraries
    from medprior.deploy.service.result_sender import ResultSender
    from medprior.locks import LOCK_FILE, hold_lock

    silence_dicom_libraries()
    with hold_lock(folder / LOCK_FILE, "this queue", mode=0o600):
        yield ResultSender(folder, destination, settings)


def print_service_url(url: str, token_file: Path | None) -> None:
    """Print the address of the page, without its token, which logs would keep."""
    print(f"medprior serves at {url}", flush=True)
    if token_file is not None:
        print(f"A browser opens it as {url}?token=TOKEN, with the first line of {token_file.name}", flush=True)
    print("For research; not for diagnosis. Ctrl-C ends it.", flush=True)
