"""A CUDA device without memory: tensors with device, dtype, shape and strides, and no values.

What a GPU refuses for its device, dtype or shape is refused here too. Whatever makes the host wait for the device is
counted with its line, and answered by a stand-in. torch's engine asks the driver for streams, so that the backward pass
cannot run: the graph is walked instead, and every parameter it reaches gets a gradient.
"""

from __future__ import annotations

import collections
import contextlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily

aten = torch.ops.aten
CUDA = torch.device("cuda", 0)
PACKAGE = str(Path(__file__).parents[2] / "medprior")
INDEXING = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._unsafe_index.Tensor)
PRODUCTS = (
    aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default, aten.mv.default, aten.addmv.default,
    aten.dot.default, aten.convolution.default,
)  # fmt: skip
NUMPY_KINDS = {
    torch.bool: np.bool_, torch.uint8: np.uint8, torch.int64: np.int64, torch.float32: np.float32,
    torch.float64: np.float64,
}  # fmt: skip
REAL_NUMPY, REAL_TO = Tensor.numpy, nn.Module.to


def find_line() -> str:
    """The innermost line of the package in the stack, `file.py:12`."""
    frames = [frame for frame in traceback.extract_stack() if frame.filename.startswith(PACKAGE)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "outside of the package"


def is_on_cuda(value: Any) -> bool:
    """Whether a tensor lies on the device that is not there."""
    return isinstance(value, FakeTensor) and value.fake_device.type == "cuda"


def check_product_kinds(func: Any, factors: list[Tensor]) -> None:
    """RuntimeError where a GPU's product would refuse its factors; tensors without values are not checked by torch."""
    if len({factor.dtype for factor in factors}) > 1:
        raise RuntimeError(f"{func}: factors of different dtype, {[factor.dtype for factor in factors]}")


class FakeCudaMode(FakeTensorMode):
    """Counts, by line, waits of the host (`waits`), copies to the device (`copies`) and attention kernels."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.waits: collections.Counter[str] = collections.Counter()
        self.copies: collections.Counter[str] = collections.Counter()
        self.attention: collections.Counter[str] = collections.Counter()

    def forget(self) -> None:
        """Count from 0."""
        for counter in (self.waits, self.copies, self.attention):
            counter.clear()

    def wait(self, reason: str) -> None:
        """Count a wait; all items of one list are one transfer."""
        key = f"{reason} at {find_line()}"
        listed = any(frame.name == "tolist" for frame in traceback.extract_stack(limit=14))
        self.waits[key] = 1 if listed else self.waits[key] + 1

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what the operator costs, and answer it."""
        kwargs = {key: value for key, value in (kwargs or {}).items() if key != "pin_memory"}
        first = next((arg for arg in args if isinstance(arg, Tensor)), None)
        answer = VALUE_READERS.get(func)
        if answer is not None:
            if is_on_cuda(first):
                self.wait(str(func))
            return answer(self, first, args, kwargs)
        if func in (aten._to_copy.default, aten.copy_.default):
            self._count_copy(func, args, kwargs)
        if func in PRODUCTS:
            check_product_kinds(func, [arg for arg in args if is_on_cuda(arg)])
        if is_on_cuda(first) and func in INDEXING:
            self._count_index([index for index in args[1] if isinstance(index, Tensor)])
        return super().dispatch(func, types, args, kwargs)

    def _count_copy(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if func is aten.copy_.default:
            target, source = args[0].device, args[1]
        else:
            target, source = kwargs.get("device"), args[0]
        if target is None or not isinstance(source, Tensor):
            return
        blocking = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
        to_device = torch.device(target).type == "cuda" and not is_on_cuda(source)
        to_host = torch.device(target).type == "cpu" and is_on_cuda(source)
        if to_device:
            self.copies[f"{'pinned' if getattr(source, 'pinned', False) else 'pageable'} at {find_line()}"] += 1
        if blocking and (to_device or to_host):
            self.wait("copy to the device" if to_device else "copy to the host")

    def _count_index(self, indices: list[Tensor]) -> None:
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            self.wait("boolean index")
        if any(not is_on_cuda(index) for index in indices):
            self.wait("index from the host")


def _read_scalar(mode: FakeCudaMode, first: Any, args: Any, kwargs: Any) -> Any:
    if getattr(first, "constant", None) is not None:
        return first.constant.item()
    return True if first.dtype == torch.bool else 1.0 if first.dtype.is_floating_point else 1


def _find_nonzero(mode: FakeCudaMode, first: Any, args: Any, kwargs: Any) -> Tensor:
    with mode:
        return torch.empty(max(first.numel() // 4, 1), first.ndim, dtype=torch.long, device=first.device)


def _count_values(mode: FakeCudaMode, first: Any, args: Any, kwargs: Any) -> Tensor:
    with mode:
        size = kwargs.get("minlength", args[2] if len(args) > 2 else 1)
        return torch.empty(size, dtype=torch.long, device=first.device)


VALUE_READERS: dict[Any, Callable[..., Any]] = {
    aten._local_scalar_dense.default: _read_scalar,
    aten.equal.default: lambda *_: True,
    aten.nonzero.default: _find_nonzero,
    aten.bincount.default: _count_values,
}
"""Operators whose result depends on values, and what stands in for it."""


def build_attention(mode: FakeCudaMode) -> Callable[..., Tensor]:
    """A stand-in for fused attention, whose kernel torch chooses by asking the driver."""

    def attend(
        q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
        scale: float | None = None, enable_gqa: bool = False,
    ) -> Tensor:  # fmt: skip
        """As `torch.nn.functional.scaled_dot_product_attention`."""
        if torch._C._is_torch_function_mode_enabled():  # one that looks into attention must see it
            options = {"attn_mask": attn_mask, "dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
            result: Tensor = torch.overrides.handle_torch_function(attend, (q, k, v), q, k, v, **options)
            return result
        if torch.is_autocast_enabled("cuda"):
            half = torch.get_autocast_dtype("cuda")
            q, k, v = (x.to(half) if x.dtype == torch.float32 else x for x in (q, k, v))
        if len({x.dtype for x in (q, k, v)}) > 1 or len({x.device for x in (q, k, v)}) > 1:
            raise RuntimeError(f"attention of {[(x.dtype, x.device) for x in (q, k, v)]}")
        flash = q.dtype in (torch.float16, torch.bfloat16) and q.shape[-1] % 8 == 0 and q.shape[-1] <= 256
        mode.attention["flash" if flash and attn_mask is None else f"other, {q.dtype}"] += 1
        if flash and attn_mask is None:
            out: Tensor = aten._scaled_dot_product_flash_attention(q, k, v, dropout_p, is_causal, scale=scale)[0]
            return out
        out = aten._scaled_dot_product_efficient_attention(
            q, k, v, attn_mask, torch.is_grad_enabled(), dropout_p, is_causal, scale=scale
        )[0]
        return out

    return attend


def read_numpy(self: Tensor, *, force: bool = False) -> Any:
    """`Tensor.numpy`: zeros for a tensor without values, and torch's refusal for one on CUDA."""
    if is_on_cuda(self) and not force:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")
    if isinstance(self, FakeTensor):
        return np.zeros(tuple(self.shape), NUMPY_KINDS[self.dtype])
    with unset_fake_temporarily():
        return REAL_NUMPY(self, force=force)


def move_module(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """`Module.to`: parameters and buffers alone; a tensor in a plain attribute stays where it is."""
    wanted = [value for value in (*args, kwargs.get("device")) if isinstance(value, str | torch.device)]
    if not wanted or torch.device(wanted[0]).type != "cuda":
        return REAL_TO(module, *args, **kwargs)
    moved: dict[int, Tensor] = {}

    def move(tensor: Tensor) -> Tensor:
        """The tensor's twin on the device, the same one for tied weights."""
        if is_on_cuda(tensor):
            return tensor
        twin = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=CUDA)
        if isinstance(tensor, nn.Parameter):
            twin = nn.Parameter(twin, requires_grad=tensor.requires_grad)
        return moved.setdefault(id(tensor), twin)

    for part in module.modules():
        for held in (part._parameters, part._buffers):
            held.update({name: move(value) for name, value in held.items() if value is not None})
    return module


def find_leaves(*outputs: Tensor) -> dict[int, Tensor]:
    """Leaf tensors that the graphs of `outputs` reach, by id."""
    seen, leaves = set(), {}
    pending = [output.grad_fn for output in outputs if output.grad_fn is not None]
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None:
            leaves[id(variable)] = variable
        pending += [following for following, _ in node.next_functions if following is not None]
    return leaves


def walk_backward(self: Tensor, *_: Any, **__: Any) -> None:
    """`Tensor.backward`: a gradient for every leaf of the graph."""
    for leaf in find_leaves(self).values():
        leaf.grad = torch.zeros_like(leaf)


def walk_gradients(outputs: Any, inputs: Any, *_: Any, **__: Any) -> tuple[Tensor | None, ...]:
    """`torch.autograd.grad`: a gradient for every input that the graphs reach."""
    reached = find_leaves(*(outputs if isinstance(outputs, tuple | list) else [outputs]))
    return tuple(torch.zeros_like(x) if id(x) in reached or not x.is_leaf else None for x in inputs)


def list_unreached(network: nn.Module) -> list[str]:
    """Trainable parameters that no loss reaches; with several processes training stops at them."""
    return [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]


@contextlib.contextmanager
def fake_cuda() -> Iterator[FakeCudaMode]:
    """Run the block as on a machine with a GPU that has no memory."""
    mode = FakeCudaMode()

    class Event:
        """A CUDA event: to wait for it is to wait for the device."""

        def record(self) -> None:
            """Nothing is queued."""

        def synchronize(self) -> None:
            """Count the wait."""
            mode.wait("event")

    def pin(self: Tensor) -> Tensor:
        """`Tensor.pin_memory`: a copy that says so."""
        with mode:
            copy: Any = torch.empty(self.shape, dtype=self.dtype)
        copy.pinned = True
        return copy

    with contextlib.ExitStack() as stack:
        for patch in (
            mock.patch("torch.cuda.amp.common.amp_definitely_not_available", return_value=False),
            mock.patch("torch.cuda.is_bf16_supported", return_value=True),
            mock.patch("torch.cuda.Event", Event),
            mock.patch("torch.nn.functional.scaled_dot_product_attention", build_attention(mode)),
            mock.patch.object(Tensor, "numpy", read_numpy),
            mock.patch.object(Tensor, "pin_memory", pin),
            mock.patch.object(Tensor, "backward", walk_backward),
            mock.patch("torch.autograd.grad", walk_gradients),
            mock.patch.object(nn.Module, "to", move_module),
        ):
            stack.enter_context(patch)
        stack.enter_context(mode)
        yield mode
