"""One process's part of a comparison: `python -m tests.pretrain.processes FOLDER RANK WORLD`.

Computes losses, gradients, logs and centres of one step for every case, each process on its share
of the same batch, and writes them as JSON (process 0 alone; all hold the same).
"""

import json
import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from medprior.networks.vit import DropPath
from medprior.pretrain.distributed import all_gather_rows, all_reduce_sum
from medprior.pretrain.objectives.dino import apply_sinkhorn
from medprior.pretrain.objectives.objective import MultiCropBatch
from medprior.pretrain.recipes import RECIPES

from .multi_crops import WITHOUT_DINO, build_multi_crop, learner_of, pictures, tiny

CASES = {
    "dino": {"recipe": "dino"},
    "sinkhorn, no batch norm": {"dino": {"teacher": "sinkhorn", "batch_norm": False}},
    "span": {"recipe": "span"},
    "span region, local views": {
        "recipe": "span", "crops": {"local_size": 48},
        "span": {"loss": "region", "local_views": True, "mass_penalty": 0.1},
    },
    "span hungarian": {"recipe": "span", "span": {"assignment": "hungarian"}},
    "sar excess": {"recipe": "sar", "sar": {"excess": True, "weight": 1.0}},
    "loca, clusters": {"recipe": "loca"},
    "loca, student's reference": {"recipe": "loca", "loca": {"reference": "student"}},
    "ibot": {"recipe": "ibot"},
    "ibot sinkhorn, own head": {
        "recipe": "ibot", "ibot": {"teacher": "sinkhorn", "separate_head": True},
    },
    "all": {"recipe": "all", "crops": {"flip_p": 0.5}},
    "loca alone, dropped queries": {
        "recipe": "loca-alone", "loca": {"query_patches": 9}, "crops": {"flip_p": 0.5, "flip_reference": False},
    },
    "span alone": {"recipe": "span", **WITHOUT_DINO},
    "span and sar alone": {"recipe": "span+sar", **WITHOUT_DINO},
    "span alone, hungarian": {"recipe": "span", "span": {"assignment": "hungarian"}, **WITHOUT_DINO},
}  # fmt: skip
DROPPING = {name: {"recipe": name, "network": {"drop_path": 0.4}} for name in RECIPES}
BATCH, DROP_SEED = 8, 11


def replay_dropped_branches(world: int):
    """A `DropPath.forward` for one process that drops what `world` processes drop, each by its own random numbers."""
    generators = [torch.Generator().manual_seed(DROP_SEED + rank) for rank in range(world)]

    def forward(module: DropPath, x: torch.Tensor) -> torch.Tensor:
        if not module.training or module.drop_prob == 0:
            return x
        rounds, share = len(x) // BATCH, BATCH // world
        draws = [torch.rand(rounds * share, generator=g).reshape(rounds, share) for g in generators]
        keep = (torch.cat(draws, 1) >= module.drop_prob).reshape(-1, 1, 1)
        return x * keep.to(x.dtype) / (1 - module.drop_prob)

    return forward


def share_of_process(rank: int, world: int, index: int = 0, parts: int = 1) -> slice:
    """Part `index` of `parts` of a process's share of the batch."""
    size = BATCH // (world * parts)
    start = rank * BATCH // world + index * size
    return slice(start, start + size)


def take_step(settings, rank: int, world: int, parts: int = 1):
    """One step: losses, logs, gradient, and what the objectives remember after it."""
    heads = (-1, -1, -1) if settings.span.assignment == "hungarian" else (0, 1, 2)
    learner = learner_of(settings, heads)
    images, masks = pictures(BATCH)
    multi_crops: list[MultiCropBatch] = [
        build_multi_crop(settings, learner, images, masks, 2, share_of_process(rank, world, i, parts), True)
        for i in range(parts)
    ]
    student = DistributedDataParallel(learner.student) if world > 1 else learner.student
    prepared = learner.build_targets(multi_crops)
    torch.manual_seed(DROP_SEED + rank)
    sums, logs = {}, {}
    for index, multi_crop in enumerate(multi_crops):
        losses, logs = learner.compute_losses(student, multi_crop, prepared[index])
        (sum(losses.values()) / parts).backward()
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + all_reduce_sum(loss.detach()).item() / world / parts
    learner.commit_step()
    kept = {k: v for k, v in learner.state_dict().items() if k.startswith("objectives.")}
    gradient = [p.grad.flatten() for p in learner.student.parameters() if p.grad is not None]
    student([stack.pixels for stack in multi_crops[0].stacks], 0)  # fails where a gradient never came
    return {
        "losses": sums,
        "logs": {name: value.item() for name, value in logs.items()},
        "gradient": torch.cat(gradient).tolist(),
        "kept": {name: value.flatten().tolist() for name, value in kept.items()},
    }


def balance_uneven_shares(rank: int, world: int):
    """Sinkhorn of one matrix whose rows the processes share unevenly."""
    torch.manual_seed(0)
    scores = torch.randn(24, 16)
    if world == 1:
        return apply_sinkhorn(scores, 0.3).tolist()
    mine = apply_sinkhorn(scores[:10] if rank == 0 else scores[10:], 0.3)
    padded = torch.zeros(24, 16)
    padded[slice(0, 10) if rank == 0 else slice(10, 24)] = mine
    return all_reduce_sum(padded).tolist()


def differentiate_collectives(rank: int, world: int):
    """Gradients through sums and gathering, which no built-in function gives unwarned."""
    x = torch.arange(6.0).reshape(6, 1)[rank * 6 // world : (rank + 1) * 6 // world]
    x.requires_grad_()
    ((all_reduce_sum(x.square().sum()) ** 2 + (all_gather_rows(x) ** 3).sum()) / world).backward()
    return all_reduce_sum(torch.nn.functional.pad(x.grad, (0, 0, rank * 3, (world - 1 - rank) * 3))).tolist()


def compute_all_cases(rank: int, world: int):
    """Results of all cases, and of the collectives alone."""
    results = {name: take_step(tiny(**changes), rank, world) for name, changes in CASES.items()}
    results |= {f"dropping {name}": take_step(tiny(**changes), rank, world) for name, changes in DROPPING.items()}
    results |= {"balanced": balance_uneven_shares(rank, world), "collectives": differentiate_collectives(rank, world)}
    return results


if __name__ == "__main__":
    folder, rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=world)
    results = compute_all_cases(rank, world)
    if rank == 0:
        (folder / "results.json").write_text(json.dumps(results))
    distributed.barrier()  # whoever leaves first closes the other's connections
    distributed.destroy_process_group()
