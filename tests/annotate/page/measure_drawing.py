"""Measures the drawing page with a person played by a script in Chromium.

    python -m tests.annotate.page.measure_drawing DATA/wingspan [--images 8] [--only page|prior]

The pictures are test patients of the Wingspan set, whose masks are the truth. The person clicks or drags once a second
(our choice; the counts allow another pace); the seconds of the page are measured.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from medprior.annotate import Annotation, annotate_from_cohort
from medprior.annotate.page.mask_editing import trace_contours
from medprior.annotate.polygons import fill_polygons
from medprior.annotate.sources import create_cohort_annotation
from medprior.annotate.typicality import find_typical_annotated
from medprior.bench.prior_cases import choose_few_examples, fit_from_examples
from medprior.cohort import Cohort
from medprior.metrics.overlap import compute_dice
from medprior.priors.quality import compute_image_scores
from medprior.priors.settings import PriorSettings
from tests.annotate.page.browser import Page, command, read_address
from tests.annotate.page.simulated_corrections import TrueBorder, correct_mask
from tests.chromium import chromium

STRUCTURES = ("right_lung", "left_lung", "heart")
PACE_SECONDS = 1.0
MAX_DRAGS = 30


def ingest(data, folder):
    """The cohort of the data set."""
    line = [sys.executable, "-m", "medprior", "ingest", data, folder, "--dataset", "wingspan", "--no-tracking"]
    subprocess.run([str(word) for word in line], check=True, capture_output=True)
    return Cohort.open(folder)


@contextmanager
def opened(driver, cohort, image_id):
    """The page with one image of the cohort, its annotation's folder and the time it was opened at."""
    with tempfile.TemporaryDirectory() as folder:
        process = command(Path(folder), "--cohort", str(cohort.path), "--image-id", image_id)
        try:
            address = read_address(process)
            start = time.monotonic()
            page = Page(driver, address)
            page.box()
            yield page, Path(folder) / "out", start
        finally:
            process.kill()
            process.communicate()


def draw_by_points(page, truth):
    """Draw every structure along its true border; the number of clicks."""
    clicks = 0
    for name in STRUCTURES:
        contour = trace_contours(truth[name], truth[name].shape)[0]
        rows, cols = truth[name].shape
        page.draw(name, [(x / cols, y / rows) for x, y in contour])
        clicks += len(contour) + 3  # the structure, the tool, and the first point again
    return clicks


def correct_on_page(page, truth):
    """Drag each structure's points that are far from the true border onto it; the number of actions."""
    actions = 0
    for name in STRUCTURES:
        border, shape, tried = TrueBorder(truth[name]), truth[name].shape, []
        page.click(f"[data-name={name}]")
        actions += 1
        for _ in range(MAX_DRAGS):
            at = [page.middle(vertex) for vertex in page.vertices()]
            points = page.pixels(at, shape)
            far = [
                (border.distance(point), index)
                for index, point in enumerate(points)
                if border.is_far(point) and at[index] not in tried
            ]
            if not far:
                break
            start = at[max(far)[1]]
            x, y = border.nearest(points[max(far)[1]])
            (target,) = page.screen([(x / shape[1], y / shape[0])])
            page.mouse(("down", start), ("move", target), ("up", target))
            tried += [start, target]
            actions += 1
    return actions


def save(page):
    """Press *Save and see*; seconds until the drawing is saved, the first patient is shown and all are."""
    start = time.monotonic()
    page.click("#save")
    page.until(lambda: "Your drawing is saved" in page.text(), "not saved")
    saved = time.monotonic()
    loaded = "return [...document.querySelectorAll('#panels li:nth-child(2) img')].some(i => i.naturalWidth > 0)"
    page.until(lambda: page.driver.execute_script(loaded), "no patient")
    first = time.monotonic()
    page.until(lambda: "Carried over to" in page.text(), "not carried over")
    return {"saved": saved - start, "first patient": first - start, "all patients": time.monotonic() - start}


def measure_one(driver, cohort, image_id):
    """What one picture takes, drawn and suggested."""
    truth = {name: cohort.mask(image_id, name) for name in STRUCTURES}
    with opened(driver, cohort, image_id) as (page, out, start):
        actions = draw_by_points(page, truth)
        seconds = save(page)
        drawn = {"actions": actions, "page": time.monotonic() - start - seconds["all patients"] + seconds["saved"]}
        drawn |= {"dice": score(Annotation.load(out), truth), "save": seconds}
    with opened(driver, cohort, image_id) as (page, out, start):
        asked = time.monotonic()
        page.click("#suggest")
        page.until(lambda: page.contours() >= 3, "no suggestion")
        suggested = {"suggestion": time.monotonic() - asked}
        address = f"/api/suggestion?key={image_id}"
        script = "return fetch(arguments[0]).then((answer) => answer.json())"
        suggested["as is"] = score_contours(page.driver.execute_script(script, address), truth)
        suggested["actions"] = 1 + correct_on_page(page, truth)
        saved = time.monotonic()
        page.click("#save")
        page.until(lambda: "Your drawing is saved" in page.text(), "not saved")
        suggested |= {"page": time.monotonic() - start, "saved": time.monotonic() - saved}
        suggested["dice"] = score(Annotation.load(out), truth)
    return {"drawn": drawn, "suggested": suggested}


