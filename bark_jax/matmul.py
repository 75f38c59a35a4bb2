"""Matrix products in mixed precision: factors in bfloat16 or float32, sums in float32.

On a GPU each is one call of XLA. On a CPU, XLA is quick with factors in bfloat16 only in some shapes and
orders: what is here brings the others into those, for generation and for training. On a TPU, XLA leaves its matrix
unit unused for one row alone: it gets a whole tile of rows.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from bark_jax.platforms import by_platform

TILE_ROWS = 8  # of a TPU's registers
HAS_NARROW = jax.__version_info__ >= (0, 10)  # before, XLA multiplies no bfloat16 on a CPU, or not in every shape


def einsum_float32(subscripts: str, x: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
    """Multiply and sum into float32, also what comes in bfloat16: sums of it are not rounded again.

    Gradients come in the factors' own dtype, as products of that dtype.
    """
    return _product(subscripts, jnp.float32, x, y)


def _multiply(subscripts: str, dtype: Any, x: Array, y: Array) -> Array:
    """Multiply with sums in float32, rounded to `dtype` in the end."""
    einsum = functools.partial(jnp.einsum, subscripts, preferred_element_type=dtype)
    if x.dtype == jnp.float32:
        return einsum(x, y)
    left, right = subscripts.split("->")[0].split(",")
    rows = math.prod(size for letter, size in zip(left, x.shape) if letter not in right)

    def on_cpu(x: Array, y: Array) -> Array:
        wide = functools.partial(jnp.einsum, subscripts, preferred_element_type=jnp.float32)
        if not HAS_NARROW:
            product = wide(x.astype(jnp.float32), y.astype(jnp.float32))
        elif rows == 1:  # it is slow with one row alone, and quick with two, even of the same
            product = wide(jnp.repeat(x, 2, axis=-2), y)[..., :1, :]
        else:
            product = wide(x, y)
        return product.astype(dtype)

    def on_tpu(x: Array, y: Array) -> Array:
        return einsum(jnp.repeat(x, TILE_ROWS, axis=-2), y)[..., :1, :]

    return by_platform(x, y, cpu=on_cpu, default=einsum, **({"tpu": on_tpu} if rows == 1 else {}))


def _forward(subscripts: str, dtype: Any, x: Array, y: Array) -> tuple[Array, tuple[Array, Array]]:
    return _multiply(subscripts, dtype, x, y), (x, y)


def _backward(subscripts: str, dtype: Any, factors: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, y = factors
    terms, out = subscripts.split("->")
    left, right = terms.split(",")
    gradient = gradient.astype(x.dtype)
    of_x = _multiply(f"{out},{right}->{left}", x.dtype, gradient, y)
    batch = math.prod(size for letter, size in zip(left, x.shape) if letter in right and letter in out)

    def on_cpu(x: Array, gradient: Array) -> Array:
        rows, gradients = (z.reshape(batch, -1, z.shape[-1]) for z in (x, gradient))
        of_y = _sum_over_rows(rows, gradients) if right[-1] == out[-1] else _sum_over_rows(gradients, rows)
        return of_y.reshape(y.shape).astype(y.dtype)

    multiply = functools.partial(_multiply, f"{left},{out}->{right}", y.dtype)
    is_plain = x.dtype == jnp.float32 or not HAS_NARROW
    return of_x, multiply(x, gradient) if is_plain else by_platform(x, gradient, cpu=on_cpu, default=multiply)


_product: Any = jax.custom_vjp(_multiply, nondiff_argnums=(0, 1))
_product.defvjp(_forward, _backward)


def _sum_over_rows(x: Float[Array, "b t m"], y: Float[Array, "b t n"]) -> Float[Array, "b m n"]:
    """Multiply two arrays of bfloat16 along t; quick on a CPU, where XLA is slow if t is not the last axis of x.

    The narrower of them is turned by a product with the identity, which is exact: XLA would undo a transposition.
    """
    if x.shape[2] > y.shape[2]:
        return jnp.swapaxes(_sum_over_rows(y, x), 1, 2)
    identity = jnp.broadcast_to(jnp.eye(x.shape[2], dtype=x.dtype), (len(x), x.shape[2], x.shape[2]))
    turned = _multiply("bmk,btk->bmt", x.dtype, identity, x)
    return jax.lax.optimization_barrier(_multiply("bmt,btn->bmn", jnp.float32, turned, y))


@jax.custom_vjp
def look_up(table: Float[Array, "v d"], ids: Int[Array, "*shape"]) -> Float[Array, "*shape d"]:
    """Take rows of a table; the gradients of rows that are taken often are added up in float32.

    In bfloat16 such a sum stops growing at 256 times its terms, and on a GPU its additions wait for each other.
    """
    return jnp.take(table, ids, axis=0)


def _look_up_forward(table: Array, ids: Array) -> tuple[Array, tuple[Array, Array]]:
    return jnp.take(table, ids, axis=0), (table, ids)


def _look_up_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, None]:
    table, ids = saved
    total = jnp.zeros(table.shape, jnp.float32).at[ids].add(gradient.astype(jnp.float32))
    return total.astype(table.dtype), None


look_up.defvjp(_look_up_forward, _look_up_backward)


def project(
    x: Float[Array, "*shape d"], kernel: Float[Array, "d w"], *how: Any, **options: Any
) -> Float[Array, "*shape w"]:
    """Multiply as a Linear layer does, which passes `how` and `options` of `jax.lax.dot_general`."""
    if x.dtype == jnp.float32:
        return jax.lax.dot_general(x, kernel, *how, **options)
    rows = _product("td,dw->tw", x.dtype, x.reshape(-1, x.shape[-1]), kernel)
    return rows.reshape(*x.shape[:-1], -1)
