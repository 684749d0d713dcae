"""Mutation testing of a repository of two modules: statuses, score, and a stopped run that goes on."""

import json
import os
import subprocess
import sys

import pytest

from .mutate import compute_digest, list_near_tests, list_room_modules, sample_mutants

GATE = "def is_open(value, limit):\n    return value >= limit\n"
LOOP = "def count(n):\n    while n > 0:\n        n -= 1\n    return n\n"


@pytest.fixture
def repository(tmp_path):
    packages = ("medprior", "medprior/room", "tests", "tests/room")
    test = "from medprior.room.{} import *\n\n\ndef test_it():\n    assert {}\n"
    files = {f"{package}/__init__.py": "" for package in packages} | {
        "medprior/room/gate.py": GATE,
        "medprior/room/loop.py": LOOP,
        "tests/room/test_gate.py": test.format("gate", "not is_open(1, 2)"),
        "tests/room/test_flow.py": test.format("loop", "count(2) == 0"),
        "tests/room/test_red.py": test.format("gate", "is_open(1, 2)"),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def run_mutation(repository, *arguments):
    command = [
        sys.executable,
        "-m",
        "tests.mutate",
        "room",
        "--repository",
        str(repository),
        "--seconds",
        "300",
        *arguments,
        "--preload",
    ]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env, check=True)
    return finished.stdout, json.loads((repository / "runs/mutation/room.json").read_text())


def test_a_decision_at_the_limit_that_no_test_sees_survives(repository):
    printed, document = run_mutation(repository, "--modules", "gate")
    statuses = {row["after"]: row["status"] for row in document["mutants"]}
    assert statuses == {"value > limit": "survived", "value < limit": "killed"}
    assert document["score"] == 0.5
    assert {row["tests"] for row in document["mutants"]} == {"tests/room/test_gate.py"}  # a red file judges nothing
    assert "tests/room/test_red.py judges nothing: without a mutant it fails" in printed
    assert "score 50.0% of 2 mutants" in printed
    assert ":2  value >= limit  ->  value > limit" in printed
    assert (repository / "medprior/room/gate.py").read_text() == GATE
    # The next run has nothing to judge, until a test changes.
    printed, again = run_mutation(repository, "--modules", "gate")
    assert again == document
    assert "survived medprior" not in printed
    test = repository / "tests/room/test_gate.py"
    test.write_text(test.read_text() + "    assert is_open(2, 2)\n")
    assert run_mutation(repository, "--modules", "gate")[1]["score"] == 1


@pytest.mark.slow
def test_an_endless_loop_is_ended_and_counts_as_noticed(repository):
    _, document = run_mutation(repository, "--modules", "loop", "--grace", "2")
    statuses = {(row["before"], row["after"]): row["status"] for row in document["mutants"]}
    assert statuses["n -= 1", "n += 1"] == statuses["1", "0"] == "timeout"
    assert statuses["n > 0", "n <= 0"] == "killed"
    assert statuses["1", "2"] == "survived"
    assert document["counts"]["timeout"] == 2
    assert document["score"] == pytest.approx(5 / 6)


def test_the_mirror_stands_before_other_tests_that_import_the_module(repository):
    assert list_near_tests(repository, "medprior/room/gate.py") == [
        "tests/room/test_gate.py",
        "tests/room/test_red.py",
    ]
    assert list_near_tests(repository, "medprior/room/loop.py") == ["tests/room/test_flow.py"]


def test_a_sample_is_the_same_for_a_seed(repository):
    modules = list_room_modules(repository, "room", [])
    assert modules == ["medprior/room/gate.py", "medprior/room/loop.py"]
    whole = sample_mutants(repository, modules, None, 0)
    assert len(whole) == 8
    assert sample_mutants(repository, modules, 3, 5) == sample_mutants(repository, modules, 3, 5)
    assert set(sample_mutants(repository, modules, 3, 5)) < set(whole)
    with pytest.raises(SystemExit, match="no module gates"):
        list_room_modules(repository, "room", ["gates"])


def test_a_result_holds_while_module_and_tests_are_unchanged(repository):
    files = ["medprior/room/gate.py", "tests/room/test_gate.py"]
    digest = compute_digest(repository, files)
    assert digest == compute_digest(repository, files) != compute_digest(repository, files[:1])
    (repository / files[1]).write_text("changed")
    assert compute_digest(repository, files) != digest