def score(annotation, truth):
    """Dice by structure."""
    return {name: float(compute_dice(annotation.masks[name], truth[name])) for name in STRUCTURES}


def score_contours(answer, truth):
    """Dice by structure of contours that the page got."""
    contours = {item["name"]: item["contours"] for item in answer["structures"]}
    return {
        name: float(compute_dice(fill_polygons([np.array(c) for c in contours.get(name, ())], mask.shape), mask))
        for name, mask in truth.items()
    }


def select_test_images(cohort, count):
    """The first test images by id."""
    return cohort.select(sorted(cohort.split("test").image_ids)[:count])


def measure_page(cohort, count):
    """Seconds and Dice of each picture, and their medians."""
    image_ids = select_test_images(cohort, count).image_ids
    with chromium(1280, 720) as driver:
        results = []
        for image_id in image_ids:
            results.append(measure_one(driver, cohort, image_id))
            print(json.dumps({image_id: results[-1]}), flush=True)

    def median(*keys):
        values = results
        for key in keys:
            values = [value[key] for value in values]
        return f"{np.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"

    print(f"\n{len(results)} pictures, median [least, most]")
    for mode in ("drawn", "suggested"):
        total = [r[mode]["page"] + PACE_SECONDS * r[mode]["actions"] for r in results]
        print(f"{mode}: actions {median(mode, 'actions')}, seconds of the page {median(mode, 'page')}")
        print(f"  with {PACE_SECONDS:g} s an action: {np.median(total):.0f} s [{min(total):.0f}, {max(total):.0f}]")
    print(f"Suggest answers after {median('suggested', 'suggestion')} s")
    for step in ("saved", "first patient", "all patients"):
        print(f"Save and see, {step}: {median('drawn', 'save', step)} s")
    for title, keys in (("drawn", ("drawn", "dice")), ("suggested as is", ("suggested", "as is")),
                        ("suggested and corrected", ("suggested", "dice"))):  # fmt: skip
        means = {name: np.mean([r[keys[0]][keys[1]][name] for r in results]) for name in STRUCTURES}
        print(f"Dice {title}: " + ", ".join(f"{name} {value:.3f}" for name, value in means.items()))


def measure_prior(cohort, test):
    """Dice of hearts on test patients from one drawing, after corrections of what was carried over, and from five."""
    settings = PriorSettings()
    first = annotate_from_cohort(cohort, find_typical_annotated(cohort))
    five = choose_few_examples(cohort, first, settings)
    points = [sum(len(trace_contours(mask, mask.shape)[0]) for mask in a.masks.values()) for a in five]
    print(f"{'':<24} heart  left lung  right lung  points placed or moved")
    print_scores("one drawing", test, five[:1], points[0])
    examples, moved = [first], points[0]
    for drawing in five[1:]:
        fit = fit_from_examples(cohort, examples, "deformable", settings)
        maps = fit(cohort.select([drawing.image_id])).maps_for(drawing.image_id)
        masks = {}
        for name, layer in zip(first.structures, maps, strict=True):
            masks[name], count = correct_mask(layer >= 0.5, drawing.masks[name])
            moved += count
        examples.append(create_cohort_annotation(cohort, drawing.image_id, masks, "", ""))
        print_scores(f"and {len(examples) - 1} corrected", test, examples, moved)
    print_scores("five drawings", test, five, sum(points))


def print_scores(title, test, examples, points):
    """A line: mean Dice by structure on test patients, from these annotations."""
    prior = fit_from_examples(test, examples, "deformable", PriorSettings())(test)
    tables = compute_image_scores(prior, test, limit=len(test))
    heart, left, right = (tables[name].dice for name in ("heart", "left_lung", "right_lung"))
    print(f"{title:<24} {heart.mean():.3f}  {left.mean():.3f}      {right.mean():.3f}       {points}", flush=True)


def main():
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the Wingspan set")
    parser.add_argument("--images", type=int, default=8, help="test patients that are drawn, and scored")
    parser.add_argument("--only", choices=("page", "prior"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cohort = ingest(args.data, Path(folder) / "cohort")
        if args.only != "prior":
            measure_page(cohort, args.images)
        if args.only != "page":
            measure_prior(cohort, select_test_images(cohort, args.images))


if __name__ == "__main__":
    main()
