"""The bench itself, with a small model and few requests."""

import os
import subprocess
import sys

import pytest

from medprior.bench import deploy
from medprior.bench.deploy_inputs import create_random_model

SMALL = {"width": 24, "depth": 3, "heads": 3, "patch": 8, "image_size": 64}


@pytest.mark.slow
def test_load_and_single_image(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(deploy, "GOOD_SIDE_PX", 256)
    monkeypatch.setattr(deploy, "SINGLE_REPEATS", 2)
    classifier = str(create_random_model(tmp_path / "c", "classification", SMALL))
    segmenter = str(create_random_model(tmp_path / "s", "segmentation", SMALL))
    models = ["--model", classifier, "--segmenter", segmenter]
    assert deploy.run_load_test(models, 84)
    printed = capsys.readouterr().out
    assert "wrong: none" in printed
    assert "ended with status 0" in printed
    for name, content in deploy.create_good_files(256, ("uncompressed", "jpeg_2000")).items():
        (tmp_path / name).write_bytes(content)
    deploy.print_single_image(models, tmp_path, "findings and masks")
    assert "peak memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (range(1, 100), "p50 50 ms, p95 95 ms"), (range(1, 21), "p50 10 ms, p95 20 ms"), ([7], "p50 7 ms, p95 7 ms"),
        ([], "none"),
    ],
)  # fmt: skip
def test_percentiles_are_those_of_sorted_times(milliseconds, expected):
    assert deploy.format_percentiles([number / 1000 for number in milliseconds]) == expected


def test_good_and_hostile_bodies_alternate(monkeypatch):
    monkeypatch.setattr(deploy, "create_good_files", lambda side: {"one": b"1", "two": b"2"})
    monkeypatch.setattr(deploy, "create_hostile_bodies", lambda: {name: (b"", "text/html") for name in ("x", "y", "z")})
    bodies = deploy.build_request_bodies()
    assert [name for name, _, _ in bodies] == ["one", "x", "two", "y", "one", "z"]
    assert {kind for _, _, kind in bodies[::2]} == {"application/octet-stream"}


def test_a_broken_connection_has_no_status():
    outcome = deploy.post_body("http://127.0.0.1:9/", ("empty", b"", "text/plain"))
    assert (outcome.name, outcome.status, outcome.content) == ("empty", 0, b"")


def test_the_first_two_calls_are_not_measured(monkeypatch):
    monkeypatch.setattr(deploy, "SINGLE_REPEATS", 3)
    clock = iter([0.0, 100.0, 0.0, 100.0, 0.0, 1.0, 0.0, 2.0, 0.0, 6.0])
    monkeypatch.setattr(deploy.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(deploy.time, "process_time", lambda: 0.0)
    assert deploy.measure_call_seconds(lambda: None) == {"elapsed": 2.0, "processor": 0.0}


def test_memory_is_that_of_this_process_and_its_children():
    memory = deploy.measure_memory_mib(os.getpid())
    assert memory["server"] > 10
    with subprocess.Popen([sys.executable, "-c", "print(1, flush=True); input()"], stdin=-1, stdout=-1) as child:
        child.stdout.readline()
        assert deploy.measure_memory_mib(os.getpid())["decoders"] > memory["decoders"]
