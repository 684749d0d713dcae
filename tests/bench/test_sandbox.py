"""What the confinement costs: it can be left out by the bench alone, and the report compares within rounds."""

import time

import pytest

from medprior.bench import sandbox as bench
from medprior.dicom import Policy, bounded_reader
from medprior.ingest import pool
from medprior.workers.messages import receive_message, send_message
from medprior.workers.sandbox import ProcessLimits, start_ready_process
from tests.workers.test_confinement import needs_landlock

HERE = ("tests.bench.test_sandbox",)


def build_opener(unconfined):
    """A handler that tries to open a file by its path, with or without confinement."""
    if unconfined:
        bench.build_unconfined_reader(Policy())

    def answer(facts, arrays):
        try:
            open(facts["path"], "rb").close()
        except OSError:
            return {"opened": False}, []
        return {"opened": True}, []

    return answer


@pytest.mark.parametrize("unconfined", [True, pytest.param(False, marks=needs_landlock)])
def test_the_two_kinds_of_processes_differ_in_their_confinement(tmp_path, unconfined):
    (tmp_path / "file").write_text("text")
    process = start_ready_process(build_opener, (unconfined,), ProcessLimits(), HERE)
    send_message(process.channel, {"path": str(tmp_path / "file")})
    facts, _ = receive_message(process.channel, time.monotonic() + 60)
    process.end()
    assert facts == {"opened": unconfined}


def test_only_the_block_leaves_the_confinement_out():
    before = bounded_reader.build_reader_message_handler, pool.build_decoder_message_handler
    with bench.leave_out_confinement(False):
        assert (bounded_reader.build_reader_message_handler, pool.build_decoder_message_handler) == before
    with bench.leave_out_confinement():
        assert bounded_reader.build_reader_message_handler is bench.build_unconfined_reader
        assert pool.build_decoder_message_handler is bench.build_unconfined_decoder
    assert (bounded_reader.build_reader_message_handler, pool.build_decoder_message_handler) == before


def test_the_report_compares_within_each_round(capsys):
    reading = [
        {way: bench.ReadingTimes(100.0, cost, cost / 10) for way, cost in zip(bench.WAYS, costs, strict=True)}
        for costs in ((10.0, 12.0, 12.5), (20.0, 21.0, 22.5), (30.0, 33.0, 33.5))
    ]
    ingest = [
        {"confined": (4.0, 8.0), "unconfined": (2.0, 6.0)},
        {"confined": (10.0, 9.0), "unconfined": (10.0, 9.0)},
    ] * 2
    bench.print_sandbox_report(reading, ingest, 100)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("cost of the separate process") and "+2.00 [+1.00, +3.00]" in line for line in lines)
    assert any(
        line.startswith("cost of the confinement") and "+0.50 [+0.50, +1.50]" in line and "+0.05 [+0.05, +0.15]" in line
        for line in lines
    )
    assert any(line.startswith("confined / unconfined") and "0.750 [0.500, 1.000]" in line for line in lines)
    assert any(
        line.startswith("confined ") and "17.5 [10.0, 25.0]" in line and "85.0 [80.0, 90.0]" in line for line in lines
    )


@pytest.mark.slow
def test_the_bench_prints_all_its_lines(monkeypatch, capsys):
    for name, value in {"FILE_COUNT": 4, "IMAGE_SIDE_PX": 64, "ROUNDS": 1}.items():
        monkeypatch.setattr(bench, name, value)
    bench.main()
    printed = capsys.readouterr().out
    assert all(way in printed for way in (*bench.WAYS, "confined / unconfined"))
