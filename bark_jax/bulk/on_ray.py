# pyright: reportMissingImports=false
"""Bulk jobs on many machines, by Ray Data: what `bulk.run` makes, by a pool of workers.

    lines ──check──▶ out/tasks.parquet ──Ray Data──▶ workers, each with its own Bark ──▶ out/ID.wav, out/records/
                                           └─ out/checkpoint: the keys of the lines that are recorded

In:  a file of lines and a folder for the output, both local (a folder that all machines share) or in an object store.
Out: the WAVs; once all are made `manifest.jsonl` (or .parquet), in the order of the lines.

The key of a line is a fingerprint of all that its sound depends on. Ray gives the lines of a lost worker to another
one; after a kill the same command makes what is not recorded. A row of a batch does not depend on the others, and all
batches have one size: so the WAVs are those of `bulk.run`, whoever speaks them.
"""

import contextlib
import dataclasses
import io
import json
import logging
import operator
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import pyarrow as pa
import ray
import ray.data
from pyarrow import fs, parquet
from ray.data.checkpoint import CheckpointConfig
from ray.exceptions import RayError

import bark_jax
from bark_jax import options, parallel
from bark_jax.bulk.lines import Line, lines_of
from bark_jax.bulk.locks import job_lock
from bark_jax.bulk.manifest import JOB, MANIFEST, Record, parse_records, to_lines
from bark_jax.bulk.run import BATCH_SIZE, Incomplete, Summary, make_record, speak_batch
from bark_jax.bulk.tasks import Task, check_lines, check_settings, sha256
from bark_jax.console import keep_compiled_programs, say
from bark_jax.files import write_file
from bark_jax.inputs import check_count
from bark_jax.options import STAGES, SamplingOptions
from bark_jax.sound import WAV_HEADER, sound_bytes
from bark_jax.voices import Voice

TASKS, RECORDS, CHECKPOINT, KEY = "tasks.parquet", "records", "checkpoint", "key"
FORMATS = ("jsonl", "parquet")  # of records
TEXT, NUMBER, REAL = pa.string(), pa.int64(), pa.float64()
TASK = {KEY: TEXT, "id": TEXT, "line": NUMBER, "text": TEXT, "voice": TEXT, "voice_sha256": TEXT, "seed": NUMBER}
TASK |= {"settings": TEXT}
TIMES = pa.struct(dict.fromkeys((*STAGES, "codec"), REAL))
RECORD = TASK | {"file": TEXT, "samples": NUMBER, "seconds": REAL, "semantic_tokens": NUMBER, "frames": NUMBER}
RECORD |= {"batch": pa.struct({"lines": NUMBER, "rows": NUMBER, "seconds": TIMES}), "finished": REAL}


@dataclasses.dataclass(frozen=True)
class Store:
    """Hold a folder, on a local disk or in an object store."""

    files: fs.FileSystem
    path: str

    @classmethod
    def of(cls, path: str) -> "Store":
        """Find the file system of a path or a URI such as s3://bucket/folder. Raises ValueError for an unknown one."""
        if "://" in path:
            return cls(*fs.FileSystem.from_uri(path))
        return cls(fs.LocalFileSystem(), os.path.abspath(path))

    @property
    def is_local(self) -> bool:
        return isinstance(self.files, fs.LocalFileSystem)

    def write(self, name: str, content: bytes) -> None:
        """Write a file that appears when it is complete."""
        if self.is_local:
            write_file(Path(self.path, name), content, force=True)
            return
        with self.files.open_output_stream(f"{self.path}/{name}") as stream:
            stream.write(content)

    def read(self, name: str = "") -> bytes:
        with self.files.open_input_stream(f"{self.path}/{name}".rstrip("/")) as stream:
            return stream.read()

    def sizes(self, name: str = "") -> dict[str, int]:
        """List the files of a folder, with their bytes; none where there is no such folder."""
        selector = fs.FileSelector(f"{self.path}/{name}".rstrip("/"), allow_not_found=True)
        return {info.base_name: info.size for info in self.files.get_file_info(selector) if info.is_file}

    def records(self) -> dict[str, Record]:
        """Read all records, by the key of their line."""
        found: dict[str, Record] = {}
        for name in self.sizes(RECORDS):
            content = self.read(f"{RECORDS}/{name}")
            is_parquet = name.endswith(".parquet")
            rows = from_parquet(content) if is_parquet else parse_records(content.splitlines(), name)
            found |= {row[KEY]: row for row in rows if KEY in row}
        return found


