"""Use the package for long, and kill it often: `python tests/soak.py generate|batch|train [-n COUNT]`, not run in CI.

    generate    generations in one process: memory, file handles and threads stay flat
    batch       kill a bulk job at random moments, and start it again
    train       kill each part of training at random moments, and start it again

All with the embedded checkpoint, or networks of its sizes. After every kill no file under its final name may differ
from that of a process that was left alone, and every job ends with the same bytes. It prints what it did, and
exits with 1 if anything was not as it should be.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

WORDS = "one two three four the little house moon water light and garden old green river".split()
LINES, ROWS, SECONDS = 24, 4, 0.8
SAVES_S, STEPS = 3, 30  # of training: a state so often, for so many steps
PARTS = {  # of training -> what it leaves
    "units": ("units.safetensors",),
    "codec": ("codec/model.safetensors",),
    "semantic": ("units.npy", "units_lengths.npy", "semantic/model.safetensors"),
    "coarse": ("codes.npy", "codes_lengths.npy", "coarse/model.safetensors"),
    "fine": ("fine/model.safetensors",),
    "checkpoint": ("checkpoint/config.json", "checkpoint/model.safetensors", "checkpoint/tokenizer.json"),
}
TRAIN = "import sys\nfrom bark_jax.train import loop\nfrom bark_jax.cli import main\nloop.SAVE_S = {}\nsys.exit(main())"


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 8)))


# ---------------------------------------------------------------------------------------------
# One process
# ---------------------------------------------------------------------------------------------


def generate(count: int, work: Path) -> bool:
    """Speak `count` times, every tenth time in long form; compare the second half with the first."""
    import bark_jax

    bark, rng, seen = bark_jax.load(), random.Random(0), []
    for number in range(1, count + 1):
        if number % 10:
            speech = bark.generate(sentence(rng), seed=number, max_seconds=SECONDS, progress=False)
            speech.save(work / "speech.wav", force=True)
        else:
            stream = bark.stream(f"{sentence(rng)}. {sentence(rng)}.", max_seconds=SECONDS, progress=False)
            next(stream)
            stream.close()
        if number % max(count // 20, 1) == 0:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            handles, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
            seen.append((resident, handles, threads))
            print(f"{number:6} generations: {resident:8.1f} MiB, {handles} file handles, {threads} threads", flush=True)
    half = len(seen) // 2
    flat = all(max(late) <= 1.02 * max(early) for early, late in zip(zip(*seen[:half]), zip(*seen[half:])))
    print(f"generate: {count} generations, {'flat' if flat else 'NOT FLAT'}")
    return flat


# ---------------------------------------------------------------------------------------------
# Kills
# ---------------------------------------------------------------------------------------------


class Kills:
    """Start a command again and again, kill it at random moments, and count what came of it."""

    def __init__(self, name: str, command: list[str], began: Callable[[], bool], check: Callable[[], list[str]]):
        self.name, self.command, self.check, self.began = name, command, check, began
        self.counts: collections.Counter[str] = collections.Counter()
        self.longest = 0.0  # seconds of work: of the last job that ended by itself, or so far
        self.rng = random.Random(name)

    def once(self, *, left_alone: bool = False) -> bool:
        """Start the command; return whether it ended by itself. Every fifth kill may come before its work."""
        with tempfile.TemporaryFile() as shown, subprocess.Popen(self.command, stdout=shown, stderr=shown) as process:
            anywhere, started = self.rng.random() < 0.2, time.monotonic()
            while process.poll() is None and not (left_alone or anywhere or self.began()):
                time.sleep(0.005)
            worked = time.monotonic()
            span = self.longest + (worked - started if anywhere else 0)
            try:
                process.wait(None if left_alone else self.rng.uniform(0, span or 10))
            except subprocess.TimeoutExpired:
                self.counts["sent"] += 1
                process.send_signal(signal.SIGKILL)
                process.wait()
            took = time.monotonic() - worked
            self.longest = took if process.returncode == 0 else max(self.longest, took)
            shown.seek(0)
            last = shown.read().decode(errors="replace").splitlines()[-1:]
        if process.returncode not in (0, -signal.SIGKILL):
            self.counts["wrong"] += 1
            print(f"{self.name}: exit code {process.returncode}: {last}", flush=True)
        self.counts["landed"] += process.returncode == -signal.SIGKILL
        for wrong in self.check():
            self.counts["wrong"] += 1
            print(f"{self.name}: {wrong}", flush=True)
        return process.returncode == 0

    def job(self, patience: int = 12) -> None:
        """Kill one job until it ends by itself, or `patience` kills have landed; then leave it alone."""
        kills = 0
        while kills < patience and not self.once():
            kills += 1
        if kills == patience and not self.once(left_alone=True):
            self.counts["wrong"] += 1
        self.counts["jobs"] += 1

    def report(self, equal: int) -> bool:
        self.counts["equal"] += equal
        shown = ", ".join(f"{self.counts[key]} {key}" for key in ("sent", "landed", "jobs", "equal", "wrong"))
        print(f"{self.name}: kills and jobs: {shown}", flush=True)
        return self.counts["equal"] == self.counts["jobs"] and not self.counts["wrong"]


def different(ours: Path, theirs: Path, names: list[str], *, may_lack: bool) -> list[str]:
    """List files whose bytes are not those of another folder."""
    found = [name for name in names if not (may_lack and not (ours / name).exists())]
    return [
        f"{ours / name} differs"
        for name in found
        if not (ours / name).exists() or (ours / name).read_bytes() != (theirs / name).read_bytes()
    ]


def batch(count: int, work: Path) -> bool:
    """Kill a bulk job `count` times."""
    rng, whole, out = random.Random(0), work / "whole", work / "out"
    lines = [json.dumps({"text": sentence(rng), "seed": number, "id": f"line-{number}"}) for number in range(LINES)]
    (work / "lines.jsonl").write_text("\n".join(lines))
    command = [sys.executable, "-m", "bark_jax", "batch", str(work / "lines.jsonl"), "--no-progress"]
    command += ["--batch-size", str(ROWS), "--max-seconds", str(SECONDS), "-o"]
    subprocess.run([*command, str(whole)], check=True)
    wavs = [f"line-{number}.wav" for number in range(LINES)]
    kept = ("id", "line", "text", "samples", "seed", "settings")

    def records(folder: Path) -> list[list[object]]:
        return [
            [json.loads(line)[key] for key in kept] for line in (folder / "manifest.jsonl").read_text().splitlines()
        ]

    kills = Kills(
        "batch",
        [*command, str(out)],
        lambda: (out / ".lock").exists(),
        lambda: different(out, whole, wavs, may_lack=True),
    )
    equal = 0
    while kills.counts["landed"] < count:
        shutil.rmtree(out, ignore_errors=True)
        kills.job()
        as_they_should = sorted([*wavs, "job.json", "manifest.jsonl"])
        same = sorted(os.listdir(out)) == as_they_should and records(out) == records(whole)
        equal += same and not different(out, whole, wavs, may_lack=False)
        print(
            f"batch: {kills.counts['landed']} of {count} kills, {equal} of {kills.counts['jobs']} jobs equal",
            flush=True,
        )
    return kills.report(equal)


def recordings(folder: Path) -> None:
    """Let the embedded checkpoint speak what is trained on; write its recipe, without what Whisper teaches."""
    import bark_jax
    from bark_jax.train import recipe

    content = recipe.NANO.to_dict()
    content["units_training"]["source"], content["codec_training"]["heard_share"] = "cepstra", 0.0
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(content))

    bark, rng, lines = bark_jax.load(), random.Random(0), []
    (folder / "wavs").mkdir()
    for number in range(32):
        lines.append(f"{number}|{sentence(rng)}\n")
        speech = bark.generate(lines[-1].split("|")[1].strip(), seed=number, max_seconds=3, progress=False)
        speech.save(folder / "wavs" / f"{number}.wav")
    (folder / "metadata.csv").write_text("".join(lines))


def train(count: int, work: Path) -> bool:
    """Kill each part of training `count` times."""
    spoken, whole, run, good = work / "recordings", work / "whole", work / "run", True
    subprocess.run([sys.executable, __file__, "recordings", "--work", str(spoken)], check=True)

    def command(part: str, folder: Path) -> list[str]:
        steps = ["--steps", str(STEPS), "--batch", "4"] if part in ("codec", "semantic", "coarse", "fine") else []
        flags = ["train", part, "--data", str(spoken), "--config", str(spoken / "recipe.json"), "--cores", "1"]
        return [sys.executable, "-c", TRAIN.format(SAVES_S), *flags, *steps, "-o", str(folder)]

    for part, names in PARTS.items():
        before = work / f"before-{part}"
        if whole.exists():
            shutil.copytree(whole, before)
        subprocess.run(command(part, whole), check=True)

        def check(names: tuple[str, ...] = names) -> list[str]:
            return different(run, whole, [*names, "recipe.json"], may_lack=True)

        kills, equal = Kills(f"train {part}", command(part, run), lambda: (run / "recipe.json").exists(), check), 0
        while kills.counts["landed"] < count:
            shutil.rmtree(run, ignore_errors=True)
            if before.exists():
                shutil.copytree(before, run)
            kills.job()
            equal += not different(run, whole, list(names), may_lack=False)
        good &= kills.report(equal)
        shutil.rmtree(before, ignore_errors=True)
    return good


def main() -> int:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("what", choices=["generate", "batch", "train", "recordings"])
    top.add_argument("-n", "--count", type=int, help="generations (1,000), or kills: of batch (200), of each part (50)")
    top.add_argument("--work", type=Path, help="a folder for its files (a temporary one)")
    options = top.parse_args()
    if options.what == "recordings":
        recordings(options.work)
        return 0
    soak, usual = {"generate": (generate, 1000), "batch": (batch, 200), "train": (train, 50)}[options.what]
    with tempfile.TemporaryDirectory(prefix="bark-jax-soak-") as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        return 0 if soak(options.count or usual, work) else 1


if __name__ == "__main__":
    sys.exit(main())
