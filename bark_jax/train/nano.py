"""Make the checkpoint that comes with the package, from nothing: `python -m bark_jax.train.nano -o WORK`.

    sentences ─▶ teacher ─▶ WORK/recordings ─▶ all parts of a run ─▶ voices ─▶ judgement ─▶ model card ─▶ CHECKPOINT

What is done is not done again: after Ctrl-C or a crash the same command goes on.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bark_jax
from bark_jax import Bark
from bark_jax.console import run_command
from bark_jax.files import write_file
from bark_jax.train import evaluate, judges, loop, recipe, teacher, texts
from bark_jax.train.data import write_npy
from bark_jax.train.run import PARTS, Run
from bark_jax.voices import LISTING, Voice

VOICES = {"en_speaker_0": ("My name is bark and i can speak.", 0), "en_speaker_1": ("Welcome to the big old house.", 1)}
SAMPLE = "Hello, my name is bark."
TEMPERATURES = {"semantic_temperature": 0.4, "coarse_temperature": 0.3, "fine_temperature": 0.3}

CARD = """---
license: mit
language: en
pipeline_tag: text-to-speech
---

# Nano: a small Bark that speaks

Four networks of {parameters:.1f} million parameters in Bark's layout, trained by `bark_jax.train` to speak English
in one voice. **The voice is synthetic**: it is that of the teacher, a synthesiser. It is here to be learnt from, and
to try the package without a download; it is no match for `suno/bark`.

- **Use**: `bark_jax.load("assets/nano")`, or `transformers.BarkModel.from_pretrained` on this folder.
- **Text**: letters, digits, `, . ? !`; up to {letters} letters at once. Of other characters a warning tells.
- **Data**: {recordings:,} sentences ({hours:.1f} hours), made by `bark_jax/train/teacher.py`: examples of WordNet, and
  {everyday} everyday words in patterns and in any order, read by Kokoro-82M.
- **Recipe**: `NANO` in `bark_jax/train/recipe.py`; `make nano` makes it again.
- **Voices**: {voices}, made from its own generations. All sound like the teacher; they
  set pace and melody.

## Training

| network | parameters | steps | minutes | last losses |
|---|---|---|---|---|
{training}

On {machine}.

## Judgement

`python -m bark_jax.train.evaluate --checkpoint assets/nano`:

```
{judgement}
```

pocketsphinx hears with a loop of {words} words in any order, the everyday ones in all their
forms; Whisper (tiny.en) hears the sentences that make sense. `shuffled` is what chance gives.

## Licences

