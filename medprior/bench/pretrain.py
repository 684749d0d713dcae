"""`medprior bench pretrain`: time and memory of each objective relative to DINO."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from einops import rearrange

from medprior.networks.vit import Attention
from medprior.pretrain.learner import Learner
from medprior.pretrain.objectives.objective import MultiCropBatch, PriorMaps
from medprior.pretrain.optimiser import build_pretrain_optimiser
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.augment import ViewMaker

PAIRS = 7
BENCH_BATCH_SIZE = 16
CEILING_SIDE = 1024
MATMUL_OPERATORS = (
    "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm",
    "aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    "aten::mkldnn_convolution", "aten::convolution_backward",
)  # fmt: skip
TimedCall = Callable[[], None]


def parse_pretrain_options(options: list[str]) -> dict[str, Any]:
    """Arguments of `main` from the command line."""
    parser = argparse.ArgumentParser(prog="medprior bench pretrain")
    parser.add_argument(
        "--images", type=int, metavar="N",
        help="time the start and the loading of a synthetic cohort of N images instead",
    )  # fmt: skip
    parser.add_argument("--view", type=int, default=224, help="its global views, pixels (default: 224)")
    return vars(parser.parse_args(options))


def main(images: int | None = None, view: int = 224) -> None:
    """Time alternately, A B A B ..., and print the ratios of the pairs; with `images` time a large cohort's start."""
    if images is not None:
        from medprior.bench.pretrain_start import print_start_and_loading

        print_start_and_loading(images, view)
        return
    threads = torch.get_num_threads()
    print(f"CPU time, {threads} thread(s), torch {torch.__version__}, {PAIRS} pairs")
    steps = {"SPAN": "span", "SAR": "sar", "LOCA": "loca", "iBOT": "ibot", "LIFE": "life"}
    for name, recipe in steps.items():
        title = f"step, {name} / DINO (ViT 96 wide, 96 px, batch {BENCH_BATCH_SIZE})"
        print_cost_ratio(title, build_training_step(recipe), build_training_step("dino"))
    from medprior.bench.pretrain_plain_dino import build_plain_step

    print_cost_ratio(
        "step and update, plain PyTorch DINO / DINO here",
        build_plain_step(BENCH_BATCH_SIZE),
        build_training_step("dino", update=True),
    )
    for size in (224, 512):
        tokens = (size // 16) ** 2 + 1
        for other in ("fused", "full"):
            print_cost_ratio(
                f"attention of {tokens} tokens ({size} px), CLS row / "
                + ("fused alone" if other == "fused" else "full matrix"),
                build_attention_call(tokens, "row"), build_attention_call(tokens, other),
            )  # fmt: skip
    print_ceiling_share("step, DINO", build_training_step("dino"))
    print_ceiling_share("step, SPAN", build_training_step("span"))
    print_matmul_time_share("step, DINO", build_training_step("dino"))
    print_matmul_time_share("step, SPAN", build_training_step("span"))
    if torch.cuda.is_available():
        print("the GPU: python -m medprior.bench.gpu")


def print_cost_ratio(title: str, ours: TimedCall, other: TimedCall) -> None:
    """Print the ratio of two calls timed side by side (median [min, max]), and of memory."""
    ours()
    other()
    ratios = [measure_cpu_seconds(ours) / measure_cpu_seconds(other) for _ in range(PAIRS)]
    memory = measure_peak_bytes(ours) / max(measure_peak_bytes(other), 1)
    print(
        f"{title}: {np.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}], "
        f"memory {memory:.2f}", flush=True,
    )  # fmt: skip


def print_ceiling_share(title: str, call: TimedCall) -> None:
    """Print the rate of a call as a share of that of large matrix products, timed side by side (median [min, max])."""
    operations = count_matmul_operations(call)
    matrix = torch.rand(CEILING_SIDE, CEILING_SIDE)
    out = torch.empty_like(matrix)

    def multiply() -> None:
        """One large product."""
        torch.mm(matrix, matrix, out=out)

    ceiling = 2.0 * CEILING_SIDE**3
    shares = [
        operations / measure_cpu_seconds(call) / (ceiling / measure_cpu_seconds(multiply)) for _ in range(PAIRS)
    ]  # fmt: skip
    print(
        f"{title}, share of the rate of matrix products of {CEILING_SIDE}: "
        f"{np.median(shares):.2f} [{min(shares):.2f}, {max(shares):.2f}]", flush=True,
    )  # fmt: skip


def print_matmul_time_share(title: str, call: TimedCall) -> None:
    """Print the share of a call's time that its matrix products take (median [min, max])."""
    call()
    shares = [measure_matmul_time_share(call) for _ in range(PAIRS)]
    print(
        f"{title}, share of its time in matrix products, attention and convolutions: "
        f"{np.median(shares):.2f} [{min(shares):.2f}, {max(shares):.2f}]", flush=True,
    )  # fmt: skip


def measure_matmul_time_share(call: TimedCall) -> float:
    """Share of the time of a call's operators, backward pass included, that is spent in `MATMUL_OPERATORS`."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        call()
    seconds = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    return float(sum(seconds.get(name, 0) for name in MATMUL_OPERATORS) / sum(seconds.values()))


def count_matmul_operations(call: TimedCall) -> int:
    """Floating-point operations of the matrix products and convolutions of a call, its backward pass included."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def measure_cpu_seconds(call: TimedCall) -> float:
    """CPU time of one call over all threads, which other programs hardly change."""
    started = time.process_time()
    call()
    return time.process_time() - started


def measure_peak_bytes(call: TimedCall) -> int:
    """Peak bytes of tensors allocated during a call, beyond those before it (CPU)."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    allocated = peak = 0
    for event in sorted(list_memory_events(profile), key=lambda e: e.start_ns()):
        allocated += event.nbytes()
        peak = max(peak, allocated)
    return peak


def list_memory_events(profile: Any) -> list[Any]:
    """Allocations and releases in the trace of torch's profiler."""
    events = profile.profiler.kineto_results.events()
    return [event for event in events if event.name() == "[memory]"]


def build_training_step(recipe: str, update: bool = False) -> TimedCall:
    """One training step on random pictures: views, losses, backward; with `update` also the updates."""
    settings = PretrainSettings.from_values({"recipe": recipe, "batch": BENCH_BATCH_SIZE, "steps": 1})
    settings = settings.resolve(BENCH_BATCH_SIZE)
    torch.manual_seed(0)
    learner = Learner(settings, range(3) if settings.needs_prior else ())
    maker = ViewMaker(settings)
    images, aspect = torch.rand(BENCH_BATCH_SIZE, 1, 144, 144), np.ones(BENCH_BATCH_SIZE)
    maps = PriorMaps(torch.rand(BENCH_BATCH_SIZE, 3, 128, 128), torch.ones(BENCH_BATCH_SIZE))
    weights = learner.weights(0.5)
    optimiser = build_pretrain_optimiser(learner.student, settings)

    def call() -> None:
        """Run one step."""
        part = slice(0, BENCH_BATCH_SIZE)
        globals_, locals_ = maker(images, aspect, 0, part, BENCH_BATCH_SIZE)
        masked = learner.sample_masks(0, part, BENCH_BATCH_SIZE, globals_.geometry.grid)
        prior = maps if settings.needs_prior else None
        multi_crop = MultiCropBatch(globals_, locals_, prior, masked, 1, part, BENCH_BATCH_SIZE)
        losses, _ = learner.compute_losses(learner.student, multi_crop)
        total = torch.stack([weights[k] * v for k, v in losses.items()]).sum()
        optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if update:
            torch.nn.utils.clip_grad_norm_(learner.student.parameters(), 3.0)
            optimiser.step()
            learner.update_teacher(0.996)
        learner.commit_step()

    return call


def build_attention_call(tokens: int, variant: str) -> TimedCall:
    """Forward and backward of one attention layer, 6 heads of 64, batch 4."""
    layer = Attention(384, 6)
    x = torch.randn(4, tokens, 384, requires_grad=True)

    def call() -> None:
        """Run one step."""
        if variant == "full":
            q, k, v = layer.split(x)
            weights = (q @ k.transpose(-1, -2) / 8).softmax(-1)
            out = layer.project(rearrange(weights @ v, "b h t d -> b t (h d)"))
            loss = out.square().mean() + weights[:, :, 0].square().sum()
        else:
            out, row = layer(x, 0 if variant == "row" else None)
            loss = out.square().mean()
            if row is not None:
                loss = loss + row.softmax(-1).square().sum()
        loss.backward()

    return call
