"""Errors in words, without what was sent."""

import signal

import httpx

from tests.pages.servers import code, running


def test_errors_are_json_without_what_was_sent(plain):
    missing = httpx.get(plain + "nowhere/DOE")
    assert missing.status_code == 404
    assert code(missing) == "not_found"
    wrong = httpx.get(plain + "number", params={"n": "DOE^JOHN"})
    assert wrong.status_code == 422
    assert code(wrong) == "invalid_request"
    assert "DOE" not in wrong.text
    assert httpx.delete(plain + "health").status_code == 405


def test_a_bug_of_ours_says_nothing():
    with running() as (url, process):
        response = httpx.get(url + "bug")
        assert response.status_code == 500
        assert code(response) == "internal"
        assert "DOE" not in response.text
        httpx.get(url + "secret-path-of-DOE")
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
        assert "unforeseen ValueError" in log
        assert "DOE" not in log
        assert "Traceback" not in log
