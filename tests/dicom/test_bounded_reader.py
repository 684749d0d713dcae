"""`BoundedReader`: the same pictures as `read_image`, and a hostile file costs itself alone."""

import io
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from medprior.dicom import Policy, read_image
from medprior.dicom.bounded_reader import PRELOADED_MODULES, BoundedReader, ProcessLimits
from medprior.dicom.decoding.samples import (
    compress_dataset,
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)
from medprior.dicom.radiograph import dump_metadata
from medprior.errors import Rejected
from medprior.workers.sandbox import get_fork_server
from tests.busy_processes import signal_when_busy
from tests.corpus.measured import measured

PICTURE = create_sample_picture()
GOOD = serialise_dataset(create_sample_dataset(PICTURE))
EASY = ProcessLimits(memory_mb=800, cpu_seconds=20, wall_seconds=60)


@pytest.fixture(scope="module")
def reader():
    with BoundedReader(2, limits=EASY) as shared:
        yield shared


def code_of(reader, source):
    with pytest.raises(Rejected) as caught:
        reader.read(source)
    assert caught.value.__cause__ is None
    return caught.value.code


def slow_file(side=3000):
    rng = np.random.default_rng(0)
    noisy = create_sample_picture(side, side) // 2 + rng.integers(0, 2000, (side, side))
    dataset = create_sample_dataset(noisy.astype("u2"))
    return serialise_dataset(compress_dataset(dataset, "1.2.840.10008.1.2.4.90"))


def raster(format, array=None):
    stream = io.BytesIO()
    Image.fromarray(create_sample_picture(bits=8).astype("u1") if array is None else array).save(stream, format=format)
    return stream.getvalue()


SHUTTERED = serialise_dataset(
    create_sample_dataset(
        PICTURE, ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=5,
        ShutterRightVerticalEdge=70, ShutterUpperHorizontalEdge=5, ShutterLowerHorizontalEdge=90,
        PixelSpacing=["0.2", "0.2"],
    )
)  # fmt: skip


@pytest.mark.parametrize("content", [GOOD, SHUTTERED, raster("PNG"), raster("JPEG")])
@pytest.mark.parametrize("by_path", [True, False])
def test_it_reads_what_read_image_reads(reader, tmp_path, content, by_path):
    path = tmp_path / os.fsdecode(b"na\xffme")
    path.write_bytes(content)
    far, near = reader.read(path if by_path else content), read_image(path)
    np.testing.assert_array_equal(far.pixels, near.pixels)
    np.testing.assert_array_equal(far.valid, near.valid)
    assert far.pixels.dtype == np.float32
    assert far.valid.dtype == np.bool_
    assert dump_metadata(far) == dump_metadata(near)
    far.pixels[0, 0] = 0.5


def test_text_paths_and_relative_paths(reader, tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(GOOD)
    monkeypatch.chdir(tmp_path)
    assert reader.read("x").pixels.shape == PICTURE.shape


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"hello world" * 40, "not_dicom"),
        (GOOD[:-100], "truncated"),
        (raster("PNG")[:300], "decode_failed"),
        (serialise_dataset(create_sample_dataset(PICTURE, Rows=65535, Columns=65535)), "size"),
    ],
)
def test_refused_files_have_their_code(reader, content, code):
    assert code_of(reader, content) == code
    assert reader.read(GOOD).pixels.shape == PICTURE.shape


