"""Make the checkpoint that comes with the package, from nothing: `python -m bark_jax.train.nano -o WORK`.

    texts ─▶ teacher ─▶ WORK/recordings ─▶ all parts of a run ─▶ voices ─▶ judgement ─▶ model card ─▶ CHECKPOINT

What is done is not done again: after Ctrl-C or a crash the same command goes on. A folder whose parts were trained
elsewhere, on a GPU for instance, is finished in the same way; the teacher's training recordings are not needed then.
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
from bark_jax.console import path, run_command
from bark_jax.files import write_file
from bark_jax.train import data, evaluate, judges, kokoro, loop, phones, recipe, teacher, texts
from bark_jax.train.phones import Inventory
from bark_jax.train.run import PARTS, PREPARED, Run
from bark_jax.voices import DESCRIPTIONS, LISTING, Voice

VOICES = tuple(kokoro.SPEAKERS)[:8]
RECORDED = 3_000  # of the texts, the first ones: of the others the semantic stage learns the phones
SAMPLE = "Hello, my name is bark."
# What the teacher reads to be continued as a voice; the last two seconds of it count most.
VOICE_TEXT = "The rainbow is a division of white light into many beautiful colors."
TEMPERATURES = {"semantic_temperature": 0.5, "coarse_temperature": 0.5, "fine_temperature": 0.3}

CARD = """---
license: mit
language: en
pipeline_tag: text-to-speech
---

# Nano: a small Bark that speaks

Four networks of {parameters:.1f} million parameters in Bark's layout, trained by `bark_jax.train` to speak English
in {speakers} voices; and an encoder of semantic units, so that any recording becomes a voice. **All voices are
synthetic**: they are those of the teacher, Kokoro-82M. It lets you try the package, and learn how it works,
without a download. Do not expect the quality of `suno/bark`.

- **Use**: `bark_jax.load("assets/nano")`, or `transformers.BarkModel.from_pretrained` on this folder.
- **Text**: letters, digits, `, . ? !`; up to {letters} letters at once.
- **Data**: {recordings:,} sentences ({hours:.1f} hours) read by the teacher, and the phones of {others:,} more for the
  semantic stage: examples of WordNet, everyday words in patterns and in any order (`bark_jax/train/texts.py`).
- **Recipe**: `NANO` in `bark_jax/train/recipe.py`; `make nano` makes it again.

## Voices

Each continues one recording of the teacher, of a sentence that was not trained on. A recording holds pitch, timbre and
accent as they are; a generation would hold what the model makes of them. Or use your own: `bark.voice("me.wav")`.

| name | voice |
|---|---|
{voices}

## Training

| network | parameters | steps | minutes | last losses |
|---|---|---|---|---|
{training}

On {machine}. {differences}

## Judgement

`python -m bark_jax.train.evaluate --checkpoint assets/nano`, with the teacher's recordings of the same sentences
(`--data`):

```
{judgement}
```

The sentences are `bark_jax/train/judged.txt`, written for this and never trained on. Words are judged by Whisper
tiny.en, naturalness by DistillMOS (1 to 5), the voice by Resemblyzer's encoder. `shuffled` is what chance gives.

## Where the voices come from, and licences

The weights are under the MIT licence of this project. They were trained on the output of other models:

{notice}
Of the synthetic part of Kokoro's own training audio it is not known which closed models made it, nor under which
terms. Apache 2.0 and MIT allow any use of the teacher and its output. The notices of both stand in `NOTICE`.

