"""A pretended accelerator: its tensors cannot be read or mixed with those of the host; each wait for it is noted."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map_only

ELSEWHERE = torch.device("meta")  # no build of PyTorch needs a driver for it
HOST = torch.device("cpu")
_aten = torch.ops.aten
# What the host must know the values of before it can go on.
_READ = {
    _aten._local_scalar_dense,
    _aten.nonzero,
    _aten.masked_select,
    _aten.bincount,
    _aten._unique2,
    _aten.equal,
}
_MOVES = {_aten._to_copy, _aten.copy_}


class Remote(torch.Tensor):
    """A tensor that says it is elsewhere, with values that only operations see."""

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> "Remote":
        layout = {"strides": values.stride(), "storage_offset": values.storage_offset()}
        return torch.Tensor._make_wrapper_subclass(
            cls, values.shape, dtype=values.dtype, device=ELSEWHERE, requires_grad=False, **layout
        )

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is _aten.detach.default:  # so do parameters begin
            return Remote(args[0].values)
        raise AssertionError("A tensor of the accelerator was used outside of it.")


def there(value: Any) -> Any:
    """A tensor, or all tensors of some structure, moved to the accelerator."""
    return tree_map_only(torch.Tensor, Remote, value)


def on_host(function: Callable, *args: Any) -> Any:
    """What a function makes of the values, as if nothing were elsewhere."""
    with _disable_current_modes():
        return function(*tree_map_only(Remote, lambda tensor: tensor.values, args))


class _Accelerator(TorchDispatchMode):
    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self.notes = notes

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs, packet = dict(kwargs or {}), func.overloadpacket
        leaves = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
        remote = [leaf for leaf in leaves if isinstance(leaf, Remote)]
        to = kwargs.get("device")
        if remote and packet not in _MOVES and any(not isinstance(t, Remote) and t.ndim for t in leaves):
            raise AssertionError(f"{func} mixes tensors of the host with those of the accelerator.")
        masks = packet in (_aten.index, _aten.index_put_) and any(
            t is not None and t.dtype == torch.bool for t in args[1]
        )
        home = (packet is _aten._to_copy and to == HOST) or (packet is _aten.copy_ and not isinstance(args[0], Remote))
        if remote and (packet in _READ or masks or home):
            self.notes.append(f"wait: {packet.__name__}")
        if to is not None:
            kwargs["device"] = HOST
        bare_args, bare_kwargs = tree_map_only(Remote, lambda t: t.values, (args, kwargs))
        result = func(*bare_args, **bare_kwargs)
        if func._schema.is_mutable and result is bare_args[0]:
            return args[0]
        elsewhere = to == ELSEWHERE or (bool(remote) and not home and to != HOST)
        return there(result) if elsewhere else result


@contextlib.contextmanager
def accelerator() -> Iterator[list[str]]:
    """The accelerator at work; gives the list of what the host waited for, which anybody may add to."""
    notes: list[str] = []
    with _Accelerator(notes):
        yield notes