def test_paths_that_are_no_files(reader, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("pipe", "loop", "."):
        assert code_of(reader, tmp_path / name) == "not_a_file"
    assert code_of(reader, tmp_path / "absent") == "unreadable"
    assert code_of(reader, "a\0b") == "unreadable"


def test_limits(tmp_path):
    with BoundedReader(limits=ProcessLimits(100, 20, 60)) as reader:
        big = serialise_dataset(create_sample_dataset(create_sample_picture(4000, 4000)))
        assert code_of(reader, big) == "memory"
        assert reader.read(GOOD).pixels.shape == PICTURE.shape
    with BoundedReader(limits=ProcessLimits(2000, 0.1, 60)) as reader:
        assert code_of(reader, slow_file()) == "timeout"
        assert reader.read(GOOD).pixels.shape == PICTURE.shape
    with BoundedReader(policy=Policy(max_pixels=1000)) as reader:
        assert code_of(reader, GOOD) == "size"


def only(reader):
    """The one process of an idle reader of one worker."""
    return reader._idle.queue[0]


def test_a_killed_process_costs_one_file():
    with BoundedReader(limits=EASY) as reader:
        reader.read(GOOD)
        first, slow = only(reader).pid, slow_file()
        with signal_when_busy(first, signal.SIGSEGV):
            assert code_of(reader, slow) == "worker_died"
        assert reader.read(GOOD).pixels.shape == PICTURE.shape
        assert only(reader).pid != first


def test_a_process_killed_while_idle_costs_nothing():
    with BoundedReader(limits=EASY) as reader:
        reader.read(GOOD)
        first = only(reader)
        os.kill(first.pid, signal.SIGKILL)
        first._popen.wait(timeout=300)
        assert reader.read(GOOD).pixels.shape == PICTURE.shape


def test_a_hanging_process_is_ended():
    with BoundedReader(limits=ProcessLimits(800, 20, wall_seconds=1.0)) as reader:
        reader.read(GOOD)
        os.kill(only(reader).pid, signal.SIGSTOP)
        start = time.monotonic()
        # More than the socket holds: the way there hangs as well.
        assert code_of(reader, GOOD * 100) == "timeout"
        assert time.monotonic() - start < 20


def test_a_start_that_hangs_is_ended():
    with BoundedReader(limits=ProcessLimits(800, 20, 60, start_seconds=0.3)) as reader:
        get_fork_server(os.getpid(), PRELOADED_MODULES).ensure_running()
        server = get_fork_server(os.getpid(), PRELOADED_MODULES)._forkserver_pid
        os.kill(server, signal.SIGSTOP)
        try:
            start = time.monotonic()
            assert code_of(reader, GOOD) == "timeout"
            assert time.monotonic() - start < 20
        finally:
            os.kill(server, signal.SIGCONT)


def test_many_threads_share_it(reader):
    def one(index):
        if index % 7 == 3:
            return code_of(reader, GOOD[:-100])
        return float(reader.read(GOOD).pixels.sum())

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(60)))
    assert {a for i, a in enumerate(answers) if i % 7 == 3} == {"truncated"}
    assert len({a for i, a in enumerate(answers) if i % 7 != 3}) == 1
    assert reader._idle.qsize() == 2


def test_closing():
    reader = BoundedReader(2, limits=EASY)
    reader.read(GOOD)
    process = next(p for p in reader._idle.queue if p)
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(reader.read, slow_file(1000)) for _ in range(4)]
        time.sleep(0.3)
        reader.close()
        reader.close()
        for future in running:
            assert future.exception(timeout=30) is None or isinstance(future.exception(), ValueError)
    assert not process.is_alive
    with pytest.raises(ValueError, match="closed"):
        reader.read(GOOD)


SCRIPT = """
import sys
print("main", flush=True)
from medprior.dicom.bounded_reader import BoundedReader
with BoundedReader(2) as reader:
    print(reader.read(sys.argv[1]).pixels.shape)
    print([name for name in ("torch", "mlflow", "fastapi") if name in sys.modules])
    for process in reader._idle.queue:
        if process:
            print("torch in worker:", "torch" in open(f"/proc/{process.pid}/maps").read())
"""


def test_a_script_without_a_guard_does_not_recurse(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "x.dcm").write_bytes(GOOD)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "x.dcm")],
        capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["main", "(96, 80)", "[]", "torch in worker: False"]
    assert done.stderr == ""