def from_parquet(content: bytes) -> list[Record]:
    return parquet.read_table(io.BytesIO(content)).to_pylist()


def to_parquet(rows: list[Record], columns: Mapping[str, pa.DataType]) -> bytes:
    table = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, pa.schema(columns)), table)
    return table.getvalue()


class Speaker:
    """Speak batches of tasks in a worker that Ray starts, and write their WAVs."""

    def __init__(self, loading: dict[str, Any], voices: dict[str, Voice], sampling: Any, rows: int, output: str):
        keep_compiled_programs()
        shape = loading.get("mesh")
        mesh = parallel.make_mesh(*parallel.parse_mesh(shape)) if shape else None
        arguments: dict[str, Any] = loading | {"mesh": mesh}
        self.bark = bark_jax.load(**arguments)
        self.voices, self.sampling, self.rows, self.output = voices, sampling, rows, Store.of(output)

    def __call__(self, batch: pa.Table) -> pa.Table:
        keys, tasks, records = batch[KEY].to_pylist(), [], []
        for row in batch.drop_columns([KEY]).to_pylist():
            number, name = row.pop("line"), row.pop("id")
            tasks.append(Task(number, name, self.voices.get(row["voice_sha256"]), 0, row))
        speeches = speak_batch(self.bark, tasks, self.rows, False, self.sampling)
        for key, task, speech in zip(keys, tasks, speeches, strict=True):
            self.output.write(task.file, sound_bytes(speech.samples, speech.sample_rate))
            records.append({KEY: key} | make_record(task, speech, lines=len(tasks), rows=self.rows))
        return pa.Table.from_pylist(records, pa.schema(RECORD))


def read_lines(path: str) -> list[Line]:
    """Read Parquet if the name says so, with columns as in `Line.of`, else as `lines.read_lines`; local or in a store.

    Raises:
        OSError: it cannot be read.
        ValueError: it has no text.
    """
    content = Store.of(path).read()
    if not path.lower().endswith(".parquet"):
        return lines_of(content, path)
    try:
        rows = from_parquet(content)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a Parquet file: {error}") from error
    filled = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return [Line.of(number, row) for number, row in enumerate(filled, 1)]


