"""Reading loops that `medprior bench ingest` compares, each run in a separate process.

`python -m medprior.bench.ingest_peers NAME FOLDER` prints elapsed and processor seconds of the loop
over the DICOM files of the folder as JSON, without imports and one file to warm up. With `wait`
after FOLDER it prints `ready` after the warm-up and starts when it reads a line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ReadLoop = Callable[[Path], object]


def build_pydicom_loop() -> ReadLoop:
    """The usual pydicom loop: `pixel_array`, modality, VOI."""
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    def read(path: Path) -> object:
        """Read one file."""
        dataset = pydicom.dcmread(path)
        return apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)

    return read


def build_monai_loop() -> ReadLoop:
    """MONAI's `LoadImage` with its pydicom reader."""
    from monai.transforms.io.array import LoadImage

    load: Any = LoadImage(reader="PydicomReader", image_only=True)
    return lambda path: load(str(path))


def build_sitk_loop() -> ReadLoop:
    """SimpleITK's `ReadImage`, then the array."""
    import SimpleITK

    def read(path: Path) -> object:
        """Read one file."""
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))

    return read


def build_decode_loop() -> ReadLoop:
    """The codec with reading and parsing: the part that every reader needs.

    Freed memory is retained as in the decoding processes of ingest, or the bound would be too low.
    """
    from medprior.dicom import Policy
    from medprior.dicom.decoding.pixel_bytes import read_pixel_bytes
    from medprior.dicom.decoding.stored_values import read_pixel_layout, read_stored_cells
    from medprior.dicom.file_opening import open_regular_file
    from medprior.dicom.parsing import parse_header
    from medprior.workers.confinement import retain_freed_memory

    policy = Policy()
    retain_freed_memory()

    def read(path: Path) -> object:
        """Read one file."""
        with open_regular_file(path, policy) as (stream, size):
            dataset = parse_header(stream, size, policy)
            layout = read_pixel_layout(dataset.header, policy)
            return read_stored_cells(read_pixel_bytes(dataset), dataset.syntax, layout, dataset.header.little_endian)

    return read


def build_radiograph_loop() -> ReadLoop:
    """`read_radiograph`, display-ready, without limits, resizing or store."""
    from medprior.dicom import read_radiograph
    from medprior.workers.confinement import retain_freed_memory

    retain_freed_memory()
    return lambda path: read_radiograph(path)


LOOP_FACTORIES: dict[str, Callable[[], ReadLoop]] = {
    "pydicom": build_pydicom_loop,
    "monai": build_monai_loop,
    "simpleitk": build_sitk_loop,
    "decode": build_decode_loop,
    "radiograph": build_radiograph_loop,
}


def time_loop(name: str, folder: Path, wait: bool = False) -> dict[str, float]:
    """Elapsed and processor seconds of one loop, and the number of unreadable files."""
    paths = sorted(folder.rglob("*.dcm"))
    read, failed = LOOP_FACTORIES[name](), 0
    read(paths[0])
    if wait:
        print("ready", flush=True)
        # Parallel loops start at different files.
        first = int(sys.stdin.readline())
        paths = paths[first:] + paths[:first]
    start, start_cpu = time.perf_counter(), time.process_time()
    for path in paths:
        try:
            read(path)
        except Exception:
            failed += 1
    elapsed, processor = time.perf_counter() - start, time.process_time() - start_cpu
    return {"elapsed": elapsed, "cpu": processor, "files": len(paths), "failed": failed}


if __name__ == "__main__":
    print(json.dumps(time_loop(sys.argv[1], Path(sys.argv[2]), sys.argv[3:] == ["wait"])))
