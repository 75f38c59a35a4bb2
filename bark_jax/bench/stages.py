"""How long each stage takes, alone and beside `transformers`, and how near that is to what the device allows.

In:  a loaded checkpoint, sizes of batches, how many semantic tokens; the stages of others.
Out: a `Measurement` for each stage and for the parts of the first two, and the seconds of the others.
"""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bark_jax import fine, semantic, text
from bark_jax.bench import transformers_baseline as theirs
from bark_jax.bench.roofline import Limits, prompt_work, step_work, window_work
from bark_jax.bench.timing import Compilation, clock, compilation, say
from bark_jax.bench.transformers_baseline import MakeStages, Stages
from bark_jax.checkpoints.random import TOKENS
from bark_jax.gpt import GPT
from bark_jax.pipeline import Bark
from bark_jax.sampling import Controls

TEXT = "Hello, my dog is cute."  # short or long, the prompt has one length
PATIENCE_S = 10  # others run as often as we do, but not again after so many seconds


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Hold how long a part of the work takes, in seconds (the median), and how much comes out of it."""

    stage: str
    amount: float
    unit: str  # of the rate
    seconds: float
    compiled: Compilation | None = None  # in the first pass
    least_seconds: float | None = None  # what the device allows

    def to_dict(self) -> dict[str, Any]:
        """Add to the fields what follows from them."""
        return dataclasses.asdict(self) | {
            "rate": self.amount / self.seconds,
            "share_of_limit": self.least_seconds and self.least_seconds / self.seconds,
        }


def our_stages(bark: Bark, n: int) -> Stages:
    """Return the stages; the first samples exactly n semantic tokens a row."""

    def to_semantic(texts):
        b, controls = len(texts), Controls.from_user(TOKENS.semantic_temperature)
        return semantic.generate(
            bark.semantic_model, TOKENS, texts, [None] * b, list(range(b)), controls, limits=[n] * b, early_stop=False
        )

    later = {"coarse": bark.semantic_to_coarse, "fine": bark.coarse_to_fine, "codec": bark.decode}
    return {"semantic": to_semantic, **later}


@dataclasses.dataclass(frozen=True)
class Passes:
    """Hold what passes through all stages took and made."""

    compiled: dict[str, Compilation]  # in each of our stages, the first time
    made: dict[str, Any]  # by each of our stages
    seconds: dict[str, dict[str, float]]  # of each stage of each contestant, medians; "whole" is their sum


def run_passes(
    texts: Sequence[np.ndarray], ours: Stages, others: Mapping[str, Stages], repeats: int, profile: Path | None
) -> Passes:
    """Run all stages once, to compile them, and then several times, taking turns with the others.

    Each stage gets what our stage before it made: all have the same to do. `profile` is a folder for a trace of
    one more pass.
    """
    rows, compiled, made = texts, {}, {}
    say(f"batch of {len(texts)}: compile")
    for name, stage in ours.items():
        with compilation() as compiled[name]:
            _, made[name] = clock(stage, rows)
        rows = made[name]
    inputs = dict(zip(ours, [texts, *made.values()]))
    contestants = {"bark_jax": ours, **others}
    seconds = {who: {name: [] for name in ours} for who in contestants}
    for number in range(repeats):
        for who, stages in contestants.items():
            spent = seconds[who]
            if who in others and sum(map(sum, spent.values())) > PATIENCE_S:
                continue
            say(f"batch of {len(texts)}: {who}, pass {number + 1} of {repeats}")
            for name, stage in stages.items():
                took, result = clock(stage, inputs[name])
                spent[name].append(took)
                assert [x.shape for x in result] == [x.shape for x in made[name]], f"{who}, {name}: counts differ"
    if profile:
        say(f"one more pass, traced in {profile}")
        with jax.profiler.trace(str(profile)):
            for name, stage in ours.items():
                clock(stage, inputs[name])
    return Passes(compiled, made, {who: with_whole(spent) for who, spent in seconds.items()})


def with_whole(spent: dict[str, list[float]]) -> dict[str, float]:
    """Return the median of each stage, and of the sums."""
    every = spent | {"whole": [sum(one) for one in zip(*spent.values())]}
    return {name: statistics.median(several) for name, several in every.items()}


def measure_stages(bark: Bark, passes: Passes, limits: Limits) -> list[Measurement]:
    """Say how much each stage, and the whole, made in which time."""
    made, seconds, batch = passes.made, passes.seconds["bark_jax"], len(passes.made["fine"])
    frames, sound = made["fine"][0].shape[1], sum(map(len, made["codec"])) / bark.sample_rate
    windows = fine.Windows(frames, 0, TOKENS.max_fine_input_length, TOKENS.max_fine_history_length).count
    least = {"fine": windows * limits.least_seconds(window_work(bark.fine_model, batch))}
    amounts = (
        ("semantic", sum(row.size for row in made["semantic"]), "tokens/s"),
        ("coarse", sum(row.size for row in made["coarse"]), "tokens/s"),
        ("fine", windows * batch, "windows/s"),
        ("codec", sound, "s of sound/s"),
        ("whole", sound, "x real time"),
    )
    return [
        Measurement(name, amount, unit, seconds[name], passes.compiled.get(name), least.get(name))
        for name, amount, unit in amounts
    ]


def measure_decoding(
    stage: str, model: GPT, run: Callable[[int], Any], n: int, scored: int, limits: Limits, repeats: int
) -> list[Measurement]:
    """Tell prompt and steps apart, by runs of 1 and of n semantic tokens, which read the same prompt once."""
    run(1)  # compiles what a short run may need
    runs = [(clock(run, 1), clock(run, n)) for _ in range(repeats)]
    short, long = (statistics.median(seconds for seconds, _ in column) for column in zip(*runs))
    (_, short_rows), (_, long_rows) = runs[0]
    batch, few, steps = len(short_rows), short_rows[0].size, long_rows[0].size - short_rows[0].size
    length = TOKENS.max_input_semantic_length
    keys = length + few + (1 + steps) / 2  # on average; a token sees itself
    prompt_least = limits.least_seconds(prompt_work(model, batch, length))
    steps_least = steps * limits.least_seconds(step_work(model, batch, scored, keys))
    prompt = short - few / steps * (long - short)
    return [
        Measurement(f"{stage} prompt", batch * length, "tokens/s", prompt, least_seconds=prompt_least),
        Measurement(f"{stage} steps", steps, "steps/s", long - short, least_seconds=steps_least),
    ]


def measure_batch(
    bark: Bark,
    others: Mapping[str, MakeStages],
    n: int,
    batch: int,
    limits: Limits,
    repeats: int,
    profile: Path | None = None,
) -> dict[str, Any]:
    """Measure a batch of n semantic tokens a row: "rows" of ours, seconds of the "others", and who is "left_out"."""
    texts = [text.encode(TEXT, bark.tokenizer, TOKENS)] * batch
    ready, left_out = {}, {}
    for who, make in others.items():
        say(f"batch of {batch}: {who}, warm-up")
        why = theirs.warm_up(make, batch)
        if why:
            left_out[who] = why
        else:
            ready[who] = make(n)
    passes = run_passes(texts, our_stages(bark, n), ready, repeats, profile)
    measured, spoken = measure_stages(bark, passes, limits), passes.made["semantic"]
    say(f"batch of {batch}: prompts and steps apart")
    heard = min(n, TOKENS.max_semantic_history)  # behind these the coarse stage has to read its prompt anew

    def sample(n):
        return our_stages(bark, n)["semantic"](texts)

    def sample_coarse(n):
        return bark.semantic_to_coarse([row[:n] for row in spoken])

    measured += measure_decoding("semantic", bark.semantic_model, sample, n, TOKENS.eos_token_id + 1, limits, repeats)
    measured += measure_decoding(
        "coarse", bark.coarse_model, sample_coarse, heard, TOKENS.codebook_size, limits, repeats
    )
    return {
        "rows": [row.to_dict() for row in measured],
        "others": {who: passes.seconds[who] for who in ready},
        "left_out": left_out,
    }