def test_it_works_inside_a_daemonic_process():
    code = (
        "import multiprocessing as m, sys\n"
        "def child(path, out):\n"
        "    from medprior.dicom.bounded_reader import BoundedReader\n"
        "    with BoundedReader() as reader: out.send(reader.read(path).pixels.shape)\n"
        "if __name__ == '__main__':\n"
        "    ours, theirs = m.Pipe()\n"
        "    fork, args = m.get_context('fork'), (sys.argv[1], theirs)\n"
        "    p = fork.Process(target=child, args=args, daemon=True)\n"
        "    p.start(); print(ours.recv()); p.join()\n"
    )
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "s.py").write_text(code)
        Path(folder, "x").write_bytes(GOOD)
        done = subprocess.run(
            [sys.executable, f"{folder}/s.py", f"{folder}/x"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.stdout == "(96, 80)\n", done.stderr


def test_a_fork_has_processes_of_its_own():
    with BoundedReader(limits=EASY) as reader:
        reader.read(GOOD)
        before = only(reader).pid
        child = os.fork()
        if not child:
            code = 1
            try:
                shape, after = reader.read(GOOD).pixels.shape, only(reader).pid
                reader.close()
                code = int(shape != PICTURE.shape or after == before)
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert reader.read(GOOD).pixels.shape == PICTURE.shape
        assert only(reader).pid == before


@pytest.mark.slow
def test_the_way_to_the_process_and_back_is_short(reader):
    picture = create_sample_picture(1024, 1024)
    content = serialise_dataset(create_sample_dataset(picture))
    reader.read(content), reader.read(content)
    far, near = [], []
    for _ in range(8):
        start = time.perf_counter()
        reader.read(content)
        middle = time.perf_counter()
        read_image(io.BytesIO(content))
        far.append(middle - start)
        near.append(time.perf_counter() - middle)
    # A few milliseconds; the allowance is for a busy machine.
    assert min(far) - min(near) < 0.1, (far, near)
    print(f"overhead {1000 * (min(far) - min(near)):.1f} ms")


EVERYTHING = {
    "PhotometricInterpretation": "MONOCHROME1", "WindowCenter": "30000", "WindowWidth": "60000",
    "RescaleSlope": "1.5", "RescaleIntercept": "-5", "PixelPaddingValue": 0,
    "PatientOrientation": ["R", "F"], "VOILUTFunction": "SIGMOID",
}  # fmt: skip


def create_ramp(rows, cols):
    down, across = np.arange(rows)[:, None] * 6, np.arange(cols)[None] * 2
    return (down + across + 17).astype("u2")


@pytest.mark.parametrize("elements", [{}, EVERYTHING])
def test_42_megapixels_of_16_bits_fit_a_worker(elements):
    picture = create_ramp(6000, 7000)
    spent = measured(serialise_dataset(create_sample_dataset(picture, 16, **elements)), ProcessLimits())
    assert not isinstance(spent.outcome, Rejected), spent.outcome
    assert spent.outcome.pixels.shape == (6000, 7000)
    assert spent.peak_bytes < 2**30
    if not elements:
        expected = (picture[::500, ::500] - 17.0) / (int(picture.max()) - 17)
        np.testing.assert_allclose(spent.outcome.pixels[::500, ::500], expected, atol=1e-6)


def test_what_does_not_fit_is_refused_as_such(tmp_path):
    path = tmp_path / "large.dcm"
    head = serialise_dataset(create_sample_dataset(create_ramp(64, 64), 16, Rows=12000, Columns=16000))
    head = head.replace((64 * 64 * 2).to_bytes(4, "little"), (384_000_000).to_bytes(4, "little"))
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) - 64 * 64 * 2 + 384_000_000)
    with BoundedReader() as reader, pytest.raises(Rejected, match="memory") as caught:
        reader.read(path)
    assert caught.value.code == "memory"


def test_a_pickled_reader_keeps_its_settings_and_starts_its_own_process():
    with BoundedReader(2, Policy(max_pixels=1000), EASY) as reader:
        assert code_of(reader, GOOD) == "size"
        copy = pickle.loads(pickle.dumps(reader))
    with copy:
        assert code_of(copy, GOOD) == "size"
        assert copy._count == 2
        assert copy._limits == EASY