The texts are usage examples of WordNet 3.0 (copyright 2006 by Princeton University), whose licence allows use, copying,
modification and distribution for any purpose without fee, provided that its notice appears: it stands in `NOTICE` too.
The codec's loss listens with the encoder of OpenAI's Whisper tiny.en (MIT).
"""


def make(
    work: Path,
    output: Path,
    *,
    machine: str,
    begin: Path | None = None,
    former: Path | None = None,
    differences: str | None = None,
) -> None:
    """Make the checkpoint in `work`, then copy it to `output`.

    Args:
        begin: a checkpoint of the same recipe, to train further by `NANO_MORE`; None: from nothing, by `NANO`.
        former: another checkpoint, judged beside it.
        machine: what the model card says it was trained on.
        differences: how the weights differ from what the recipe makes, for the card.

    Raises:
        ValueError: the teacher, its texts or a judge is not installed.
    """
    judges.check(tuple(judges.JUDGES))
    run = trained(work, begin)
    checkpoint = work / "checkpoint"
    if differences is None:
        differences = "The weights come from the recipe in one piece."
        if begin is not None:
            differences += f" It is `NANO_MORE`, and began with `{begin}`: the card of that one says how it was made."
    run.checkpoint(checkpoint, generation=TEMPERATURES)
    teacher.record([(VOICE_TEXT, voice) for voice in VOICES], work / "voices")
    save_voices(bark_jax.load(checkpoint), work / "voices", checkpoint, run.inventory if run.phones else None)
    save_sample(bark_jax.load(checkpoint), checkpoint)
    lines = [(text, VOICES[i % len(VOICES)]) for i, text in enumerate(judges.judged_texts())]
    teacher.record(lines, work / "judged")
    other = bark_jax.load(former) if former is not None else None
    found = evaluate.evaluate(bark_jax.load(checkpoint), recordings=work / "judged", former=other)
    write_file(work / "judgement.json", json.dumps(found, indent=1).encode() + b"\n", force=True)
    save_logs(run, found, checkpoint)
    write_file(checkpoint / "README.md", card(run, found, machine, differences).encode(), force=True)
    write_file(checkpoint / "NOTICE", kokoro.NOTICE.encode(), force=True)
    shutil.copytree(checkpoint, output, dirs_exist_ok=True)
    print(*evaluate.report(found), f"{output}: written", sep="\n")


def trained(work: Path, begin: Path | None) -> Run:
    """Make the recordings and train all parts of a run that are not there yet."""
    how = recipe.NANO if begin is None else recipe.NANO_MORE
    if (work / PREPARED / data.RECORDINGS).is_file():
        run = Run(work, how, begin=begin)
    else:
        readable = teacher.can_read()
        training = texts.training_texts(without=judges.judged_texts(), readable=readable)
        lines = texts.training_lines(training, tuple(kokoro.SPEAKERS))
        teacher.record(lines, work / "recordings", recorded=RECORDED)
        run = Run(work, how, work / "recordings", begin=begin)
    for part in PARTS:
        getattr(run, part)()
    return run


def save_voices(bark: Bark, recordings: Path, folder: Path, inventory: Inventory | None) -> None:
    """Make a voice of each recording of a speaker, in Hugging Face's layout, and describe it in a line.

    Args:
        inventory: names the semantic tokens by the phones of the recordings. Without it, and where a phone was never
            trained on, the encoder of units hears them.
    """
    listing: dict[str, Any] = {"repo_or_path": "."}
    descriptions = {}
    for entry in data.read_metadata(recordings):
        path, name = recordings / "wavs" / f"{entry.name}.wav", entry.speaker
        said = recordings / phones.FOLDER / f"{entry.name}.json"
        spoken = phones.parse(data.read_json(said), said)
        if inventory is not None and inventory.names_all(spoken):
            codes = bark.encode(path)
            coarse = codes[: bark.tokens.n_coarse_codebooks]
            voice = Voice.from_arrays(inventory.units(spoken), coarse, codes, bark.tokens)
        else:
            voice = bark.voice(path)
        listing[name] = {}
        for prompt, array in voice.to_dict().items():
            file = Path("speaker_embeddings", f"{name}_{prompt}.npy")
            (folder / file.parent).mkdir(exist_ok=True)
            data.write_npy(folder / file, [array], np.int32)
            listing[name][prompt] = str(file)
        pace = len(entry.text) * bark.tokens.semantic_rate_hz / len(voice.semantic)
        descriptions[name] = f"{kokoro.SPEAKERS[name].description}, {pace:.0f} letters a second"
    for file, content in ((LISTING, listing), (DESCRIPTIONS, descriptions)):
        write_file(folder / file, json.dumps(content, indent=2).encode() + b"\n", force=True)


def save_sample(bark: Bark, folder: Path) -> None:
    """Speak a sentence, and draw its waveform and mel spectrogram: what a visitor meets first."""
    from bark_jax import notebook

    speech = bark.generate(SAMPLE, voice=VOICES[0], seed=0, progress=False)
    speech.save(folder / "sample.wav", force=True)
    figure = notebook.sound_figure({SAMPLE: speech.samples}, speech.sample_rate)
    write_file(folder / "sample.png", notebook.png(figure), force=True)


def save_logs(run: Run, found: dict[str, Any], folder: Path) -> None:
    """Keep the losses of each part, and the judgement, for pictures of them."""
    kept: dict[str, Any] = {}
    for part in PARTS:
        entries = loop.read_log(run.folder / part / "log.jsonl")
        names = [name for name in (entries or [{}])[0] if name != "seconds"]
        kept[part] = {name: [float(f"{entry[name]:.4g}") for entry in entries if name in entry] for name in names}
    kept["judgement"] = {name: found[name] for name in ("sentences", "words", "speeches", "ended", "rows")}
    write_file(folder / "training.json", json.dumps(kept).encode() + b"\n", force=True)


def card(run: Run, found: dict[str, Any], machine: str, differences: str) -> str:
    """Write the model card."""
    rows, total = [], 0
    for part in PARTS:
        size, entries = parameters(getattr(run, part)()), loop.read_log(run.folder / part / "log.jsonl")
        total += size * (part != "units")  # the encoder of units is none of the four networks
        row = f"| {part} | {size / 1e6:.2f} M "
        if entries:
            last = entries[-1]
            shown = ", ".join(f"{key} {value:.3g}" for key, value in last.items() if key not in ("step", "seconds"))
            row += f"| {last['step']:,.0f} | {last['seconds'] / 60:.1f} | {shown} |"
        else:
            row += "| | | |"
        rows.append(row)
    prepared = run.recordings
    descriptions = json.loads((run.folder / "checkpoint" / DESCRIPTIONS).read_text(encoding="utf-8"))
    return CARD.format(
        parameters=total / 1e6,
        speakers=len(set(prepared.speakers)),
        letters=run.recipe.tokens.max_input_semantic_length,
        recordings=len(prepared),
        others=max(0, len(run.phones) - len(prepared)),
        hours=prepared.lengths.sum() / prepared.sample_rate / 3600,
        voices="\n".join(f"| `{name}` | {description} |" for name, description in descriptions.items()),
        training="\n".join(rows),
        machine=machine,
        differences=differences,
        judgement="\n".join(evaluate.report(found)),
        notice="\n".join(f"> {line}" for line in kokoro.NOTICE.splitlines()) + "\n",
    )


def parameters(network: Any) -> int:
    import jax
    from flax import nnx

    return sum(x.size for x in jax.tree.leaves(nnx.state(network)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    top = argparse.ArgumentParser(prog="python -m bark_jax.train.nano", description=(__doc__ or "").split("\n")[0])
    top.add_argument(
        "-o", "--output", type=path, required=True, metavar="WORK", help="where all parts are made and kept"
    )
    top.add_argument("--to", type=path, required=True, metavar="FOLDER", help="where the checkpoint goes in the end")
    top.add_argument(
        "--machine", default=f"{os.cpu_count()} CPU cores", help="what the model card says it was trained on"
    )
    top.add_argument("--begin", type=path, metavar="FOLDER", help="train this checkpoint further, such as assets/nano")
    top.add_argument("--former", type=path, metavar="FOLDER", help="another checkpoint, to be judged beside it")
    top.set_defaults(run=run)
    return run_command(top.parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    loop.use_all_cores(os.cpu_count() or 1)
    make(options.output, options.to, machine=options.machine, begin=options.begin, former=options.former)


if __name__ == "__main__":
    sys.exit(main())
