"""The published settings by name, for radiographs where a source has none of its own.

Sources: `main_dino.py` of facebookresearch/dino (defaults of its arguments; batch of arXiv 2104.14294),
`ssl_default_config.yaml` of facebookresearch/dinov2, the command in the README of helia95/SAR with the defaults of its
`main.py`, and `loca_imnet1k_base16.py` of google-research/scenic. What our code does otherwise than they: the README of
this room, "Published settings".
"""

from __future__ import annotations

from typing import Any

from medprior.errors import suggest_nearest

VIT_S16: dict[str, Any] = {
    "width": 384, "depth": 12, "heads": 6, "patch": 16, "registers": 0, "image_size": 224, "drop_path": 0.1,
}  # fmt: skip
VIT_B16 = VIT_S16 | {"width": 768, "heads": 12}
VIT_L16 = VIT_S16 | {"width": 1024, "depth": 24, "heads": 16, "drop_path": 0.3, "layer_scale": 1e-5}
CROPS: dict[str, Any] = {"global_size": 224, "local_size": 96, "flip_p": 0.5}
HEAD: dict[str, Any] = {"prototypes": 65_536, "hidden": 2048, "bottleneck": 256, "batch_norm": False}
DINO: dict[str, Any] = HEAD | {
    "weight": 1.0, "koleo_weight": 0.0, "prototype_init": "uniform", "freeze_epochs": 1, "teacher": "centering",
    "teacher_temperature": 0.04, "student_temperature": 0.1, "centre_momentum": 0.9, "teacher_momentum": 0.996,
}  # fmt: skip
DINO_OPTIMISER: dict[str, Any] = {
    "lr": 5e-4, "lr_scaling": "linear", "lr_batch": 256, "final_lr": 1e-6, "warmup_epochs": 10,
    "weight_decay": (0.04, 0.4), "clip": 3.0, "clip_by": "tensor",
}  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "dino-published": {
        "recipe": "nokoleo", "epochs": 100, "batch": 1024, "network": VIT_S16, "dino": DINO,
        "crops": CROPS | {"globals_scale": (0.4, 1.0), "locals_scale": (0.05, 0.4), "locals": 8},
        "optimiser": DINO_OPTIMISER,
    },
    "dinov2": {
        "recipe": "ibot", "epochs": 100, "batch": 1024, "network": VIT_L16,
        "crops": CROPS | {"globals_scale": (0.32, 1.0), "locals_scale": (0.05, 0.32), "locals": 8},
        # KoLeo at 0.1 of the sum over two views, which is 0.2 of their mean
        "dino": DINO | {
            "koleo_weight": 0.2, "teacher_momentum": 0.992, "teacher_temperature": 0.07,
            "start_temperature": 0.04, "temperature_epochs": 30,
        },
        "ibot": {"weight": 1.0, "probability": 0.5, "ratio": (0.1, 0.5), "separate_head": False},
        "optimiser": DINO_OPTIMISER | {
            "lr": 4e-3, "lr_scaling": "sqrt", "lr_batch": 1024, "clip_by": "part", "layer_decay": 0.9,
            "patch_embed_rate": 0.2,
        },
    },
    "sar-published": {
        "recipe": "sar+nosn", "epochs": 300, "batch": 1024, "network": VIT_S16 | {"nosn": True}, "dino": DINO,
        "crops": CROPS | {"globals_scale": (0.4, 1.0), "locals_scale": (0.05, 0.4), "locals": 8},
        "sar": {"weight": 0.01, "warmup_epochs": 10, "connectivity": 8, "excess": False},
        "optimiser": {
            "lr": 5e-4, "lr_scaling": "linear", "lr_batch": 512, "final_lr": 1e-5, "warmup_epochs": 5,
            "weight_decay": (0.05, 0.05), "clip": 3.0, "clip_by": "tensor",
        },
    },
    "loca-published": {
        "recipe": "loca-alone", "epochs": 100, "batch": 1024, "network": VIT_B16,
        "crops": CROPS | {
            "globals_scale": (0.32, 1.0), "locals_scale": (0.05, 0.32), "locals": 9, "flip_reference": False,
        },
        "dino": {"weight": 0.0, "koleo_weight": 0.0, "teacher_momentum": 0.996},
        "loca": HEAD | {
            "weight": 1.0, "warmup": 0.0, "prototypes": 4096, "prototype_init": "unit", "query_patches": 70,
            "visible": 0.2, "pattern": "consecutive", "reference": "teacher", "cluster": True,
            "teacher_temperature": 0.05, "student_temperature": 0.1,
        },
        "optimiser": {
            "lr": 1e-3, "lr_scaling": "linear", "lr_batch": 1024, "final_lr": 1e-5, "warmup_epochs": 15,
            "weight_decay": (0.1, 0.1), "clip": 1.0, "clip_by": "student",
        },
    },
}  # fmt: skip
"""Name -> settings; each may be overridden, and a preset stands above the recipe."""


def get_preset_settings(name: str | None) -> dict[str, Any]:
    """The settings of a preset; none without a name.

    Raises:
        ValueError: an unknown name; the message lists the known ones and the nearest.
    """
    if name is None:
        return {}
    if name not in PRESETS:
        hints = [", ".join(PRESETS), suggest_nearest(name, PRESETS)]
        raise ValueError(f"no preset {name!r}; presets are {', '.join(filter(None, hints))}")
    return PRESETS[name]
