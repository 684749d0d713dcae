"""Mutation testing: change one decision of a room at a time and see whether its nearest tests fail.

    python -m tests.mutate ROOM ... [--modules a b] [--sample N --seed S] [--seconds 60] [--folder FOLDER]

A mutant is one changed operator, constant, comparison, branch, pair or call in a copy of the repository. The module's
mirror test file runs first, then test files of the room that import it, while their time without a mutant adds up to at
most `--seconds`. Results are kept in FOLDER/ROOM.json after each mutant, so that a stopped run
goes on; they hold as long as the module and its tests are unchanged. Own code, because cosmic-ray starts an interpreter
per mutant, whose imports of torch take longer than most mirror tests, and mutmut leaves constants of modules alone.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from .mutants import Mutant, list_mutants, write_mutant

REPOSITORY = Path(__file__).parent.parent
PRELOADED = ("torch", "torchvision", "monai", "ignite", "pandas", "scipy.stats", "sklearn", "skimage", "pydicom")
"""Libraries that each forked test run would import anew."""
NOT_COPIED = (".git", ".venv", "runs", "__pycache__", ".*_cache", ".hypothesis", "mlruns", "mlflow.db")
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--timeout=120", "-m", "not slow and not gpu and not browser")


@dataclass(frozen=True)
class MutantResult:
    """What became of a mutant; `tests` ran until one failed; `digest`: of the module and all its tests."""

    module: str
    line: int
    before: str
    after: str
    status: str
    tests: str
    digest: str


class MutationBench:
    """A copy of the repository in which test files run in forked processes.

    Args:
        repository: what is copied. folder: of the copy.
        seconds: most time of a module's tests without a mutant. grace: seconds that a test file may take with a mutant,
            beyond five times its usual time.
    """

    def __init__(self, repository: Path, folder: Path, seconds: float, grace: float) -> None:
        self.root = folder / "repository"
        shutil.copytree(repository, self.root, ignore=shutil.ignore_patterns(*NOT_COPIED))
        self.seconds, self.grace = seconds, grace
        self.durations: dict[str, float | None] = {}
        """Seconds of a test file without a mutant, by its digest; None where it fails or takes too long."""
        self._written = 0

    def run_tests(self, files: Sequence[str], limit: float) -> int | None:
        """Exit status of pytest on `files`; None where it took longer than `limit` seconds."""
        process = multiprocessing.get_context("fork").Process(target=self._run_pytest, args=(list(files),))
        process.start()
        process.join(limit)
        status = process.exitcode
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
        return status

    def _run_pytest(self, files: list[str]) -> None:
        os.setsid()
        os.chdir(self.root)
        os.environ["PYTHONPATH"] = str(self.root)
        sys.path.insert(0, str(self.root))
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "medprior")]:
            del sys.modules[name]
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os._exit(int(pytest.main([*OPTIONS, f"--basetemp={self.root.parent / 'tmp'}", *files])))

    def measure_duration(self, file: str) -> float | None:
        """Seconds of a test file without a mutant; None where it fails, takes too long, or holds no test."""
        digest = compute_digest(self.root, [file])
        if digest not in self.durations:
            start = time.perf_counter()
            status = self.run_tests([file], 2 * self.seconds)
            self.durations[digest] = time.perf_counter() - start if status == 0 else None
            if status != 0:
                print(
                    f"{file} judges nothing: without a mutant {describe_failure(status, 2 * self.seconds)}", flush=True
                )
        return self.durations[digest]

    @contextlib.contextmanager
    def apply_mutant(self, module: str, mutant: Mutant) -> Iterator[None]:
        """The copy with one module mutated; each state has a time of its own, so that no stale bytecode is used."""
        path = self.root / module
        source = path.read_text()
        self._write(path, write_mutant(source, mutant))
        try:
            yield
        finally:
            self._write(path, source)

    def _write(self, path: Path, source: str) -> None:
        path.write_text(source)
        self._written += 1
        os.utime(path, (self._written, self._written))

    def judge_mutant(self, module: str, mutant: Mutant, files: Sequence[str]) -> tuple[str, list[str]]:
        """`killed`, `timeout` (too slow by far, as an endless loop is) or `survived`; and those of `files` that ran."""
        ran, spent = [], 0.0
        for file in files:
            duration = self.measure_duration(file)
            if duration is None or spent + duration > self.seconds:
                continue
            spent += duration
            ran.append(file)
            with self.apply_mutant(module, mutant):
                status = self.run_tests([file], 5 * duration + self.grace)
            if status != 0:
                return "timeout" if status is None else "killed", ran
        return "survived", ran


def describe_failure(status: int | None, limit: float) -> str:
    """Why a test file judges no mutant."""
    if status is None:
        return f"it takes over {limit:g} seconds"
    return "it holds no test" if status == pytest.ExitCode.NO_TESTS_COLLECTED else "it fails"


def list_near_tests(root: Path, module: str) -> list[str]:
    """The mirror test file of a module, if there is one, then other test files of its room that import the module."""
    inner = Path(module).relative_to("medprior")
    mirror = Path("tests") / inner.with_name(f"test_{inner.name}")
    package, name = ".".join(Path(module).parent.parts), inner.stem
    folder = root / "tests" / inner.parts[0] if len(inner.parts) > 1 else root / "tests"
    near = []
    for path in sorted(folder.rglob("test_*.py")):
        file, text = str(path.relative_to(root)), path.read_text()
        imports_module = f"{package}.{name} import" in text or f"from {package} import {name}\n" in text
        if file != str(mirror) and (imports_module or path.stem.startswith(f"test_{name}_")):
            near.append(file)
    return [str(mirror), *near] if (root / mirror).exists() else near


def list_room_modules(root: Path, room: str, names: Sequence[str]) -> list[str]:
    """Paths of a room's modules below the repository; of `names` alone where some are given."""
    package = root / "medprior" / room
    paths = sorted(package.rglob("*.py")) if package.is_dir() else [package.with_suffix(".py")]
    if unknown := set(names) - {path.stem for path in paths}:
        raise SystemExit(f"no module {', '.join(sorted(unknown))} in {package}")
    chosen = [path for path in paths if path.stem in names or (not names and path.name != "__init__.py")]
    return [str(path.relative_to(root)) for path in chosen]


