"""Bulk jobs on Ray: the WAVs of the plain runner, whoever is killed on the way."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import bark_jax
from bark_jax.bulk import run as bulk

pytest.importorskip("ray", reason="ray is not installed: pip install 'bark-jax[ray]'")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'bark-jax[ray]'")

COUNT, SPEAKER = 14, b"ray::MapWorker(MapBatches(Speaker))"
LINES = [{"text": f"the {'little ' * (i % 4)}moon {i}", "seed": i, "id": f"line-{i}"} for i in range(COUNT)]
PATIENT = os.environ | {
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",  # as here
    "RAY_raylet_start_wait_time_s": "300",  # on a busy machine
    "RAY_worker_niceness": "0",
}
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
cluster.add_node(num_cpus=2)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def plain(checkpoint, tmp_path_factory) -> Path:
    """The folder that the plain runner makes."""
    folder = tmp_path_factory.mktemp("plain") / "out"
    bulk.run(bark_jax.load(checkpoint, dtype="float32"), LINES, folder, batch_size=2, max_seconds=0.3, progress=False)
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, int]]:
    """Two nodes of two cores on this machine: their address, and the process that holds them."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "env": PATIENT}
    for _ in range(3):  # Ray gives up after 15 s on a busy machine
        with subprocess.Popen([sys.executable, "-c", CLUSTER], **pipes) as process:
            if select.select([process.stdout], [], [], 90)[0] and (address := process.stdout.readline().decode()):
                yield address.strip(), process.pid
                process.stdin.close()
                return
            process.kill()
    pytest.skip("a cluster of two nodes does not start on this machine")


@pytest.fixture
def command(checkpoint, cluster, tmp_path):
    """Return what starts a job on the cluster; it takes more flags."""
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, LINES)))

    def start(*flags, lines="lines.jsonl") -> subprocess.Popen:
        options = ["--checkpoint", checkpoint, "--dtype", "float32", "--batch-size", "2", "--max-seconds", "0.3"]
        line = [sys.executable, "-m", "bark_jax", "batch", lines, "-o", "out", *options, "--no-progress", *flags]
        environment = PATIENT | {"RAY_ADDRESS": cluster[0]}
        return subprocess.Popen(
            line, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def ended(job: subprocess.Popen) -> str:
    """Wait for a job, and return what it printed."""
    out, err = job.communicate(timeout=900)
    assert job.returncode == 0, err
    assert "os.fork" not in err
    return out


def sounds(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.wav")}


def told(folder: Path) -> list[dict]:
    """Read the manifest, but for what differs from run to run."""
    records = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    for record in records:
        record["seconds"] = round(record["seconds"], 12)
    return [{name: value for name, value in one.items() if name not in ("batch", "finished")} for one in records]


def processes(job: int, title: bytes) -> Iterator[int]:
    """Find the processes of a title that descend from one."""
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(folder.name)] = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    for found in (number for number, own in titles.items() if own.startswith(title)):
        above = found
        while above in parents and above != job:
            above = parents[above]
        if above == job:
            yield found


def wait_for(job: subprocess.Popen, path: Path) -> None:
    while not path.parent.exists() or not list(path.parent.glob(path.name)):
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.02)


def test_a_killed_driver_goes_on_to_the_wavs_of_the_plain_runner(command, plain, tmp_path):
    """What is recorded when it is killed is not made again."""
    out, job = tmp_path / "out", command("--ray")
    wait_for(job, out / "records" / "*.json")
    job.send_signal(signal.SIGKILL)
    job.communicate()
    found = [line for path in out.glob("records/*.json") for line in path.read_text().splitlines()]
    recorded = {json.loads(line)["file"] for line in found}
    before = {name: (out / name).stat().st_mtime_ns for name in recorded}
    assert 0 < len(recorded) < COUNT
    shown = ended(command("--ray"))
    assert f"of {COUNT} lines " in shown
    made = int(shown.split(" lines ")[1].split()[0])
    assert 0 < made <= COUNT - len(before) + 2  # one batch may have had its file, but not yet its commit
    kept = [name for name in before if (out / name).stat().st_mtime_ns == before[name]]
    assert len(kept) >= len(before) - 2
    assert sounds(out) == sounds(plain)
    assert told(out) == told(plain)
    assert f" 0 made, {COUNT} done before" in ended(command("--ray"))


def test_a_killed_worker_is_replaced(command, cluster, plain, tmp_path):
    job = command("--ray")
    wait_for(job, tmp_path / "out" / "*.wav")
    workers = list(processes(cluster[1], SPEAKER))
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    assert f" {COUNT} made, 0 done before" in ended(job)
    assert sounds(tmp_path / "out") == sounds(plain)
    assert told(tmp_path / "out") == told(plain)


def test_two_nodes_share_a_job_in_parquet(command, cluster, plain, tmp_path):
    """Lines and records are Parquet; each node has a worker."""
    address, holder = cluster
    import pyarrow

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(LINES), tmp_path / "lines.parquet")
    before = set(processes(holder, SPEAKER))
    job = command("--ray", address, "--records", "parquet", lines="lines.parquet")
    seen: set[int] = set()
    while job.poll() is None and len(seen) < 2:
        seen |= set(processes(holder, SPEAKER)) - before
        time.sleep(0.1)
    assert f" {COUNT} made, 0 done before" in ended(job)
    assert len(seen) == 2
    assert sounds(tmp_path / "out") == sounds(plain)
    rows = parquet.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    assert [row["id"] for row in rows] == [line["id"] for line in LINES]


def test_what_does_not_fit_is_refused(command, tmp_path):
    """Shares, and lines that were made in another way."""
    assert "--share does not go with --ray" in command("--ray", "--share", "1/2").communicate()[1]
    (tmp_path / "out" / "records").mkdir(parents=True)
    (tmp_path / "out" / "records" / "a.json").write_text('{"key": "another", "id": "line-3"}\n')
    job = command("--ray")
    assert "out holds 1 of these lines made with another text, voice, seed or settings" in job.communicate()[1]
    assert job.returncode == 2
    assert not list((tmp_path / "out").glob("*.wav"))
