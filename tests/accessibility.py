"""Accessibility of an open page, by axe-core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

AXE = Path(__file__).parent / "vendor" / "axe_core" / "axe.min.js"
RUN_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations']}).then(
  (results) => done({violations: results.violations, passes: results.passes.length}),
  (error) => done({error: String(error)}));
"""
SERIOUS = {"serious", "critical"}


def list_violations(driver: Any) -> list[str]:
    """Serious and critical violations of the page that is open, each with its rule and its elements."""
    driver.set_script_timeout(120)
    driver.execute_script(AXE.read_text(encoding="utf-8"))
    results = driver.execute_async_script(RUN_AXE)
    assert "error" not in results, results
    assert results["passes"] > 5, "axe-core checked next to nothing"
    return [
        f"{violation['impact']} {violation['id']}: {[node['target'] for node in violation['nodes']][:5]}"
        for violation in results["violations"]
        if violation["impact"] in SERIOUS
    ]