def sample_mutants(root: Path, modules: Sequence[str], sample: int | None, seed: int) -> list[tuple[str, Mutant]]:
    """Mutants of the modules in order, or `sample` of them at random."""
    mutants = [(module, mutant) for module in modules for mutant in list_mutants((root / module).read_text())]
    if sample is None or sample >= len(mutants):
        return mutants
    return [mutants[i] for i in sorted(random.Random(seed).sample(range(len(mutants)), sample))]


def compute_digest(root: Path, files: Sequence[str]) -> str:
    """Digest of files' names and texts."""
    texts = [file.encode() + b"\0" + (root / file).read_bytes() for file in files]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]


def load_results(path: Path) -> tuple[dict[tuple[str, int, str, str, str], MutantResult], dict[str, float | None]]:
    """Results of an earlier run by mutant and digest, and the durations of its test files."""
    if not path.exists():
        return {}, {}
    document = json.loads(path.read_text())
    results = [MutantResult(**row) for row in document["mutants"]]
    return {(r.module, r.line, r.before, r.after, r.digest): r for r in results}, document["durations"]


def save_results(path: Path, results: Sequence[MutantResult], durations: dict[str, float | None]) -> None:
    """Write score, counts, all results and the test files' durations; atomic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    counts = Counter(result.status for result in results)
    rows = [asdict(result) for result in results]
    document = {"score": compute_score(results), "counts": counts, "mutants": rows, "durations": durations}
    partial.write_text(json.dumps(document, indent=1, ensure_ascii=False))
    partial.replace(path)


def compute_score(results: Sequence[MutantResult]) -> float | None:
    """Share of mutants that a test noticed; None without mutants."""
    return sum(r.status != "survived" for r in results) / len(results) if results else None


def format_results(results: Sequence[MutantResult]) -> str:
    """Score of every module, and the mutants that no test noticed."""
    lines = []
    for module in dict.fromkeys(result.module for result in results):
        own = [result for result in results if result.module == module]
        noticed = sum(result.status != "survived" for result in own)
        lines.append(f"{noticed:4d} of {len(own):4d}  {module}")
        survivors = [result for result in own if result.status == "survived"]
        lines += [
            f"      :{r.line}  {r.before}  ->  {r.after}{'' if r.tests else '  (no test ran)'}" for r in survivors
        ]
    score = compute_score(results)
    return "\n".join([*lines, f"score {score:.1%} of {len(results)} mutants" if score is not None else "no mutants"])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("rooms", nargs="+", help="folders or modules below medprior/, such as metrics or geometry")
    parser.add_argument("--modules", nargs="+", default=[], help="names of modules; default all of the rooms")
    parser.add_argument("--sample", type=int, help="number of mutants of a room at random; default all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--seconds", type=float, default=60.0, help="most time of a module's tests without a mutant")
    parser.add_argument(
        "--grace", type=float, default=30.0, help="seconds a test file may take beyond 5 times its usual"
    )
    parser.add_argument("--preload", nargs="*", default=PRELOADED, help="libraries to import once for all test runs")
    parser.add_argument("--folder", type=Path, help="for the results; default runs/mutation")
    parser.add_argument("--repository", type=Path, default=REPOSITORY, help="default this one")
    asked = parser.parse_args(arguments)
    root = asked.repository.resolve()
    folder = asked.folder or root / "runs" / "mutation"
    for name in asked.preload:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="medprior-mutation-") as copy_folder:
        bench = MutationBench(root, Path(copy_folder), asked.seconds, asked.grace)
        for room in asked.rooms:
            mutants = sample_mutants(root, list_room_modules(root, room, asked.modules), asked.sample, asked.seed)
            print(f"{room}\n{format_results(judge_mutants(bench, mutants, folder / f'{room}.json'))}", flush=True)


def judge_mutants(bench: MutationBench, mutants: Sequence[tuple[str, Mutant]], output: Path) -> list[MutantResult]:
    """Results of all mutants, those that `output` holds and still hold taken from there."""
    earlier, durations = load_results(output)
    bench.durations.update(durations)
    near = {module: list_near_tests(bench.root, module) for module in dict.fromkeys(module for module, _ in mutants)}
    digests = {module: compute_digest(bench.root, [module, *files]) for module, files in near.items()}
    results = [
        earlier.get((module, mutant.line, mutant.before, mutant.after, digests[module])) for module, mutant in mutants
    ]
    for index, (module, mutant) in enumerate(mutants):
        if results[index] is not None:
            continue
        status, ran = bench.judge_mutant(module, mutant, near[module])
        results[index] = MutantResult(
            module, mutant.line, mutant.before, mutant.after, status, " ".join(ran), digests[module]
        )
        print(f"{status:8s} {module}:{mutant.line}  {mutant.before}  ->  {mutant.after}", flush=True)
        save_results(output, [result for result in results if result], bench.durations)
    judged = [result for result in results if result]
    save_results(output, judged, bench.durations)
    return judged


if __name__ == "__main__":
    main()
