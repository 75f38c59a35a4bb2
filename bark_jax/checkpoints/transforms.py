"""Transforms of weights, in NumPy: from the layout of torch's modules to ours, and back.

    tensors of a checkpoint ──forward──▶ one parameter
    tensors of a checkpoint ◀──inverse── one parameter

Letters in shapes: d width, n heads, h head width, q codebooks, v vocabulary.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Transform(Protocol):
    """What makes one parameter of some tensors; `inverse` gives tensors of which `forward` makes it again."""

    @property
    def forward(self) -> Callable[..., np.ndarray]: ...
    def inverse(self, parameter: np.ndarray, /) -> tuple[np.ndarray, ...]: ...


@dataclasses.dataclass(frozen=True)
class Keep:
    """Take a tensor as it is."""

    def forward(self, tensor: np.ndarray) -> np.ndarray:
        return tensor

    def inverse(self, parameter: np.ndarray) -> tuple[np.ndarray, ...]:
        return (parameter,)


@dataclasses.dataclass(frozen=True)
class Transpose:
    """Turn the weight of a linear layer (out, in) into a kernel (in, out)."""

    def forward(self, weight: np.ndarray) -> np.ndarray:
        return weight.T

    def inverse(self, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        return (kernel.T,)


@dataclasses.dataclass(frozen=True)
class ByHead:
    """Order the outputs of a fused projection to queries, keys and values head by head.

        weight (3d, d), by rows       q0 q1 q2 | k0 k1 k2 | v0 v1 v2        the number is that of the head
        kernel (d, 3d), by columns    q0 k0 v0 | q1 k1 v1 | q2 k2 v2

    So each head is one block of columns, and devices that share the heads share these blocks. A bias (3d,) is
    ordered in the same way.
    """

    num_heads: int

    def forward(self, weight: np.ndarray) -> np.ndarray:
        return self._exchanged(weight, 3, self.num_heads).T

    def inverse(self, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        return (self._exchanged(kernel.T, self.num_heads, 3),)

    def _exchanged(self, weight: np.ndarray, outer: int, inner: int) -> np.ndarray:
        """Exchange the two axes that the first one, (outer, inner, h) in one, is made of."""
        return weight.reshape(outer, inner, -1, *weight.shape[1:]).swapaxes(0, 1).reshape(weight.shape)


@dataclasses.dataclass(frozen=True)
class Add:
    """Sum the two biases of torch's LSTM, in float32; back, the first gets all of it."""

    def forward(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x.astype(np.float32) + y.astype(np.float32)

    def inverse(self, bias: np.ndarray) -> tuple[np.ndarray, ...]:
        return bias, np.zeros_like(bias)


@dataclasses.dataclass(frozen=True)
class Stack:
    """Stack the tables of the codebooks: (q, v, d)."""

    def forward(self, *tables: np.ndarray) -> np.ndarray:
        return np.stack(tables)

    def inverse(self, stacked: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(stacked)


@dataclasses.dataclass(frozen=True)
class FoldWeightNorm:
    """Multiply each slice of axis 0 by its scale over its norm, in float32, and lay it out as a kernel.

    Back, the scale is the norm. `axes` are those of the weight in the order of the kernel (size, in, out).
    """

    axes: tuple[int, int, int]

    def forward(self, scale: np.ndarray, direction: np.ndarray) -> np.ndarray:
        direction = direction.astype(np.float32)
        return (direction * (scale.astype(np.float32) / self._norm(direction))).transpose(self.axes)

    def inverse(self, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        direction = kernel.transpose(np.argsort(self.axes)).astype(np.float32)
        return self._norm(direction), direction

    def _norm(self, direction: np.ndarray) -> np.ndarray:
        return np.sqrt(np.sum(direction**2, axis=tuple(range(1, direction.ndim)), keepdims=True))


KEEP, TRANSPOSE, ADD, STACK = Keep(), Transpose(), Add(), Stack()
FOLD_CONV = FoldWeightNorm((2, 1, 0))  # the weight of a convolution is (out, in, size)
FOLD_UP_CONV = FoldWeightNorm((2, 0, 1))  # that of a transposed convolution (in, out, size)
