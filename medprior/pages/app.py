"""The FastAPI application of every page: access control, error responses and shared web files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

import medprior
from medprior.pages import problem
from medprior.pages.access import AccessSettings
from medprior.pages.security import SecurityMiddleware
from medprior.palette import format_palette_css, format_palette_script

PAGES_FOLDER = Path(__file__).parent
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_page_app(
    title: str, access: AccessSettings, web: Path | None = None, lifespan: Lifespan | None = None
) -> FastAPI:
    """An application with `/shared`, `/vendor`, `/openapi.json` and the page in `web`.

    Args:
        title: name of the application.
        access: who may reach it.
        web: folder with `index.html` (served at `/`) and its files (served at `/static`).
        lifespan: context that is open from start to stop.
    """
    app = FastAPI(
        title=title,
        version=medprior.__version__,
        description="For research; not for diagnosis.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(SecurityMiddleware, access=access)
    problem.install_error_handlers(app)
    for name, text, kind in (("css", format_palette_css(), "css"), ("js", format_palette_script(), "javascript")):
        app.router.routes.append(Route(f"/shared/palette.{name}", Response(text, media_type=f"text/{kind}")))
    app.mount("/shared", StaticFiles(directory=PAGES_FOLDER / "web"))
    app.mount("/vendor", StaticFiles(directory=PAGES_FOLDER / "vendor"))
    if web is not None:
        app.mount("/static", StaticFiles(directory=web))

        @app.get("/", include_in_schema=False)
        async def page() -> FileResponse:
            """The page."""
            return FileResponse(web / "index.html")

    return app
