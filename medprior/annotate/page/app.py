"""HTTP application of the drawing page."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from medprior.annotate.naming import normalise_name
from medprior.annotate.page.contours import ContourDrawing
from medprior.annotate.page.drawing_session import CONTOURS_FILE, FILE_KEY_PREFIX, DrawingSession
from medprior.annotate.page.edge_snapping import EdgeSnap, snap_contours
from medprior.annotate.page.mask_editing import ContourEdit
from medprior.annotate.page.rendering import encode_picture_png, overlay_map_contours, render_picture
from medprior.annotate.page.suggestion import Suggestion, Suggestions
from medprior.annotate.page.transfer_preview import LONGEST_SIDE_PX, TransferPanel, TransferPreview
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
    session: DrawingSession,
    preview: TransferPreview | None,
    access: AccessSettings,
    first: str = "",
    suggestions: Suggestions | None = None,
) -> FastAPI:
    """The application of the drawing page.

    Args:
        session: images and annotation.
        preview: transfers the annotation, or None without a cohort.
        access: who may reach the page.
        first: key of the first image, '' to let the user choose.
        suggestions: makes contours to correct, or None without a model.
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
            "model": suggestions is not None,
            "drawing": preview is not None and bool(session.list_annotation_folders()),
        }

    add_picture_routes(app, session)
    add_save_routes(app, session, preview)
    if suggestions is not None:
        add_suggestion_route(app, session, suggestions)
    if preview is not None:
        add_transfer_routes(app, session, preview)
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

    @app.post("/api/edit")
    def edit(request: ContourEdit) -> dict[str, Any]:
        """Contours after a stroke of the brush or eraser, or after smoothing."""
        return {"contours": request.apply()}

    @app.post("/api/snap")
    def snap(request: EdgeSnap) -> dict[str, Any]:
        """Contours on the nearest edges of their image."""
        return {"contours": snap_contours(session.get_picture(request.picture).pixels, request.contours)}


def add_suggestion_route(app: FastAPI, session: DrawingSession, suggestions: Suggestions) -> None:
    """Add the route of contours that a model suggests."""

    @app.get("/api/suggestion")
    def suggest(key: str) -> dict[str, Any]:
        """Contours of lungs and heart to correct."""
        picture = session.get_picture(key)
        return suggestions.suggest(key, picture).record((picture.pixels.shape[0], picture.pixels.shape[1]))


def add_save_routes(app: FastAPI, session: DrawingSession, preview: TransferPreview | None) -> None:
    """Add the routes that save the annotation and end the session."""

    @app.post("/api/save")
    def save(drawing: ContourDrawing) -> dict[str, Any]:
        """Save the annotation, and start its transfer."""
        annotation = session.save(drawing)
        if preview is not None:
            preview.start(session.examples)
        return {
            "colours": assign_colours(annotation.structures),
            "warnings": annotation.warnings,
            "carrying": preview is not None,
            "next": format_prior_command(session),
        }

    @app.get("/api/preview.png")
    def saved_preview(key: str = "") -> Response:
        """The saved annotation of an image as PNG; the first one where no key is given."""
        saved = [example.annotation for example in session.examples if key in {"", example.key}]
        if not saved:
            raise Problem(404, "not_saved", "nothing was saved yet")
        maps = dict(zip(saved[0].structures, saved[0].coverage(COVERAGE_PX), strict=True))
        image = overlay_map_contours(saved[0].image, maps, LONGEST_SIDE_PX)
        return Response(encode_picture_png(image), media_type="image/png")

    @app.post("/api/finish")
    def finish() -> dict[str, bool]:
        """End the command; it writes nothing more."""
        signal.raise_signal(signal.SIGTERM)
        return {"saved": session.annotation is not None}


def add_transfer_routes(app: FastAPI, session: DrawingSession, preview: TransferPreview) -> None:
    """Add the routes of the transfer to other patients."""

    @app.get("/api/carried")
    def transfer_state() -> dict[str, Any]:
        """State of the transfer, and what is known of the panels that are done."""
        transfer = preview.state
        results = [panel.result for panel in transfer.panels]
        return {
            "state": transfer.state,
            "message": transfer.message,
            "count": transfer.count,
            "doubtful": [result.doubt for result in results],
            "keys": [result.image_id for result in results],
            "matches": [result.match for result in results],
            "annotated": [result.is_annotated for result in results],
            "next": next((n for n, result in enumerate(results) if result.image_id == transfer.next_id), None),
        }

    @app.get("/api/carried.png")
    def panel(number: int, large: bool = False) -> Response:
        """One panel as PNG."""
        small = get_panel(preview, number).picture
        return Response(preview.render_enlarged(number) if large else small, media_type="image/png")

    @app.get("/api/carried/contours")
    def contours(number: int) -> dict[str, Any]:
        """Contours of one panel, to be corrected."""
        result = get_panel(preview, number).result
        masks = {name: layer >= 0.5 for name, layer in result.maps.items()}
        return Suggestion(masks).record(session.get_shape(result.image_id))

    @app.get("/api/transferred")
    def transferred(key: str) -> dict[str, Any]:
        """Contours of the saved drawings carried over to one image of the cohort."""
        shape, folders = session.get_shape(key), session.list_annotation_folders()
        if key.startswith(FILE_KEY_PREFIX) or not folders:
            raise Problem(404, "no_drawing", "no saved drawing can be carried over to this picture")
        maps = preview.transfer_to(key, folders).maps
        return Suggestion({name: layer >= 0.5 for name, layer in maps.items()}).record(shape)


def get_panel(preview: TransferPreview, number: int) -> TransferPanel:
    """One panel of the latest transfer, or the problem that there is none."""
    panels = preview.state.panels
    if not 0 <= number < len(panels):
        raise Problem(404, "no_panel", "there is no such picture")
    return panels[number]


def load_saved_contours(session: DrawingSession, key: str) -> list[dict[str, Any]]:
    """Saved contours of an image of the cohort; empty where there are none."""
    if key.startswith(FILE_KEY_PREFIX):
        return []
    for folder in (session.out, *session.list_annotation_folders()[1:]):
        try:
            record = json.loads((folder / CONTOURS_FILE).read_text(encoding="utf-8"))
            drawing = ContourDrawing.from_values(record, CONTOURS_FILE)
            structures = drawing.structures if drawing.picture == key else ()
            contours = [item.model_dump(mode="json") | {"name": normalise_name(item.name)} for item in structures]
        except (OSError, ValueError, MedpriorError):
            continue
        if contours:
            return contours
    return []


def format_prior_command(session: DrawingSession) -> str:
    """The command that makes the prior of the annotations, to be pasted into a shell of any folder."""
    cohort = shlex.quote(str(session.cohort.path.resolve())) if session.cohort is not None else "COHORT"
    folders = [folder.resolve() for folder in session.list_annotation_folders() or (session.out,)]
    prior = folders[0].with_name(f"{folders[0].name}_prior")
    sources = " ".join(f"--annotation {shlex.quote(str(folder))}" for folder in folders)
    return f"medprior prior {cohort} {shlex.quote(str(prior))} {sources}"
