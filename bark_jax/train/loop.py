"""The training loop that all networks share: data parallel, resumable, with progress and a log.

    batch(step) ──▶ update(state, batch, moment) ──▶ state, losses     on all devices, each with its part of the batch

The devices may be those of several processes (`hosts.py`): each feeds its own, and the first writes the log.

A batch, and every random number of an update, depends on the seed and the number of the step alone. So a
run that was killed and started again ends with the same weights as one that was not; unless it has a limit
of time: then the learning rate follows the clock.
"""

import concurrent.futures
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from optax import contrib
from tqdm import tqdm

from bark_jax.files import append, write_file
from bark_jax.train import hosts

DATA = "data"  # the axis of the mesh over which a batch is shared
REPORT_STEPS = 50
AHEAD_STEPS = 8  # that the host may be ahead of the device
COMPILED_STEPS = 32  # whose batches are looked at for their shapes: each is a program, and all compile at once
SAVE_S = 120  # seconds between two checkpoints
WARM_UP_STEPS = 100

State = dict[str, Any]
Losses = dict[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Moment:
    """Say where in its training an update stands."""

    step: jax.Array  # updates before it, int32
    progress: jax.Array  # the share of the training that is done, 0 to 1


Update = Callable[[State, Any, Moment], tuple[State, Losses]]


def use_all_cores(count: int) -> None:
    """Make a device of each core, where JAX has only a CPU; call it before anything is computed.

    XLA computes narrow layers on one core: two devices with half of the batch each are quicker.
    """
    jax.config.update("jax_num_cpu_devices", count)


def adam(*, b1: float, b2: float, decay: float = 0.0) -> optax.GradientTransformation:
    """Build Adam with clipped gradients, for `descend`; weight decay is for matrices alone."""

    def matrices(params: Any) -> Any:
        return jax.tree.map(lambda x: x.ndim > 1, params)

    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(b1=b1, b2=b2),
        optax.add_decayed_weights(decay, mask=matrices),
    )


def muon(*, b1: float, b2: float, decay: float = 0.0) -> optax.GradientTransformation:
    """Build Muon for the kernels of a transformer's blocks and Adam for the rest, with clipped gradients.

    It takes fewer steps than Adam alone. Weight decay is for those kernels. Its steps are as long as Adam's, so that
    one rate fits both (Moonlight, arXiv 2502.16982).
    """

    def choose(path: Any, x: jax.Array) -> contrib.MuonDimensionNumbers | None:
        return contrib.MuonDimensionNumbers() if "'blocks'" in jax.tree_util.keystr(path) and x.ndim == 2 else None

    return optax.chain(
        optax.clip_by_global_norm(1.0),
        contrib.muon(
            -1.0,  # `descend` subtracts
            adam_b1=b1,
            adam_b2=b2,
            weight_decay=decay,
            consistent_rms=0.2,
            muon_weight_dimension_numbers=functools.partial(jax.tree_util.tree_map_with_path, choose),
        ),
    )


