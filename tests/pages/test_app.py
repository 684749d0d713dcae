"""What every page's application serves."""

import json

import httpx


def test_openapi_describes_the_routes(plain):
    described = json.loads(httpx.get(plain + "openapi.json").text)
    assert "/echo" in described["paths"]
