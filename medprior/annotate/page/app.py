"""HTTP application of the drawing page."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from medprior.annotate.naming import normalise_name
from medprior.annotate.page.contours import ContourDrawing
from medprior.annotate.page.drawing_session import CONTOURS_FILE, DrawingSession
from medprior.annotate.page.rendering import encode_picture_png, overlay_map_contours, render_picture
from medprior.annotate.page.transfer_preview import LONGEST_SIDE_PX, TransferPreview
from medprior.errors import MedpriorError, Rejected
from medprior.pages.access import AccessSettings
from medprior.pages.app import create_page_app
from medprior.pages.problem import Problem
from medprior.palette import FURTHER_COLOURS, STRUCTURE_COLOURS, assign_colours
from medprior.side_markers import draw_side_markers

PAGE_WEB_FOLDER = Path(__file__).parent / "web"
PAGE_THUMBNAIL_PX, PAGE_PICTURE_PX, COVERAGE_PX = 320, 2048, 512
PAGE_STRUCTURES = ("right_lung", "left_lung", "heart")


async def handle_input_error(_: Request, error: Exception) -> Response:
    """Handler of `MedpriorError`: responds with the parts of its message."""
    assert isinstance(error, MedpriorError)
    details = {"expected": error.expected, "found": error.found, "fix": error.fix}
    where = "" if isinstance(error, Rejected) else error.where  # a code, which says no more than the message
    body = {"code": "refused", "message": error.what, "where": where, **details}
    return JSONResponse(body, 422)


def create_drawing_app(
    session: DrawingSession, preview: TransferPreview | None, access: AccessSettings, first: str = ""
) -> FastAPI:
    """The application of the drawing page.

    Args:
        session: images and annotation.
        preview: transfers the annotation, or None without a cohort.
        access: who may reach the page.
        first: key of the first image, '' to let the user choose.
    """
    app = create_page_app("medprior annotate", access, PAGE_WEB_FOLDER)
    app.add_exception_handler(MedpriorError, handle_input_error)

    @app.get("/api/start")
    def start() -> dict[str, Any]:
        """First image, suggestions, structures and colours."""
        return {
            "first": first,
            "cohort": session.cohort is not None,
            "suggestions": session.suggest_images(),
            "structures": PAGE_STRUCTURES,
            "colours": STRUCTURE_COLOURS,
            "further": FURTHER_COLOURS,
        }

    add_picture_routes(app, session)
    add_save_routes(app, session, preview)
    if preview is not None:
        add_transfer_routes(app, preview)
    return app


def add_picture_routes(app: FastAPI, session: DrawingSession) -> None:
    """Add the routes of images."""

    @app.get("/api/picture")
    def describe(key: str) -> dict[str, Any]:
        """Size of an image, and its saved contours."""
        rows, cols = session.get_picture(key).pixels.shape
        return {"rows": rows, "cols": cols, "structures": load_saved_contours(session, key)}

    @app.get("/api/picture.png")
    def picture(key: str, small: bool = False) -> Response:
        """An image as PNG."""
        image = render_picture(session.get_picture(key).pixels, PAGE_THUMBNAIL_PX if small else PAGE_PICTURE_PX)
        if small:  # the page writes them beside the large one
            draw_side_markers(image)
        return Response(encode_picture_png(image), media_type="image/png")

    @app.post("/api/open")
    async def open_file(request: Request) -> dict[str, str]:
        """Open the DICOM, PNG or JPEG file in the body."""
        data = await request.body()
        return {"key": await run_in_threadpool(session.add_file, data)}


def add_save_routes(app: FastAPI, session: DrawingSession, preview: TransferPreview | None) -> None:
    """Add the routes that save the annotation and end the session."""

    @app.post("/api/save")
    def save(drawing: ContourDrawing) -> dict[str, Any]:
        """Save the annotation, and start its transfer."""
        annotation = session.save(drawing)
        if preview is not None:
            preview.start(annotation, session.out)
        return {
            "colours": assign_colours(annotation.structures),
            "warnings": annotation.warnings,
            "carrying": preview is not None,
            "next": format_prior_command(session),
        }

    @app.get("/api/preview.png")
    def saved_preview() -> Response:
        """The saved annotation as PNG."""
        if session.annotation is None:
            raise Problem(404, "not_saved", "nothing was saved yet")
        maps = dict(zip(session.annotation.structures, session.annotation.coverage(COVERAGE_PX), strict=True))
        image = overlay_map_contours(session.annotation.image, maps, LONGEST_SIDE_PX)
        return Response(encode_picture_png(image), media_type="image/png")

    @app.post("/api/finish")
    def finish() -> dict[str, bool]:
        """End the command; it writes nothing more."""
        signal.raise_signal(signal.SIGTERM)
        return {"saved": session.annotation is not None}


def add_transfer_routes(app: FastAPI, preview: TransferPreview) -> None:
    """Add the routes of the transfer to other patients."""

    @app.get("/api/carried")
    def transfer_state() -> dict[str, Any]:
        """State of the transfer, and doubts about its panels."""
        transfer = preview.state
        doubts = [panel.doubt for panel in transfer.panels]
        return {"state": transfer.state, "message": transfer.message, "doubtful": doubts}

    @app.get("/api/carried.png")
    def panel(number: int) -> Response:
        """One panel as PNG."""
        panels = preview.state.panels
        if not 0 <= number < len(panels):
            raise Problem(404, "no_panel", "there is no such picture")
        return Response(panels[number].picture, media_type="image/png")


def load_saved_contours(session: DrawingSession, key: str) -> list[dict[str, Any]]:
    """Saved contours of an image of the cohort; empty where there are none."""
    if key.startswith("file-"):
        return []
    try:
        record = json.loads((session.out / CONTOURS_FILE).read_text(encoding="utf-8"))
        drawing = ContourDrawing.from_values(record, CONTOURS_FILE)
        structures = drawing.structures if drawing.picture == key else ()
        contours = [item.model_dump(mode="json") | {"name": normalise_name(item.name)} for item in structures]
    except (OSError, ValueError, MedpriorError):
        return []
    return contours


def format_prior_command(session: DrawingSession) -> str:
    """The command that makes the prior of this annotation."""
    cohort = session.cohort.path if session.cohort is not None else "COHORT"
    return f"medprior prior {cohort} PRIOR --annotation {session.out}"
