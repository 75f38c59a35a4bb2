"""Speak and train on eight fake devices: `python eight_devices.py CHECKPOINT` prints what came of it, as JSON.

It needs a process of its own: how many devices there are is decided when JAX starts.
"""

import dataclasses
import json
import os
import sys
import tempfile
import unittest.mock
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import jax
import numpy as np
from flax import nnx

jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_disable_most_optimizations", True)  # of single programs: they compile in half the time
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)

import bark_jax  # noqa: E402
from bark_jax import parallel  # noqa: E402
from bark_jax.bench.exchanges import exchanges_in  # noqa: E402
from bark_jax.bench.programs import abstract_networks, bytes_on_each, lay_out, stage_program  # noqa: E402
from bark_jax.train import loop, recipe, transformers  # noqa: E402

TEXTS = ["a little egg lay on a leaf", "Hello", "two three of moon", "light", "the world", "moon", "egg egg", "little"]
VOICES = [None, "announcer", "v2/en_speaker_6", "de_speaker_0"] * 2
LIMITS = [None, 0.1, 0.3, None] * 2  # rows end at different places
GREEDY = {"semantic_temperature": 0, "coarse_temperature": 0, "fine_temperature": 0, "min_eos_p": None}
DRAWN = {"semantic_temperature": 0.9, "coarse_temperature": 0.9, "fine_temperature": 0.9, "min_eos_p": 0.004}
BATCHES = {"8x1": (1, 3, 8), "4x2": (1, 3), "2x4": (8,), "1x8": (3,)}  # that `data` divides, and that it does not
SIZES = {"num_layers": 2, "num_heads": 8, "hidden_size": 64}  # of what is only compiled, with Bark's vocabularies

compiled: list[str] = []


def listen(event: str, duration: float, **details) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        compiled.append(str(details))


jax.monitoring.register_event_duration_secs_listener(listen)


def speak(bark, rows: int, controls: dict, first_seed: int = 0, texts=TEXTS) -> list[bark_jax.Speech]:
    """Speak as many texts as one batch, each with its own voice, seed and limit."""
    own = {"voice": VOICES[:rows], "max_seconds": LIMITS[:rows], "seed": list(range(first_seed, first_seed + rows))}
    return bark.generate(texts[:rows], **own, **controls, progress=False)


def differences(speeches, expected) -> list[str]:
    """Name the stages whose results differ."""
    stages = ("semantic", "coarse", "fine")
    pairs = list(zip(speeches, expected, strict=False))
    found = [name for name in stages if any(not np.array_equal(getattr(a, name), getattr(b, name)) for a, b in pairs)]
    close = all(a.samples.shape == b.samples.shape and np.allclose(a.samples, b.samples, atol=1e-5) for a, b in pairs)
    return found if close else [*found, "samples"]


def held(module) -> list[int]:
    """Count the bytes of a module on each device."""
    counts = dict.fromkeys(jax.devices(), 0)
    for leaf in jax.tree.leaves(nnx.state(module)):
        for shard in leaf.addressable_shards:
            counts[shard.device] += shard.data.nbytes
    return list(counts.values())


def on_mesh(folder: str, shape: str, expected: dict) -> dict:
    """Load a checkpoint on a mesh, speak, and count."""
    mesh = parallel.make_mesh(*parallel.parse_mesh(shape))
    bark = bark_jax.load(folder, dtype="float32", mesh=mesh)
    said = {
        f"{rows} rows, {name}": differences(speak(bark, rows, controls), expected[name])
        for rows in BATCHES[shape]
        for name, controls in (("greedy", GREEDY), ("drawn", DRAWN))
    }
    compiled.clear()
    speak(bark, BATCHES[shape][-1], DRAWN, first_seed=50, texts=TEXTS[::-1])
    again = list(compiled)
    return {
        "differences": said,
        "compiled again": again,
        "held": {name: held(module) for name, module in bark.networks.items()},
        "table": {name: bytes_on_each(lay_out(module, mesh)) for name, module in bark.networks.items()},
    }


def exchanges(shape: str) -> dict:
    """List what the devices of a mesh exchange for a batch of 16 rows."""
    mesh = parallel.make_mesh(*parallel.parse_mesh(shape))
    found = {}
    for name, network in abstract_networks(SIZES, "float32").items():
        if name != "codec":
            compiled = stage_program(name, network, mesh, 16).compile()
            found[name] = [dataclasses.asdict(one) for one in exchanges_in(str(compiled.as_text()))]
    return found


def refusal(shape: str) -> str:
    """Load the embedded checkpoint, which has four heads, on a mesh that cannot share them."""
    try:
        bark_jax.load(mesh=parallel.make_mesh(*parallel.parse_mesh(shape)))
    except ValueError as error:
        return str(error)
    return "none"


def training() -> dict:
    """Train the tiny semantic model on as many devices as can share six rows, and on one; compare."""
    tiny, rng = recipe.TINY, np.random.default_rng(0)
    units = [rng.integers(0, tiny.tokens.semantic_vocab_size, n).astype(np.int32) for n in range(10, 40)]
    ids = [tiny.tokens.text_encoding_offset + rng.integers(2, 30, 8).astype(np.int32) for _ in units]
    data = transformers.Tokens(ids, units, [np.zeros((0, 0), np.int32) for _ in units], ["a"] * len(units))
    how = dataclasses.replace(tiny.semantic_training, steps=4, batch=6)
    many, one = loop.sharing(jax.devices(), how.batch), jax.devices()[:1]
    weights = []
    for devices in (many, one):
        with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.object(loop, "sharing", return_value=devices):
            model = transformers.train_semantic(tiny.semantic, tiny.tokens, data, how, Path(folder))
        weights.append(jax.tree.leaves(nnx.state(model)))
    return {"devices": len(many), "difference": max(float(np.abs(a - b).max()) for a, b in zip(*weights))}


def main(folder: str) -> None:
    one = bark_jax.load(folder, dtype="float32")
    expected = {"greedy": speak(one, 8, GREEDY), "drawn": speak(one, 8, DRAWN)}
    result = {
        "meshes": {shape: on_mesh(folder, shape, expected) for shape in BATCHES},
        "exchanges": {shape: exchanges(shape) for shape in ("4x2", "1x8")},
        "refusal": refusal("1x8"),
        "training": training(),
        "lengths": [len(speech.semantic) for speech in expected["drawn"]],
    }
    print(f"\n{json.dumps(result)}")


if __name__ == "__main__":
    main(sys.argv[1])
