"""kill -9 at any moment, start again: the same bytes as a run that was never disturbed."""

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from medprior.phantom import PhantomSettings, generate_phantom_cohort
from tests.ingest.corrected_folders import CorrectedFolder, describe
from tests.ingest.radiograph_files import fill_with_dicom, read_files


def command(folder, cohort, largest_file=None, more=()):
    def limit():
        # A file may not grow beyond this: the writer fails as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    arguments = [str(folder), str(cohort), "--workers", "2", "--store-size", "64", "--no-tracking"]
    arguments += more
    return subprocess.Popen(
        [sys.executable, "-m", "medprior", "ingest", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=limit if largest_file else None,
    )


def ended(process):
    """Wait for success; what it said otherwise."""
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=300) == 0, error


def kill_after(seconds, process):
    """Whether kill -9 came before the end."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    landed = process.poll() is None
    if landed:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=300)
    process.stderr.close()
    return landed


def phantoms(folder, files):
    """Small phantoms of all vendors, with masks and labels."""
    settings = PhantomSettings(size=64, max_images=1)
    generate_phantom_cohort(folder, files, 3, settings, workers=2)
    return folder


def kills(tmp_path, count, each, files):
    """`count` kills at random moments, `each` in one cohort; then the same bytes, every time."""
    folder = phantoms(tmp_path / "in", files)
    more = ("--dataset", "phantom")
    start = time.monotonic()
    ended(command(folder, tmp_path / "whole", more=more))
    length = time.monotonic() - start
    expected = read_files(tmp_path / "whole")
    rng = np.random.default_rng(0)
    landed = halfway = number = 0
    while landed < count:
        number += 1
        cohort = tmp_path / f"c{number}"
        here = 0
        while here < each and landed < count:
            if not kill_after(rng.uniform(0.2, 1.0) * length, command(folder, cohort, more=more)):
                break
            here, landed = here + 1, landed + 1
            journal = cohort / "journal.jsonl"
            lines = journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0
            halfway += 0 < lines < files
        ended(command(folder, cohort, more=more))
        assert read_files(cohort) == expected
        shutil.rmtree(cohort)
        assert number <= 2 * count, "the runs end before they can be killed"
    print(f"{landed} kills, {halfway} with some images kept, {number} cohorts")
    return halfway


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path):
    folder = fill_with_dicom(tmp_path / "in", 12)
    for name, limit in (("whole", None), ("full", 50_000), ("full", None)):
        process = command(folder, tmp_path / name, limit)
        process.wait(timeout=300)
        error = process.stderr.read().decode()
        process.stderr.close()
        assert process.returncode == (2 if limit else 0), error
        assert ("the disk is full" in error) == bool(limit)
        assert "Traceback" not in error
    assert read_files(tmp_path / "full") == read_files(tmp_path / "whole")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own, of 400 kB; a function that enlarges it."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mounted, check=False, timeout=300).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    larger = ["mount", "-o", "remount,size=64m", str(place)]
    yield place, lambda: subprocess.run(larger, check=True, timeout=300)
    subprocess.run(["umount", str(place)], check=True, timeout=300)


def test_a_disk_that_is_really_full(tmp_path, small_disk):
    disk, enlarge = small_disk
    folder = fill_with_dicom(tmp_path / "in", 80)
    ended(command(folder, tmp_path / "whole"))
    process = command(folder, disk / "c")
    error = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=300) == 2, error
    assert "the disk is full" in error
    assert "Traceback" not in error
    assert not (disk / "c" / "config.json").exists()
    enlarge()
    ended(command(folder, disk / "c"))
    assert read_files(disk / "c") == read_files(tmp_path / "whole")


def test_one_cohort_killed_three_times(tmp_path):
    kills(tmp_path, 3, 3, 24)


def kills_while_correcting(tmp_path, count, files):
    """`count` kills, each in a run that corrects labels, patients and the decoding; then the same bytes, every time."""
    folder = CorrectedFolder(tmp_path / "in", files)
    more = ("--dataset", folder.write())
    ended(command(folder.path, tmp_path / "first", more=more))
    for name, row in folder.rows.items():
        row[1] = 1 - row[1]
        row[0] += name[-1]
    stretched = [describe()["images"][0] | {"stretch": True}]
    folder.write(images=stretched)
    rng = np.random.default_rng(0)
    expected, halfway, number, length = {}, 0, 0, 0.0
    while number <= count:
        for end in ("", ".private"):
            shutil.rmtree(tmp_path / f"c{end}", ignore_errors=True)
            shutil.copytree(tmp_path / f"first{end}", tmp_path / f"c{end}")
        start = time.monotonic()
        if expected:
            landed = kill_after(rng.uniform(0.3, 1.0) * length, command(folder.path, tmp_path / "c", more=more))
            lines = (tmp_path / "c" / "journal.jsonl").read_bytes().splitlines()
            halfway += landed and len(lines) > files + 2
        ended(command(folder.path, tmp_path / "c", more=more))
        expected, length = expected or read_files(tmp_path / "c"), length or time.monotonic() - start
        assert read_files(tmp_path / "c") == expected
        number += 1
    summary = json.loads(expected["summary.json"])
    changed = {"images": files, "images_read_again": files, "labels": {"Effusion": files}, "patient_id": files}
    assert summary["corrections"] == changed
    print(f"{count} kills, {halfway} with some corrections kept")
    return halfway


def test_a_correction_killed_twice(tmp_path):
    kills_while_correcting(tmp_path, 2, 16)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills_while_correcting(tmp_path):
    assert kills_while_correcting(tmp_path, 50, 150) >= 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills(tmp_path):
    # Fewer images are kept where the machine is so fast that one batch is the run.
    assert kills(tmp_path, 50, 3, 300) >= 5