The weights are under the MIT licence of this project. {notice}
"""


def make(work: Path, output: Path, *, machine: str) -> None:
    """Make the checkpoint in `work`, then copy it to `output`.

    Args:
        machine: what to say in the model card about where it was trained.

    Raises:
        ValueError: the teacher, WordNet or a judge is not installed.
    """
    judges.check(tuple(judges.JUDGES))
    readable = texts.training_texts(readable=teacher.can_read())
    teacher.record(texts.training_lines(readable, list(teacher.SPEAKERS)), work / "recordings")
    run = Run(work, recipe.NANO, work / "recordings")
    for part in PARTS:
        getattr(run, part)()
    checkpoint = work / "checkpoint"
    run.checkpoint(checkpoint, generation=TEMPERATURES)
    save_voices(bark_jax.load(checkpoint), checkpoint)
    save_sample(bark_jax.load(checkpoint), checkpoint)
    found = evaluate.evaluate(bark_jax.load(checkpoint))
    write_file(work / "judgement.json", json.dumps(found, indent=1).encode() + b"\n", force=True)
    save_logs(run, found, checkpoint)
    write_file(checkpoint / "README.md", card(run, found, machine).encode(), force=True)
    shutil.copytree(checkpoint, output, dirs_exist_ok=True)
    print(*evaluate.report(found), f"{output}: written", sep="\n")


def save_voices(bark: Bark, folder: Path) -> None:
    """Speak each of the voices' sentences and keep its tokens, in Hugging Face's layout."""
    listing: dict[str, Any] = {"repo_or_path": "."}
    for name, (text, seed) in VOICES.items():
        voice: Voice = bark.generate(text, seed=seed, progress=False).voice()
        listing[name] = {}
        for prompt, array in voice.to_dict().items():
            path = Path("speaker_embeddings", f"{name}_{prompt}.npy")
            (folder / path.parent).mkdir(exist_ok=True)
            write_npy(folder / path, [array], np.int32)
            listing[name][prompt] = str(path)
    write_file(folder / LISTING, json.dumps(listing, indent=2).encode() + b"\n", force=True)


def save_sample(bark: Bark, folder: Path) -> None:
    """Speak a sentence, and draw its waveform and mel spectrogram: what a visitor meets first."""
    from bark_jax import notebook

    speech = bark.generate(SAMPLE, seed=0, progress=False)
    speech.save(folder / "sample.wav", force=True)
    figure = notebook.sound_figure({SAMPLE: speech.samples}, speech.sample_rate)
    write_file(folder / "sample.png", notebook.png(figure), force=True)


def save_logs(run: Run, found: dict[str, Any], folder: Path) -> None:
    """Keep what each part's losses were, and the judgement, for pictures of them."""
    kept: dict[str, Any] = {}
    for part in PARTS[1:]:
        entries = loop.read_log(run.folder / part / "log.jsonl")
        names = [name for name in entries[0] if name != "seconds"]
        kept[part] = {name: [float(f"{entry[name]:.4g}") for entry in entries] for name in names}
    kept["judgement"] = {name: found[name] for name in ("sentences", "words", "ended", "rows")}
    write_file(folder / "training.json", json.dumps(kept).encode() + b"\n", force=True)


def card(run: Run, found: dict[str, Any], machine: str) -> str:
    """Write the model card."""
    networks = {"codec": run.codec(), "semantic": run.semantic(), "coarse": run.coarse(), "fine": run.fine()}
    rows, total = [], 0
    for name, network in networks.items():
        size = parameters(network)
        total += size
        log = loop.read_log(run.folder / name / "log.jsonl")[-1]
        shown = ", ".join(f"{key} {value:.3g}" for key, value in log.items() if key not in ("step", "seconds"))
        rows.append(f"| {name} | {size / 1e6:.2f} M | {log['step']:,} | {log['seconds'] / 60:.0f} | {shown} |")
    prepared = run.recordings
    return CARD.format(
        parameters=total / 1e6,
        letters=run.recipe.tokens.max_input_semantic_length,
        recordings=len(prepared),
        hours=prepared.lengths.sum() / prepared.sample_rate / 3600,
        everyday=len(texts.EVERYDAY),
        notice=teacher.NOTICE,
        voices=" and ".join(f"`{name}`" for name in VOICES),
        training="\n".join(rows),
        machine=machine,
        judgement="\n".join(evaluate.report(found)),
        words=found["vocabulary"],
    )


def parameters(network: Any) -> int:
    import jax
    from flax import nnx

    return sum(x.size for x in jax.tree.leaves(nnx.state(network)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    top = argparse.ArgumentParser(prog="python -m bark_jax.train.nano", description=(__doc__ or "").split("\n")[0])
    top.add_argument(
        "-o", "--output", type=Path, required=True, metavar="WORK", help="where all parts are made and kept"
    )
    top.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where the checkpoint goes at last")
    top.add_argument(
        "--machine", default=f"{os.cpu_count()} CPU cores", help="what the model card says it was trained on"
    )
    top.set_defaults(run=run)
    return run_command(top.parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    loop.use_all_cores(os.cpu_count() or 1)
    make(options.output, options.to, machine=options.machine)


if __name__ == "__main__":
    sys.exit(main())
