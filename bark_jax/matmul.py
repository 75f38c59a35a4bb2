"""Matrix products in mixed precision: factors in bfloat16 or float32, sums in float32.

On GPU and TPU each is one call of XLA. On a CPU, XLA is quick with factors in bfloat16 only in some shapes and
orders: what is here brings the others into those, for generation and for training.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

HAS_NARROW = jax.__version_info__ >= (0, 10)  # before, XLA multiplies no bfloat16 on a CPU, or not in every shape


def einsum_float32(subscripts: str, x: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
    """Multiply and sum into float32, also what comes in bfloat16: sums of it are not rounded again.

    Gradients come in the factors' own dtype, as products of that dtype.
    """
    return _product(subscripts, x, y)


def _multiply(subscripts: str, x: Array, y: Array) -> Array:
    einsum = functools.partial(jnp.einsum, subscripts, preferred_element_type=jnp.float32)
    if not _is_narrow_on_cpu(x):
        return einsum(x, y)
    if not HAS_NARROW:
        return einsum(x.astype(jnp.float32), y.astype(jnp.float32))
    left, right = subscripts.split("->")[0].split(",")
    rows = math.prod(size for letter, size in zip(left, x.shape) if letter not in right)
    # It is slow with one row alone, and quick with two, even of the same.
    return einsum(jnp.repeat(x, 2, axis=-2), y)[..., :1, :] if rows == 1 else einsum(x, y)


def _forward(subscripts: str, x: Array, y: Array) -> tuple[Array, tuple[Array, Array]]:
    return _multiply(subscripts, x, y), (x, y)


def _backward(subscripts: str, factors: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, y = factors
    terms, out = subscripts.split("->")
    left, right = terms.split(",")
    gradient = gradient.astype(x.dtype)
    of_x = _multiply(f"{out},{right}->{left}", gradient, y)
    if HAS_NARROW and _is_narrow_on_cpu(x):
        batch = math.prod(size for letter, size in zip(left, x.shape) if letter in right and letter in out)
        rows, gradients = (z.reshape(batch, -1, z.shape[-1]) for z in (x, gradient))
        of_y = _sum_over_rows(rows, gradients) if right[-1] == out[-1] else _sum_over_rows(gradients, rows)
    else:
        of_y = _multiply(f"{left},{out}->{right}", x, gradient)
    return of_x.astype(x.dtype), of_y.reshape(y.shape).astype(y.dtype)


_product: Any = jax.custom_vjp(_multiply, nondiff_argnums=(0,))
_product.defvjp(_forward, _backward)


def _sum_over_rows(x: Float[Array, "b t m"], y: Float[Array, "b t n"]) -> Float[Array, "b m n"]:
    """Multiply two arrays of bfloat16 along t; quick on a CPU, where XLA is slow if t is not the last axis of x.

    The narrower of them is turned by a product with the identity, which is exact: XLA would undo a transposition.
    """
    if x.shape[2] > y.shape[2]:
        return jnp.swapaxes(_sum_over_rows(y, x), 1, 2)
    identity = jnp.broadcast_to(jnp.eye(x.shape[2], dtype=x.dtype), (len(x), x.shape[2], x.shape[2]))
    turned = _multiply("bmk,btk->bmt", identity, x).astype(x.dtype)
    return jax.lax.optimization_barrier(_multiply("bmt,btn->bmn", turned, y))


def project(
    x: Float[Array, "*shape d"], kernel: Float[Array, "d w"], *how: Any, **options: Any
) -> Float[Array, "*shape w"]:
    """Multiply as a Linear layer does, which passes `how` and `options` of `jax.lax.dot_general`."""
    if not _is_narrow_on_cpu(x):
        return jax.lax.dot_general(x, kernel, *how, **options)
    rows = einsum_float32("td,dw->tw", x.reshape(-1, x.shape[-1]), kernel)
    return rows.reshape(*x.shape[:-1], -1).astype(x.dtype)


def _is_narrow_on_cpu(x: Array) -> bool:
    """Say whether factors are narrower than float32 where that makes a difference to XLA."""
    return x.dtype != jnp.float32 and jax.default_backend() == "cpu"
