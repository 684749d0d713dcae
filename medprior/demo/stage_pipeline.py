"""Run stages in order, as the command line does, and skip stages that are already finished."""

from __future__ import annotations

import json
import resource
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medprior.cli import run_stage
from medprior.provenance import write_json

KIB_PER_GIB = 1024**2


@dataclass
class StagePipeline:
    """Stages that write below one folder.

    Attributes:
        folder: parent of the result folders.
        records: arguments and seconds of finished stages, by title.
        has_run: whether a stage ran in this process; all later stages then run again too.
    """

    folder: Path
    records: dict[str, dict[str, object]] = field(default_factory=dict)
    has_run: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._record_path.is_file():
            self.records = json.loads(self._record_path.read_text())

    @property
    def _record_path(self) -> Path:
        return self.folder / "row.json"

    def run_stage(self, title: str, name: str, *argv: object, result: Path) -> None:
        """Run one stage unless it and all earlier stages are finished with the same arguments.

        Args:
            title: description for the terminal.
            name: name of the stage.
            argv: its arguments.
            result: file that exists once the stage is finished.
        """
        arguments = [str(argument) for argument in argv]
        print(f"\n== {title}\n$ medprior {name} {shlex.join(arguments)}", flush=True)
        record = self.records.get(title)
        is_finished = record is not None and record["argv"] == [name, *arguments] and result.exists()
        if record is not None and is_finished and not self.has_run:
            print(f"   done before in {record['seconds']} s", flush=True)
            return
        self.has_run = True
        start = time.perf_counter()
        run_stage(name, arguments)
        seconds = round(time.perf_counter() - start, 1)
        self.records[title] = {"argv": [name, *arguments], "seconds": seconds}
        write_json(self._record_path, self.records)
        print(f"   {seconds} s", flush=True)

    def format_cost(self) -> str:
        """Total time of the stages, and the peak memory of this process and of its largest child."""
        seconds = sum(float(str(record["seconds"])) for record in self.records.values())
        own_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_GIB
        child_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / KIB_PER_GIB
        return f"{seconds / 60:.1f} minutes of stages; peak memory {own_gib:.1f} GiB, largest child {child_gib:.1f} GiB"


def format_overrides(values: Sequence[str]) -> list[str]:
    """`--set` arguments for `key=value` overrides."""
    return [argument for value in values for argument in ("--set", value)]
