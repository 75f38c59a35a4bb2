"""`transformers` on the same weights: as it comes, and in every way that may be faster.

In:  a folder that both sides load.
Out: for each mode its stages, which take and return what ours do; or why there are none.

Only this file imports torch, and only when it is called.
"""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bark_jax import semantic
from bark_jax.checkpoints.random import TOKENS
from bark_jax.tokens import flatten_codebooks, unflatten_codebooks

Stages = dict[str, Callable[[Any], Any]]  # each takes what the one before it returned: the rows of a batch
MakeStages = Callable[[int], Stages]  # such that the first draws so many semantic tokens


@dataclasses.dataclass(frozen=True)
class Mode:
    """Say how a model is loaded and run."""

    dtype: str
    attention: str = "eager"
    compiled: bool = False

    @property
    def name(self) -> str:
        return f"{'compiled' if self.compiled else self.attention}, {self.dtype}"


EAGER = Mode("float32")  # as it comes


def modes() -> list[Mode]:
    """List what may be fastest on this machine; compiled in the dtype that suits it, for that takes minutes."""
    import torch  # pyright: ignore[reportMissingImports]

    suited = "bfloat16" if torch.cuda.is_available() else "float32"
    fused = [Mode("bfloat16", attention) for attention in ("sdpa", "flash_attention_2")]
    return [EAGER, Mode("bfloat16"), Mode(suited, compiled=True), *fused]


def device() -> dict[str, str]:
    """Name the device that torch uses, a GPU if it has one, by JAX's words for the platform."""
    import torch  # pyright: ignore[reportMissingImports]

    if not torch.cuda.is_available():
        return {"platform": "cpu", "name": f"cpu, {torch.get_num_threads()} threads"}
    return {"platform": "gpu", "name": torch.cuda.get_device_name()}


def prepare(folder: Path, mode: Mode) -> tuple[MakeStages | None, str]:
    """Load the folder in a mode; return how to make its stages, or None and the reason."""
    import torch  # pyright: ignore[reportMissingImports]
    import transformers

    transformers.logging.set_verbosity_error()  # it misses causal masks, which it makes, and needless statistics
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        model: Any = transformers.BarkModel.from_pretrained(
            folder, dtype=getattr(torch, mode.dtype), attn_implementation=mode.attention
        )
        model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        if mode.compiled:
            compile_model(model)
    except (ImportError, ValueError) as error:
        return None, reason(error)
    return functools.partial(stages, model), ""


def compile_model(model: Any) -> None:
    """Compile what runs most: a step of the causal models, and the block of the fine one.

    With the prompts and a program for each codebook it takes several times as long to compile, for little.
    `generate` compiles other models itself, with a cache of one size; Bark's attention masks that wrongly.
    """
    import torch  # pyright: ignore[reportMissingImports]

    for part in (model.semantic, model.coarse_acoustics):
        part.forward = compile_steps(part.forward, torch.compile(part.forward, dynamic=True))  # the cache grows
    for layer in model.fine_acoustics.layers:
        layer.compile()


def compile_steps(forward: Callable[..., Any], compiled: Callable[..., Any]) -> Callable[..., Any]:
    """Choose the compiled function where one token a row goes through the model."""

    @functools.wraps(forward)  # `generate` looks at its arguments
    def choose(*, input_ids: Any = None, **others: Any) -> Any:
        is_step = input_ids is not None and input_ids.shape[1] == 1
        return (compiled if is_step else forward)(input_ids=input_ids, **others)

    return choose


def warm_up(make: MakeStages, batch: int) -> str:
    """Run two tokens through all stages: what compiles for a size of batch does it now. Return why it failed, if so."""
    text = np.full(2, TOKENS.text_encoding_offset, np.int32)
    try:
        functools.reduce(lambda rows, stage: stage(rows), make(2).values(), [text] * batch)
    except (ImportError, OSError, RuntimeError) as error:  # no compiler, no Triton, no memory: torch derives its own
        return reason(error)
    return ""


def reason(error: Exception) -> str:
    """Cut an error to its kind and its first sentence."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0].split('. ')[0]}"


def stages(model: Any, n: int) -> Stages:
    """Return the stages of a model; the first draws exactly n semantic tokens a row, the first two are greedy."""
    import torch  # pyright: ignore[reportMissingImports]
    from transformers.models.bark import generation_configuration_bark as configs

    ids, greedy = model.generation_config, {"do_sample": False, "temperature": 1.0, "top_k": None}
    exactly = {"min_new_tokens": n, "max_new_tokens": n}
    spoken = configs.BarkSemanticGenerationConfig(**ids.semantic_config | greedy | exactly)
    heard = configs.BarkCoarseGenerationConfig(**ids.coarse_acoustics_config | greedy)
    refined = configs.BarkFineGenerationConfig(**ids.fine_acoustics_config)

    def batch(rows):
        return torch.tensor(np.stack(rows), dtype=torch.long, device=model.device)

    def array(x):
        return x.cpu().numpy()  # which waits for the device

    def to_semantic(texts):
        prompts = batch([semantic.prompt(ids, None, TOKENS)[0] for ids in texts])
        return array(model.semantic.generate(prompts - TOKENS.text_encoding_offset, spoken))

    def to_coarse(rows):
        flat = array(model.coarse_acoustics.generate(batch(rows), spoken, heard, ids.codebook_size))
        return [unflatten_codebooks(row, TOKENS) for row in flat]

    def to_fine(rows):
        flat = batch([flatten_codebooks(row, TOKENS) for row in rows])
        return array(model.fine_acoustics.generate(flat, spoken, heard, refined, ids.codebook_size))

    def to_samples(rows):
        return array(model.codec_decode(batch(rows)).float())

    made = {"semantic": to_semantic, "coarse": to_coarse, "fine": to_fine, "codec": to_samples}
    return {name: torch.inference_mode()(stage) for name, stage in made.items()}