def learning_rate(peak: float, moment: Moment, steps: int) -> jax.Array:
    """Return the rate of an update: a warm-up of at most 100 steps, and a cosine down to 3% of the peak."""
    warm_up = jnp.minimum(1.0, moment.step / min(WARM_UP_STEPS, steps // 10 + 1))
    return peak * warm_up * (0.515 + 0.485 * jnp.cos(jnp.pi * moment.progress))


def sharing(devices: Sequence[Any], rows: int) -> Sequence[Any]:
    """Choose as many devices as can have equal parts of so many rows, equally many of each process.

    Says so where some are left out.

    Raises:
        ValueError: the processes cannot have equal parts.
    """
    numbers = sorted({device.process_index for device in devices})
    processes = [[device for device in devices if device.process_index == number] for number in numbers]
    if rows % len(processes):
        raise ValueError(f"a batch of {rows} is not a multiple of {len(processes)} processes: choose one with --batch")
    count = max(n for n in range(1, min(map(len, processes)) + 1) if rows % (n * len(processes)) == 0)
    kept = [device for own in processes for device in own[:count]]
    if len(kept) < len(devices):
        print(f"a batch of {rows} is shared by {len(kept)} of {len(devices)} devices", flush=True)
    return kept


def on_one_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that averages over devices, such as a loss or an update, to be tried on one."""
    mesh = Mesh(np.array(jax.devices()[:1]), (DATA,))
    sharded = jax.shard_map(function, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False)
    whole = NamedSharding(mesh, P())
    return jax.jit(sharded, in_shardings=whole, out_shardings=whole)


def mean_gradients(loss: Callable[..., tuple[jax.Array, Any]], params: Any, *args: Any) -> tuple[Any, Any]:
    """Differentiate a loss with respect to its first argument, on each device, and average; `loss` returns extras."""
    gradients, extras = jax.grad(loss, has_aux=True)(params, *args)
    return jax.lax.pmean(gradients, DATA), extras


def descend(
    optimizer: optax.GradientTransformation, gradients: Any, params: Any, state: optax.OptState, rate: jax.Array
) -> tuple[Any, optax.OptState]:
    """Take one step of an optimiser at a rate; return the parameters and its state."""
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to powers of whole numbers
        changes, state = optimizer.update(gradients, state, params)
        return jax.tree.map(lambda x, change: x - rate * change, params, changes), state


def run(
    update: Update,
    start: Callable[[], State],
    batch: Callable[[int], Any],
    folder: Path,
    *,
    steps: int,
    seconds: float | None = None,
    before: Mapping[int | float, Callable[[State], State]] | None = None,
) -> State:
    """Run `update` for `steps` steps, from the last checkpoint in `folder` if there is one; return the state.

    Args:
        update: computes on one device, with its part of the batch; what it returns must be the same on all:
            it averages over the axis `DATA`.
        start: makes the state of step 0.
        batch: makes the batch of a step, arrays whose first axis is shared over the devices: over all of them,
            or as many as can have equal parts. It is called in a thread, while the device is busy. Of several
            processes each makes all of it, and uses its own rows.
        seconds: stop after so much time, if the steps are not done by then; an interrupted run goes on counting.
        before: what is done to the state, once: before a certain step (int), or as soon as a share of the training
            is done (float).

    Ctrl-C saves a checkpoint first, and so do errors that leave the state whole; not with several processes, which
    may be at different steps. `folder` gets `state/` and `log.jsonl`, a line of mean losses for each `REPORT_STEPS`
    steps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mesh = Mesh(np.array(sharing(jax.devices(), len(jax.tree.leaves(batch(0))[0]))), (DATA,))
    whole, shared = NamedSharding(mesh, P()), NamedSharding(mesh, P(DATA))

    def count_and_update(at: Mapping[str, Any], batch: Any, progress: jax.Array) -> tuple[Mapping[str, Any], Losses]:
        state, losses = update(at["state"], batch, Moment(at["step"], progress))
        return {"state": state, "step": at["step"] + 1}, losses

    jitted = jax.jit(
        jax.shard_map(count_and_update, mesh=mesh, in_specs=(P(), P(DATA), P()), out_specs=(P(), P()), check_vma=False),
        donate_argnums=0,
    )
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    with ocp.CheckpointManager((folder / "state").absolute(), options=options) as manager:
        at = hosts.put_whole({"state": start(), "step": jnp.int32(0)}, whole)
        first = manager.latest_step() or 0
        if first:
            abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, at)
            at = manager.restore(first, args=ocp.args.StandardRestore(abstract))

        def save() -> None:
            is_whole = not at["step"].is_deleted()  # a step that failed has taken the last state with it
            if is_whole and int(at["step"]) > (manager.latest_step() or 0):
                manager.save(int(at["step"]), args=ocp.args.StandardSave(at))

        log, saved = Log(folder / "log.jsonl", first), time.monotonic()
        is_alone = jax.process_count() == 1
        quiet = not hosts.is_first()
        batches = (batch(step) for step in range(first, min(first + COMPILED_STEPS, steps)))
        programs = compile_all(lambda shape: jitted.lower(at, shape, np.float32(0)), batches, shared)
        with (
            concurrent.futures.ThreadPoolExecutor(1) as pool,
            tqdm(
                total=steps, initial=first, desc=folder.name, unit="step", mininterval=1, smoothing=0.05, disable=quiet
            ) as bar,
        ):
            step, ready, spent, is_due = first, pool.submit(batch, first), 0.0, False
            reached = log.elapsed / seconds if seconds and first else -1.0
            reached = max((first - 1) / steps, hosts.agreed((reached, False))[0])
            try:
                while True:
                    if is_alone or (step - first) % AHEAD_STEPS == 0:  # to agree, processes wait for their devices
                        spent = log.elapsed / seconds if seconds else 0.0
                        spent, is_due = hosts.agreed((spent, time.monotonic() - saved > SAVE_S))
                    if is_due:
                        save()
                        saved, is_due = time.monotonic(), False
                    progress = max(step / steps, float(spent))
                    if progress >= 1:
                        break
                    for when, change in (before or {}).items():
                        if step == when if isinstance(when, int) else reached < when <= progress:
                            at = at | {"state": hosts.put_whole(change(at["state"]), whole)}
                    reached = progress
                    now, ready = ready.result(), pool.submit(batch, step + 1)
                    program = programs.get(shape_of(now), jitted)
                    at, losses = program(at, hosts.put_rows(now, shared), np.float32(progress))
                    step += 1
                    log.add(step, losses)
                    bar.set_postfix_str(log.shown, refresh=False)
                    bar.update()
            except BaseException:
                if is_alone:
                    save()
                raise
            save()
    return jax.tree.map(jnp.asarray, jax.device_get(at["state"]))  # on one device, whatever the mesh


def shape_of(batch: Any) -> tuple[Any, ...]:
    """Name the program of a batch."""
    return tuple((x.shape, x.dtype) for x in jax.tree.leaves(batch))


def compile_all(
    lower: Callable[[Any], Any], batches: Iterable[Any], sharding: NamedSharding
) -> dict[tuple[Any, ...], Callable[..., Any]]:
    """Compile the programs of all shapes among some batches, side by side."""
    shapes = {
        shape_of(batch): jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), batch)
        for batch in batches
    }
    lowered = [lower(shape) for shape in shapes.values()]
    # Several processes compile in one order: what they compile may wait for its like in the others.
    with concurrent.futures.ThreadPoolExecutor(len(lowered) or 1 if jax.process_count() == 1 else 1) as pool:
        return dict(zip(shapes, pool.map(lambda each: each.compile(), lowered), strict=True))


