"""The drawing page as an application: what the browser may ask and what it gets."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from medprior.annotate.page.contours import ContourDrawing
from medprior.annotate.page.drawing_session import CONTOURS_FILE, DrawingSession
from medprior.annotate.page.rendering import encode_picture_png, overlay_map_contours, render_picture
from medprior.annotate.page.transfer_preview import LONGEST_SIDE_PX, TransferPreview
from medprior.errors import MedpriorError
from medprior.pages.access import AccessSettings
from medprior.pages.app import create_page_app
from medprior.pages.problem import Problem
from medprior.palette import FURTHER_COLOURS, STRUCTURE_COLOURS, assign_colours

PAGE_WEB_FOLDER = Path(__file__).parent / "web"
PAGE_THUMBNAIL_PX, PAGE_PICTURE_PX, COVERAGE_PX = 320, 2048, 512
PAGE_STRUCTURES = ("right_lung", "left_lung", "heart")


async def handle_input_error(_: Request, error: Exception) -> Response:
    """Handler of input that is refused: words for people, in their parts."""
    assert isinstance(error, MedpriorError)
    parts = {"expected": error.expected, "found": error.found, "fix": error.fix}
    body = {"code": "refused", "message": error.what, "where": error.where, **parts}
    return JSONResponse(body, 422)


def create_drawing_app(
    desk: DrawingSession, carrier: TransferPreview | None, access: AccessSettings, first: str = ""
) -> FastAPI:
    """The application.

    Args:
        desk: the session.
        carrier: shows what a drawing does, or None without a cohort.
        access: the door.
        first: key of the picture to begin with, '' to let the user choose.
    """
    app = create_page_app("medprior annotate", access, PAGE_WEB_FOLDER)
    app.add_exception_handler(MedpriorError, handle_input_error)

    @app.get("/api/start")
    def start() -> dict[str, Any]:
        """What there is to draw on."""
        return {
            "first": first,
            "cohort": desk.cohort is not None,
            "suggestions": desk.suggestions(),
            "structures": PAGE_STRUCTURES,
            "colours": STRUCTURE_COLOURS,
            "further": FURTHER_COLOURS,
        }

    add_picture_routes(app, desk)
    add_save_routes(app, desk, carrier)
    if carrier is not None:
        add_transfer_routes(app, carrier)
    return app


def add_picture_routes(app: FastAPI, desk: DrawingSession) -> None:
    """Radiographs to look at."""

    @app.get("/api/picture")
    def facts(key: str) -> dict[str, Any]:
        """Size of a picture, and what was drawn on it before."""
        rows, cols = desk.picture(key).pixels.shape
        return {"rows": rows, "cols": cols, "structures": load_saved_contours(desk, key)}

    @app.get("/api/picture.png")
    def picture(key: str, small: bool = False) -> Response:
        """A picture as PNG."""
        image = render_picture(desk.picture(key).pixels, PAGE_THUMBNAIL_PX if small else PAGE_PICTURE_PX)
        return Response(encode_picture_png(image), media_type="image/png")

    @app.post("/api/open")
    async def opened(request: Request) -> dict[str, str]:
        """Put the DICOM, PNG or JPEG file in the body on the table."""
        data = await request.body()
        return {"key": await run_in_threadpool(desk.add, data)}


def add_save_routes(app: FastAPI, desk: DrawingSession, carrier: TransferPreview | None) -> None:
    """The drawing, and the end."""

    @app.post("/api/save")
    def save(drawn: ContourDrawing) -> dict[str, Any]:
        """Keep the drawing, and begin to show what it does."""
        made = desk.save(drawn)
        if carrier is not None:
            carrier.start(made, desk.out)
        return {
            "colours": assign_colours(made.structures),
            "warnings": made.warnings,
            "carrying": carrier is not None,
            "next": format_prior_command(desk),
        }

    @app.get("/api/preview.png")
    def preview() -> Response:
        """The saved drawing."""
        if desk.saved is None:
            raise Problem(404, "not_saved", "nothing was saved yet")
        maps = dict(zip(desk.saved.structures, desk.saved.coverage(COVERAGE_PX), strict=True))
        image = overlay_map_contours(desk.saved.image, maps, LONGEST_SIDE_PX)
        return Response(encode_picture_png(image), media_type="image/png")

    @app.post("/api/finish")
    def finish() -> dict[str, bool]:
        """End the command; it writes nothing more."""
        signal.raise_signal(signal.SIGTERM)
        return {"saved": desk.saved is not None}


def add_transfer_routes(app: FastAPI, carrier: TransferPreview) -> None:
    """What the drawing does to other patients."""

    @app.get("/api/carried")
    def carried() -> dict[str, Any]:
        """How far the carrying over has come."""
        found = carrier.carried
        doubts = [panel.doubt for panel in found.panels]
        return {"state": found.state, "message": found.message, "doubtful": doubts}

    @app.get("/api/carried.png")
    def panel(number: int) -> Response:
        """One of its pictures."""
        panels = carrier.carried.panels
        if not 0 <= number < len(panels):
            raise Problem(404, "no_panel", "there is no such picture")
        return Response(panels[number].picture, media_type="image/png")


def load_saved_contours(desk: DrawingSession, key: str) -> list[dict[str, Any]]:
    """The contours that the folder holds of a cohort's picture, to go on with."""
    if key.startswith("file-"):
        return []
    try:
        record = json.loads((desk.out / CONTOURS_FILE).read_text(encoding="utf-8"))
        drawn = ContourDrawing.checked(record, CONTOURS_FILE)
    except (OSError, ValueError, MedpriorError):
        return []
    same = drawn.picture == key
    return [item.model_dump(mode="json") for item in drawn.structures] if same else []


def format_prior_command(desk: DrawingSession) -> str:
    """The command that makes the prior of this drawing."""
    cohort = desk.cohort.path if desk.cohort is not None else "COHORT"
    return f"medprior prior {cohort} PRIOR --annotation {desk.out}"
