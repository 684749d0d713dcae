"""Errors in words, without what was sent."""

import asyncio
import json
import logging
import signal

import httpx
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from medprior.pages.problem import Problem, create_problem_response, handle_invalid_request, handle_unexpected_error
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


def content(response):
    return json.loads(response.body)


def test_a_refusal_without_a_code_is_called_by_its_status():
    response = create_problem_response(HTTPException(405, "not so"))
    assert (response.status_code, content(response)) == (405, {"code": "method_not_allowed", "message": "not so"})
    response = create_problem_response(Problem(503, "busy", "later", {"Retry-After": "7"}))
    assert content(response) == {"code": "busy", "message": "later"}
    assert response.headers["retry-after"] == "7"


def test_the_log_names_the_class_and_the_last_line_only(caplog):
    def fail():
        raise ValueError("DOE^JOHN")

    with caplog.at_level(logging.ERROR, "medprior.pages"):
        try:
            fail()
        except ValueError as error:
            response = handle_unexpected_error(error)
        handle_unexpected_error(KeyError("DOE^JANE"))
    assert response.status_code == 500
    line = fail.__code__.co_firstlineno + 1
    assert caplog.messages == [f"unforeseen ValueError at test_problem.py:{line}", "unforeseen KeyError at ?"]


def test_invalid_arguments_are_named_once_and_never_quoted():
    def message(*places):
        error = RequestValidationError([{"loc": place, "input": "DOE"} for place in places])
        return content(asyncio.run(handle_invalid_request(None, error)))["message"]

    assert message(("query", "n"), ("body", 0, "x"), ("query", "n")) == "these do not fit: query.n, body.0.x"
    assert message(("body", "MÜLLER")) == "these do not fit: the request"
    assert len(message(*(("body", f"field{number}") for number in range(99)))) == len("these do not fit: ") + 200