class Log:
    """Write mean losses to a file of JSON lines, in the first process; wait for the device at few steps only."""

    def __init__(self, path: Path, first: int):
        kept = [entry for entry in read_log(path) if entry["step"] <= first] if first else []
        if hosts.is_first():
            write_file(path, b"".join(json.dumps(entry).encode() + b"\n" for entry in kept), force=True)
        self.path, self.waiting, self.shown = path, [], ""
        self.began = time.monotonic() - (kept[-1]["seconds"] if kept else 0.0)

    @property
    def elapsed(self) -> float:
        """Seconds of training, those before an interruption included."""
        return time.monotonic() - self.began

    def add(self, step: int, losses: Losses) -> None:
        """Take the losses of a step; wait for the device where the host is `AHEAD_STEPS` ahead of it."""
        self.waiting.append(losses)
        if len(self.waiting) > AHEAD_STEPS:
            jax.block_until_ready(self.waiting[-1 - AHEAD_STEPS])
        if step % REPORT_STEPS:
            return
        fetched = jax.device_get(self.waiting)
        mean = {name: float(np.mean([each[name] for each in fetched])) for name in losses}
        self.waiting.clear()
        self.shown = " ".join(f"{name} {value:.3f}" for name, value in mean.items())
        entry = {"step": step, "seconds": round(self.elapsed, 1)} | mean
        if hosts.is_first():
            append(self.path, json.dumps(entry).encode() + b"\n")


def read_log(path: Path) -> list[dict[str, float]]:
    """Read the entries of a log, in order; damaged lines, such as a killed process leaves, are skipped."""
    entries = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and all(isinstance(entry.get(name), int | float) for name in ("step", "seconds")):
            entries.append(entry)
    return entries
