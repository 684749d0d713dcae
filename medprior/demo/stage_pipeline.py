"""Stages one after another, as the command line runs them; finished ones are not run again."""

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
    """A row of stages under one folder.

    Attributes:
        folder: where the stages write. done: argv and seconds of finished stages, by title.
        changed: a stage has run in this walk, so that those after it run again too.
    """

    folder: Path
    done: dict[str, dict[str, object]] = field(default_factory=dict)
    changed: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._record.is_file():
            self.done = json.loads(self._record.read_text())

    @property
    def _record(self) -> Path:
        return self.folder / "row.json"

    def stage(self, title: str, name: str, *argv: object, result: Path) -> None:
        """Run one stage unless it and all before it were finished by the same calls.

        Args:
            title: what a person reads.
            name: the stage.
            argv: its arguments.
            result: a file that is there when the stage is done.
        """
        arguments = [str(argument) for argument in argv]
        print(f"\n== {title}\n$ medprior {name} {shlex.join(arguments)}", flush=True)
        before = self.done.get(title)
        same = before is not None and before["argv"] == [name, *arguments] and result.exists()
        if before is not None and same and not self.changed:
            print(f"   done before in {before['seconds']} s", flush=True)
            return
        self.changed = True
        started = time.perf_counter()
        run_stage(name, arguments)
        seconds = round(time.perf_counter() - started, 1)
        self.done[title] = {"argv": [name, *arguments], "seconds": seconds}
        write_json(self._record, self.done)
        print(f"   {seconds} s", flush=True)

    def cost(self) -> str:
        """Seconds of all stages together, and the peak memory of this and of any one child."""
        seconds = sum(float(str(stage["seconds"])) for stage in self.done.values())
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_GIB
        child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / KIB_PER_GIB
        return f"{seconds / 60:.1f} minutes of stages; peak memory {own:.1f} GiB, largest child {child:.1f} GiB"


def format_overrides(values: Sequence[str]) -> list[str]:
    """`--set` for every `key=value`."""
    return [part for value in values for part in ("--set", value)]
