"""Settings of the network: its shape and the options that change what it computes."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from medprior.settings import Settings

AuxKey = Literal["fixed", "repo"]


class ViTSettings(Settings):
    """Shape of a Vision Transformer.

    `mask_token`, `life` and `nosn` change the function that weights stand for, so each is recorded beside them.
    Of an architecture of timm, shape fields that are given override its own, the others are read off it; `mlp_ratio`,
    `layer_scale`, LIFE and `nosn` are our network's.

    Attributes:
        source: our own network, or an architecture of timm.
        name: of the architecture, as timm calls it.
        options: keyword arguments of timm's architecture.
        width: channels of a token.
        depth: number of blocks.
        heads: attention heads of a block.
        patch: side of a patch, pixels.
        registers: tokens that take up high-norm outliers (Darcet et al. 2023), so that attention maps stay on anatomy;
            in no map.
        image_size: side of the views that position embeddings are made for, pixels; other sides are interpolated.
        mlp_ratio: hidden channels of a block's MLP, as a multiple of `width`.
        layer_scale: initial factor of each block's residual branches; None for no such factor.
        drop_path: largest chance that a block's residual branch is left out in training, in the last block.
        mean: of the grey levels in [0, 1] that the network's input is normalised with.
        std: standard deviation of the same.
        mask_token: a learned token that stands for masked patches (iBOT).
        life: LIFE's multi-scale queries, keys and values in every block.
        life_aux_key: keys of LIFE's further scales: `fixed`, or `repo` as in the authors' code.
        life_norm: LIFE's shared LayerNorm, as in the authors' code.
        nosn: the last block without skip and without norm (arXiv 2206.04636, an option of the authors' code).
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
