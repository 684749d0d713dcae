"""Settings of the network: its shape and the options that change what it computes."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from medprior.settings import Settings

AuxKey = Literal["fixed", "repo"]


class ViTSettings(Settings):
    """Shape of a Vision Transformer.

    `registers` (Darcet et al. 2023) take up the high-norm outlier tokens, so that attention maps stay on anatomy; they
    are excluded from every map. `mean` and `std` are the intensity statistics the network normalises its [0, 1] input
    with.

    `mask_token` adds the learned token that stands for masked patches (iBOT). `life` puts LIFE's multi-scale queries,
    keys and values into every block, with `life_aux_key="repo"` as the authors' code has it and `life_norm` their
    shared LayerNorm. `nosn` is the last block without skip and without norm (arXiv 2206.04636, an option of the
    authors' code). Each changes the function that weights stand for, so each is recorded beside them.

    `source="timm"` takes the architecture that timm calls `name` instead of our own, with any of its keyword arguments
    in `options`; shape fields that are given override the architecture's, the others are read off it. `mlp_ratio`,
    `layer_scale`, LIFE and `nosn` are our network's.
    """

    source: Literal["medprior", "timm"] = "medprior"
    name: str = ""
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    width: int = Field(default=96, ge=12)
    depth: int = Field(default=4, ge=1)
    heads: int = Field(default=6, ge=1)
    patch: int = Field(default=8, ge=2)
    registers: int = Field(default=4, ge=0)
    image_size: int = Field(default=96, ge=16)
    mlp_ratio: float = Field(default=4.0, gt=0)
    layer_scale: float | None = Field(default=None, gt=0)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    mean: float = 0.5
    std: float = Field(default=0.25, gt=0)
    mask_token: bool = False
    life: bool = False
    life_aux_key: AuxKey = "fixed"
    life_norm: bool = False
    nosn: bool = False

    @model_validator(mode="before")
    @classmethod
    def _fill_from_timm(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("source") != "timm":
            return values
        from medprior.networks.timm_body import fill_timm_fields

        return fill_timm_fields(values, {key: field.default for key, field in cls.model_fields.items()})

    @model_validator(mode="after")
    def _check_source_options(self) -> Self:
        if self.source == "medprior" and (self.name or self.options):
            raise ValueError("name and options are for source=timm")
        if self.life and self.width % 3:
            raise ValueError(f"life needs a width that is a multiple of 3, found {self.width}")
        return self
