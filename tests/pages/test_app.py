"""What every page's application serves."""

import json

import httpx
from fastapi.testclient import TestClient

from medprior.pages.access import AccessSettings
from medprior.pages.app import create_page_app
from medprior.palette import STRUCTURE_COLOURS


def test_openapi_describes_the_routes(plain):
    described = json.loads(httpx.get(plain + "openapi.json").text)
    assert "/echo" in described["paths"]


def client_of(web=None):
    return TestClient(create_page_app("test", AccessSettings(), web), base_url="http://127.0.0.1")


def test_a_page_is_served_where_there_is_one(tmp_path):
    (tmp_path / "index.html").write_text("<p>page</p>")
    (tmp_path / "page.js").write_text("// script")
    client = client_of(tmp_path)
    assert client.get("/").text == "<p>page</p>"
    assert client.get("/static/page.js").text == "// script"
    for path in ("/", "/static/page.js"):
        assert client_of().get(path).status_code == 404


def test_the_palette_is_a_style_sheet_and_a_script():
    sheet, script = (client_of().get(f"/shared/palette.{name}") for name in ("css", "js"))
    assert sheet.headers["content-type"].startswith("text/css")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "--orange: #e69f00;" in sheet.text
    assert STRUCTURE_COLOURS["heart"] in script.text


def test_shared_files_need_no_own_page_and_nothing_else_is_described():
    client = client_of()
    assert client.get("/shared/look.css").status_code == 200
    assert client.get("/vendor/openseadragon/LICENSE.txt").status_code == 200
    assert client.get("/openapi.json").json()["paths"] == {}
    for path in ("/docs", "/redoc", "/shared/../app.py", "/vendor/VENDOR.txt"):
        refused = client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


def test_every_route_is_behind_the_door():
    for path in ("/shared/palette.css", "/vendor/openseadragon/LICENSE.txt", "/openapi.json"):
        assert client_of().get(path, headers={"Host": "evil.example"}).status_code == 400
