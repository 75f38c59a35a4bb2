"""Products of matrices: sums in float32, and gradients that are those of the exact product."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bark_jax import matmul
from bark_jax.gpt import attend_fully
from bark_jax.matmul import HAS_NARROW, TILE_ROWS, einsum_float32, look_up, project

SHAPES = {  # as the models multiply: linear layers, the two kinds of heads, scores and mixtures of attention
    "td,dw->tw": ((7, 96), (96, 160)),
    "tw,wd->td": ((7, 160), (160, 96)),
    "btd,dw->btw": ((2, 7, 96), (96, 160)),
    "btd,wd->btw": ((2, 7, 96), (160, 96)),
    "bnth,bnsh->bnts": ((2, 3, 40, 48), (2, 3, 56, 48)),
    "bnts,bnsh->bnth": ((2, 3, 40, 56), (2, 3, 56, 48)),
}


@pytest.mark.parametrize(("batch", "rows"), [(1, 1), (3, 1), (1, 5), (2, 256)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_products_are_summed_in_float32(batch, rows, dtype):
    rng = np.random.default_rng(0)
    x, kernel = (jnp.asarray(rng.normal(size=shape), dtype) for shape in ((batch, rows, 96), (96, 160)))
    key = jnp.asarray(rng.normal(size=(batch, 160, 96)), dtype)
    for subscripts, y in (("btd,dw->btw", kernel), ("btd,bwd->btw", key)):
        product = jax.jit(functools.partial(einsum_float32, subscripts))(x, y)
        assert product.dtype == jnp.float32
        exact = np.einsum(subscripts, *(np.asarray(z, np.float64) for z in (x, y)))
        np.testing.assert_allclose(product, exact, rtol=0, atol=2e-5)


@pytest.mark.parametrize("subscripts", SHAPES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_are_those_of_the_exact_product(subscripts, dtype):
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(rng.normal(size=shape), dtype) for shape in SHAPES[subscripts])
    shape = jax.eval_shape(functools.partial(einsum_float32, subscripts), x, y).shape
    weight = jnp.asarray(rng.normal(size=shape), dtype)  # what is rounded to bfloat16 is exact

    def total(x, y):
        return jnp.sum(einsum_float32(subscripts, x, y) * weight.astype(jnp.float32))

    of_x, of_y = jax.jit(jax.grad(total, argnums=(0, 1)))(x, y)
    terms, out = subscripts.split("->")
    left, right = terms.split(",")
    x, y, weight = (np.asarray(z, np.float64) for z in (x, y, weight))
    for gradient, exact in (
        (of_x, np.einsum(f"{out},{right}->{left}", weight, y)),
        (of_y, np.einsum(f"{left},{out}->{right}", x, weight)),
    ):
        assert gradient.dtype == dtype
        relative, absolute = (2.0**-8, 1e-4) if dtype == jnp.bfloat16 else (0, 2e-5)
        np.testing.assert_allclose(gradient.astype(jnp.float32), exact, rtol=relative, atol=absolute)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_projection_is_a_product_over_the_last_axis(dtype):
    rng = np.random.default_rng(0)
    x, kernel = (jnp.asarray(rng.normal(size=shape), dtype) for shape in ((2, 3, 16), (16, 24)))
    y = project(x, kernel, (((2,), (0,)), ((), ())))
    exact = np.asarray(x, np.float64) @ np.asarray(kernel, np.float64)
    np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=2.0**-8 if dtype == jnp.bfloat16 else 0, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 5])
def test_a_program_is_that_of_the_platform_it_is_compiled_for(rows):
    """On this machine, a CPU's, programs for a TPU or GPU have none of the CPU's detours; those for a CPU have them."""
    x, kernel = jnp.ones((1, rows, 64), jnp.bfloat16), jnp.ones((64, 48), jnp.bfloat16)
    heads = jnp.ones((2, 3, 16, 8))

    def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jnp.sum(project(x, kernel).astype(jnp.float32)) + jnp.sum(einsum_float32("btd,dw->btw", x, kernel))

    traced = (
        jax.jit(jax.grad(loss, argnums=(0, 1))).trace(x, kernel),
        jax.jit(attend_fully).trace(heads, heads, heads),
    )
    for platform, has_detours in (("cpu", True), ("tpu", False), ("cuda", False)):
        products, attention = (one.lower(lowering_platforms=(platform,)).as_text() for one in traced)
        assert ("optimization_barrier" in products) == (has_detours and HAS_NARROW)
        assert (f"tensor<{TILE_ROWS}x64xbf16>" in products) == (platform == "tpu" and rows == 1)
        assert ("stablehlo.while" in attention) == (has_detours and jax.local_device_count() == 1)


@pytest.mark.parametrize("subscripts", ["td,dw->tw", "btd,dw->btw", "bntd,bnsd->bnts", "bnts,bnsd->bntd"])
def test_a_row_alone_is_multiplied_in_a_tile_on_a_tpu(subscripts, monkeypatch):
    """What a TPU computes is computed here; the products are those of the row."""
    sizes = {"b": 2 if "n" in subscripts else 1, "n": 3, "t": 1, "d": 16, "w": 24, "s": 5}
    rng = np.random.default_rng(0)
    terms = subscripts.split("->")[0].split(",")
    x, y = (jnp.asarray(rng.normal(size=[sizes[letter] for letter in term]), jnp.bfloat16) for term in terms)
    chosen = []

    def on_tpu(*args, default, **others):
        chosen.append("tpu" in others)
        return others.get("tpu", default)(*args)

    monkeypatch.setattr(matmul, "by_platform", on_tpu)
    exact = np.einsum(subscripts, *(np.asarray(z, np.float64) for z in (x, y)))
    product = einsum_float32(subscripts, x, y)
    assert (product.shape, product.dtype, chosen) == (exact.shape, jnp.float32, [True])
    np.testing.assert_allclose(product, exact, rtol=1e-5, atol=1e-5)


def test_gradients_of_a_row_that_is_taken_often_are_added_up_in_float32():
    ids = jnp.zeros(3000, jnp.int32).at[:5].set(2)
    gradient = jax.grad(lambda table: look_up(table, ids).astype(jnp.float32).sum())
    for dtype in (jnp.float32, jnp.bfloat16):
        found = gradient(jnp.ones((4, 2), dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(
            found.astype(jnp.float32), np.array([[2995] * 2, [0] * 2, [5] * 2, [0] * 2]), rtol=3e-3
        )