def run(
    loading: Mapping[str, Any],
    lines: Sequence[Line],
    output: str,
    *,
    address: str | None = None,
    voice: Any = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    records: str = "jsonl",
    force: bool = False,
    progress: bool = True,
    **sampling: Unpack[SamplingOptions],
) -> Summary:
    """Speak every line into a WAV of its own, on the machines of a Ray cluster; make only what is not recorded.

    Args:
        loading: the arguments of `bark_jax.load`, with which each worker loads its own `Bark`; `mesh` as "4x2".
        output: a folder that all machines share, or one of an object store, such as s3://bucket/folder.
        address: of the cluster; None: that of RAY_ADDRESS, else one that is started on this machine.
        records: their format, "jsonl" or "parquet".
        force: begin anew, whatever was made before; to go on after a kill, leave it out.
        others: as in `bulk.run`.

    Raises:
        ValueError: an argument is out of its range, or the folder holds these lines made in another way.
        Incomplete: lines could not be made, or their files are missing. What is recorded stays.
    """
    began, chosen, store = time.perf_counter(), options.complete(sampling), Store.of(output)
    if records not in FORMATS:
        raise ValueError(f"records is {records!r}, it must be one of {', '.join(FORMATS)}")
    if not ray.is_initialized():  # before JAX starts its threads, for this makes processes
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    lazy: dict[str, Any] = dict(loading) | {"mesh": None, "low_memory": True}  # reads no weights
    bark = bark_jax.load(**lazy)
    settings, fingerprint = check_settings(bark, chosen)
    tasks, errors = check_lines(bark, lines, voice, seed, fingerprint)
    size = min(check_count("batch_size", batch_size), max(len(tasks), 1))
    for error in errors:
        say(f"line {error['line']}: {error['error']}")
    store.files.create_dir(store.path)
    with job_lock(Path(store.path), (0, 1)) if store.is_local else contextlib.nullcontext():
        if force:
            for name in (RECORDS, CHECKPOINT):
                if store.files.get_file_info(f"{store.path}/{name}").type:
                    store.files.delete_dir(f"{store.path}/{name}")
        keys = {sha256(to_lines([{"id": task.id} | task.identity])): task for task in tasks}
        before = store.records()
        others = {record["id"] for key, record in before.items() if key not in keys} & {task.id for task in tasks}
        if others:
            raise ValueError(
                f"{output} holds {len(others)} of these lines made with another text, voice, seed or settings: keep to "
                "those, choose another folder, or make all lines again with --force (force=True)"
            )
        store.write(JOB, json.dumps({"fingerprint": fingerprint, "settings": settings}, indent=2).encode() + b"\n")
        done = sum(key in before for key in keys)
        if done < len(keys):
            voices = {task.identity["voice_sha256"]: task.voice for task in tasks if task.voice is not None}
            by_length = sorted(keys.items(), key=lambda pair: -pair[1].length)  # as in `tasks.make_batches`
            rows = [{KEY: key, "id": task.id, "line": task.number} | task.identity for key, task in by_length]
            store.write(TASKS, to_parquet(rows, TASK))
            arguments = (dict(loading), voices, chosen, size, output if "://" in output else store.path)
            _speak(store, arguments, size, -(-(len(keys) - done) // size), records, progress=progress)
        found = {key: record for key, record in store.records().items() if key in keys}
        _finish(store, keys, found, errors, records)
    seconds = sum(record["seconds"] for key, record in found.items() if key not in before)
    failed = {error["line"]: error["error"] for error in errors}
    return Summary(len(found) - done, done, failed, seconds, time.perf_counter() - began)


def _speak(store: Store, arguments: tuple[Any, ...], size: int, batches: int, records: str, *, progress: bool) -> None:
    """Let the workers speak the tasks that the checkpoint lacks."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = progress
    context.checkpoint_config = CheckpointConfig(
        KEY, f"{store.path}/{CHECKPOINT}", override_filesystem=store.files, delete_checkpoint_on_success=False
    )
    workers, resources = _resources()
    spoken = (
        ray.data.read_parquet(f"{store.path}/{TASKS}", filesystem=store.files)
        .repartition(target_num_rows_per_block=size)
        .map_batches(
            Speaker,
            fn_constructor_args=arguments,
            batch_format="pyarrow",
            batch_size=None,  # a block
            compute=ray.data.ActorPoolStrategy(size=min(workers, batches)),
            **resources,
        )
    )
    where = f"{store.path}/{RECORDS}"
    try:
        if records == "jsonl":
            spoken.write_json(where, filesystem=store.files, double_precision=15)
        else:
            spoken.write_parquet(where, filesystem=store.files)
    except RayError as error:
        why = str(error).strip().splitlines()[-1]
        raise Incomplete(f"the workers could not go on ({why}): the same command makes what is missing") from error


def _resources() -> tuple[int, dict[str, Any]]:
    """Give each worker a GPU, a TPU host, or the cores of a machine; and say how many workers fit.

    Two cores of all are left: Ray Data waits for ever without one to read, and one to leave out what is done.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus, tpus = sum(int(node.get("GPU", 0)) for node in nodes), [node["TPU"] for node in nodes if node.get("TPU")]
    if gpus:
        return gpus, {"num_gpus": 1}
    if tpus:
        return len(tpus), {"resources": {"TPU": min(tpus)}}
    cores = [node["CPU"] for node in nodes if node.get("CPU")]
    if sum(cores) < 2:
        raise ValueError(f"the Ray cluster has {sum(cores):.0f} CPUs, it must have 2 or more")
    each = min(min(cores), (sum(cores) - 2) // len(cores))
    return len(cores), {"num_cpus": each, "scheduling_strategy": "SPREAD"}


def _finish(
    store: Store, keys: Mapping[str, Task], found: Mapping[str, Record], errors: list[Record], records: str
) -> None:
    """Compare the files with the tasks, then write the records in the order of the lines.

    Raises:
        Incomplete: records or files are missing.
    """
    sizes = store.sizes()
    lost = [task for key, task in keys.items() if key not in found]
    lost += [
        keys[key]
        for key, record in found.items()
        if sizes.get(keys[key].file) != WAV_HEADER + 2 * record.get("samples", -WAV_HEADER)
    ]
    if lost:
        raise Incomplete(
            f"{store.path} lacks {len(lost)} of {len(keys)} files, such as {lost[0].file}: remove {CHECKPOINT} and "
            f"{RECORDS} there, and run the job again"
        )
    rows = [{name: record[name] for name in RECORD if name != KEY} for record in found.values()]
    ordered = sorted([*errors, *rows], key=operator.itemgetter("line"))
    if records == "parquet":
        columns = {name: kind for name, kind in RECORD.items() if name != KEY} | {"error": TEXT}
        store.write("manifest.parquet", to_parquet(ordered, columns))
    else:
        store.write(MANIFEST, to_lines(ordered))
