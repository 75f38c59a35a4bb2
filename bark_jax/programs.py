"""The program of each stage, lowered from descriptions of its inputs, and compiled before these are there.

    semantic runs        | compiles here: coarse, fine, codec |        each stage waits for its own program

In:  a network, where its weights lie, the rows of a batch.
Out: lowered programs; or, compiled in a thread, programs that JAX finds when the stage calls its function.
"""

import concurrent.futures
import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.stages import Lowered

from bark_jax import coarse, codec, fine, journey, sampling, semantic
from bark_jax.tokens import TokenConfig

Describe = Callable[[Any], Any]  # arrays' descriptions -> the same, with the places where they lie


def as_they_are(described: Any) -> Any:
    return described


def lower(
    stage: str,
    network: nnx.Module,
    params: nnx.State,
    tokens: TokenConfig,
    rows: int,
    *,
    slots: int | None = None,
    describe: Describe = as_they_are,
) -> Lowered:
    """Lower the program of a stage for a batch.

    Args:
        stage: its name in `journey`.
        params: the network's, or descriptions of them.
        slots: of the cache; None: as many as the stage needs at most.
        describe: says where the other inputs lie.
    """
    if stage == journey.FINE.name:
        return lower_window(network, params, tokens, rows, describe)
    if stage == journey.CODEC.name:
        return lower_chunk(network, params, tokens, rows, describe)
    return lower_decoding(stage, network, params, tokens, rows, slots, describe)


def lower_decoding(
    stage: str, model: Any, params: nnx.State, tokens: TokenConfig, rows: int, slots: int | None, describe: Describe
) -> Lowered:
    """Lower the processing of a prompt and a window of steps."""
    graphdef, _ = nnx.split(model)
    module = semantic if stage == journey.SEMANTIC.name else coarse
    spec, most = module.decode_spec(tokens), module.max_slots(tokens)
    prompt_shape = (2, tokens.max_input_semantic_length) if module is semantic else (1, most)

    def inputs() -> tuple[Any, ...]:
        state = sampling.start(model, [0] * rows, [1] * rows, slots or most)
        prompt, row = jnp.zeros((rows, *prompt_shape), jnp.int32), jnp.zeros(rows, jnp.int32)
        return state, prompt, row, row, sampling.row_keys(range(rows), 0), sampling.Controls.from_user(0)

    return sampling.decode_window.lower(graphdef, params, spec, *describe(jax.eval_shape(inputs)))


def lower_window(model: Any, params: nnx.State, tokens: TokenConfig, rows: int, describe: Describe) -> Lowered:
    """Lower a window of the fine stage."""
    graphdef, _ = nnx.split(model)

    def inputs() -> tuple[Any, ...]:
        codes = jnp.zeros((rows, tokens.n_fine_codebooks, tokens.max_fine_input_length), jnp.int32)
        return codes, jnp.zeros(rows, jnp.int32), sampling.row_keys(range(rows), 0), sampling.Controls.from_user(0)

    given, count = tokens.n_coarse_codebooks, tokens.codebook_size
    return fine.fill_window.lower(graphdef, params, given, count, *describe(jax.eval_shape(inputs)))


def lower_chunk(model: Any, params: nnx.State, tokens: TokenConfig, rows: int, describe: Describe) -> Lowered:
    """Lower the decoding of a chunk of codes to samples."""
    graphdef, _ = nnx.split(model)

    def inputs() -> tuple[Any, ...]:
        codes = jnp.zeros((rows, tokens.n_fine_codebooks, codec.CHUNK_FRAMES), jnp.int32)
        return codes, jnp.zeros(rows, jnp.int32), jnp.bool(True)

    step, chunk = functools.partial(codec.decode_chunk, graphdef), jax.eval_shape(inputs)
    _, memory = jax.eval_shape(lambda params, *chunk: step(params, *chunk, None), params, *chunk)
    return codec.decode_chunk.lower(graphdef, params, *describe((*chunk, memory)))


@contextlib.contextmanager
def compiling(programs: Mapping[str, Callable[[], Lowered]]) -> Iterator[Callable[[str], None]]:
    """Compile programs in a thread, one after another; give a function that waits for one of them, by its name.

    Errors are not raised: where the program is needed, JAX compiles it anew and raises them.
    """
    pool = concurrent.futures.ThreadPoolExecutor(1)
    compiled = {name: pool.submit(lambda lower=lower: lower().compile()) for name, lower in programs.items()}

    def wait_for(name: str) -> None:
        concurrent.futures.wait([compiled[name]] if name in compiled else [])

    try:
        yield wait_for
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
