"""Runs a later stage of medprior in a process of its own: this room imports none of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from medprior.errors import MedpriorError

STAGE_TIMEOUT_SECONDS = 900


def run_stage_command(arguments: Sequence[str], where: str) -> None:
    """Run `medprior ARGUMENTS` to its end.

    Args:
        arguments: of the command line, the stage first.
        where: what the caller calls this step.

    Raises:
        MedpriorError: it took too long, refused its input (the error quotes its last line) or failed.
    """
    argv = [sys.executable, "-m", "medprior", *arguments]
    try:
        process = subprocess.run(argv, capture_output=True, text=True, timeout=STAGE_TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise MedpriorError(f"it took longer than {STAGE_TIMEOUT_SECONDS} s", where=where) from None
    if process.returncode:
        is_refusal = process.returncode == MedpriorError.exit_code
        last_line = process.stderr.strip().splitlines()[-1:] if is_refusal else []
        raise MedpriorError(" ".join(last_line) or "it failed", where=where)
