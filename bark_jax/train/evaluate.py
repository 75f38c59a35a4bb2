"""Judge a checkpoint: `python -m bark_jax.train.evaluate --help`.

Sentences that it was not trained on are read by the teacher, and by the checkpoint with one stage more at a time,
so that one sees where words, naturalness and the voice are lost:

    teacher              what the judges make of the recordings
    codec, 8 books       recording ─▶ codes ─▶ sound; and with the first 4 and 2 codebooks
    + fine               its first 2 codebooks ─▶ 8 ─▶ sound
    + coarse             its semantic tokens ─▶ 2 ─▶ 8 ─▶ sound, in the speaker's voice
    + semantic           its text ─▶ ... ─▶ sound, end to end, in the speaker's voice; and with 4 and 2 codebooks
    no voice             end to end, in whatever voice the seed brings
    en_speaker_0, ...    end to end, each voice with some of the sentences
    former               another checkpoint, end to end without a voice
    shuffled             the row without a voice against the texts of others: what chance gives

Without recordings the rows up to "+ coarse" are left out.
"""

import argparse
import dataclasses
import functools
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import bark_jax
from bark_jax import Bark
from bark_jax.console import path, run_command, table
from bark_jax.files import write_file
from bark_jax.text import fits
from bark_jax.train import data, judges, speakers, units

COUNT = 100  # sentences
READINGS = 2  # voices that read each sentence
AT_ONCE = 25  # texts in a batch

Sound = np.ndarray


@dataclasses.dataclass(frozen=True)
class Take:
    """Hold the sounds of one row of the table: what each says, and in whose voice ("" for nobody's)."""

    name: str
    texts: list[str]
    sounds: list[Sound]
    voices: list[str]
    clean: list[Sound] | None = None  # recordings that they are to equal, sample by sample


@dataclasses.dataclass(frozen=True)
class Row:
    """Hold the judgement of a take."""

    name: str
    sentences: int
    wrong: float | None = None  # share of the words
    mos: float | None = None
    named: float | None = None  # share of the sounds whose voice is recognised
    stoi: float | None = None
    mel: float | None = None  # mean difference of log-mels from the recordings


@dataclasses.dataclass(frozen=True)
class Spoken:
    """Hold recordings of texts, and who speaks."""

    texts: list[str]
    sounds: list[Sound]
    speakers: list[str]

    def some(self, chosen: Sequence[int]) -> "Spoken":
        """Select recordings by their numbers."""
        texts, sounds, speakers = self.texts, self.sounds, self.speakers
        return Spoken([texts[i] for i in chosen], [sounds[i] for i in chosen], [speakers[i] for i in chosen])


def read_recordings(folder: Path, sample_rate: int) -> Spoken:
    """Read recordings in LJSpeech's layout, or prepared ones. Raises ValueError for a folder of neither kind."""
    if (folder / data.RECORDINGS).is_file():
        prepared = data.Recordings.open(folder)
        if prepared.sample_rate != sample_rate:
            raise ValueError(
                f"{folder} is at {prepared.sample_rate} Hz, the checkpoint at {sample_rate}: prepare it anew"
            )
        return Spoken(prepared.texts, [prepared[i] for i in range(len(prepared))], prepared.speakers)
    entries = data.read_metadata(folder)
    sounds = [
        data.load(folder / "wavs" / f"{each.name}.wav", sample_rate) / np.float32(data.FULL_SCALE) for each in entries
    ]
    return Spoken([each.text for each in entries], sounds, [each.speaker for each in entries])


# ---------------------------------------------------------------------------------------------
# What is judged
# ---------------------------------------------------------------------------------------------


def at_once(run: Any, rows: Sequence[Any], name: str, **options: Sequence[Any]) -> list[Any]:
    """Run a stage on batches of rows; `options` have an entry for each row."""
    made = []
    for first in tqdm(range(0, len(rows), AT_ONCE), name, unit="batch"):
        part = slice(first, first + AT_ONCE)
        made += run(list(rows[part]), **{key: list(values[part]) for key, values in options.items()})
    return made


def speak(bark: Bark, name: str, texts: Sequence[str], voices: Sequence[str], seed: int) -> tuple[Take, list[Any]]:
    """Speak texts end to end, each in its voice; return the take and the speeches."""

    def generate(texts: list[str], **options: Any) -> list[Any]:
        return bark.generate(texts, progress=False, **options)

    seeds = [seed + i for i in range(len(texts))]
    speeches = at_once(generate, texts, name, seed=seeds, voice=[voice or None for voice in voices])
    return Take(name, list(texts), [speech.samples for speech in speeches], list(voices)), speeches


def stages(bark: Bark, spoken: Spoken, seed: int) -> tuple[list[Take], list[Any]]:
    """Read recordings again with one stage more at a time; return a take of each, and the speeches of the last."""
    known = set(names(bark))
    voices = [speaker if speaker in known else "" for speaker in spoken.speakers]
    seeds = [seed + i for i in range(len(voices))]
    own = {"seed": seeds, "voice": [voice or None for voice in voices]}
    codes = [
        row for first in range(0, len(voices), AT_ONCE) for row in bark.encode(spoken.sounds[first : first + AT_ONCE])
    ]
    q = bark.tokens.n_coarse_codebooks

    def take(name: str, rows: list[Any], *, aligned: bool = True) -> Take:
        return Take(
            name, spoken.texts, at_once(bark.decode, rows, name), spoken.speakers, spoken.sounds if aligned else None
        )

    takes = [Take("teacher", spoken.texts, spoken.sounds, spoken.speakers)]
    takes += [take(f"codec, {n} books", [row[:n] for row in codes]) for n in (8, 4, q)]
    takes.append(take("+ fine", at_once(bark.coarse_to_fine, [row[:q] for row in codes], "+ fine", **own)))
    assert bark.voices is not None  # every checkpoint in a folder has a library
    try:
        encoder = units.load(bark.voices.folder, bark.tokens.semantic_rate_hz)
    except ValueError as error:  # checkpoints of before have none: their row is left out, and it is said
        print(f"+ coarse: {error}", flush=True)
    else:
        found = at_once(functools.partial(encoder.encode_all, sample_rate=bark.sample_rate), spoken.sounds, "units")
        coarse = at_once(bark.semantic_to_coarse, found, "+ coarse", **own)
        takes.append(take("+ coarse", at_once(bark.coarse_to_fine, coarse, "+ coarse", **own), aligned=False))
    whole, speeches = speak(bark, "+ semantic", spoken.texts, voices, seed)
    takes.append(dataclasses.replace(whole, voices=spoken.speakers))
    for n in (4, q):
        takes.append(take(f"+ semantic, {n} books", [speech.fine[:n] for speech in speeches], aligned=False))
    return takes, speeches


def names(bark: Bark) -> list[str]:
    return [] if bark.voices is None else bark.voices.names()


def enrol(bark: Bark, spoken: Spoken | None) -> dict[str, np.ndarray]:
    """Embed known sounds of each voice of a checkpoint: the recordings of its speaker, or else the voice itself."""
    assert bark.voices is not None
    known = {}
    for voice in names(bark):
        own = [] if spoken is None else [x for x, who in zip(spoken.sounds, spoken.speakers) if who == voice]
        known[voice] = speakers.embed(own or [bark.decode(bark.voices.load(voice, bark.tokens).fine)], bark.sample_rate)
    return known


# ---------------------------------------------------------------------------------------------
# The judgement
# ---------------------------------------------------------------------------------------------


def judge(take: Take, rate: int, use: Sequence[str], known: dict[str, np.ndarray]) -> tuple[Row, dict[str, Any]]:
    """Judge a take; return its row, and what was found of each sound.

    Args:
        known: the embeddings of voices; where the take has others too, or nobody's, no voice is named.
    """
    found: dict[str, Any] = {"texts": take.texts, "voices": take.voices}
    wrong = mos = named = None
    if "whisper" in use:
        found["heard"] = judges.whisper(take.sounds, rate)
        wrong = judges.compare(take.texts, found["heard"]).error_rate
    if "distillmos" in use:
        found["mos"] = judges.distillmos(take.sounds, rate)
        mos = float(np.mean(found["mos"]))
    if "speakers" in use and len(known) > 1 and set(take.voices) <= known.keys():
        own = take.voices if take.name == "teacher" else ()
        found["named"] = speakers.name(speakers.embed(take.sounds, rate), known, own=own)
        named = float(np.mean([a == b for a, b in zip(found["named"], take.voices, strict=True)]))
    pairs = [] if take.clean is None else [(x, y[: len(x)]) for x, y in zip(take.clean, take.sounds, strict=True)]
    distances = {
        "stoi": float(np.mean([judges.stoi(x, y, rate) for x, y in pairs])) if pairs else None,
        "mel": float(np.mean([judges.mel_distance(x, y, rate) for x, y in pairs])) if pairs else None,
    }
    return Row(take.name, len(take.sounds), wrong, mos, named, **distances), found


def evaluate(
    bark: Bark,
    *,
    recordings: Path | None = None,
    former: Bark | None = None,
    count: int = COUNT,
    readings: int = READINGS,
    seed: int = 0,
    use: Sequence[str] = tuple(judges.JUDGES),
) -> dict[str, Any]:
    """Judge a checkpoint; return the rows, the share of ends reached, and what was found of each sound.

    Args:
        recordings: of the judged sentences, or others, by the speakers after whom the voices are named; LJSpeech's
            layout or prepared. None: the checkpoint alone reads the judged sentences.
        former: another checkpoint, to be compared with.
        count: the most sentences.
        readings: how many of the voices read each sentence.
        use: which of `judges.JUDGES`.

    Raises:
        ValueError: a judge is neither known nor installed, or no text fits the checkpoint.
    """
    judges.check(use)
    rate, spoken, takes, speeches = bark.sample_rate, None, [], []
    texts = judges.judged_texts()
    if recordings is not None:
        spoken = read_recordings(recordings, rate)
        fitting = [i for i, text in enumerate(spoken.texts) if fits(text, bark.tokenizer, bark.tokens)]
        if not fitting:
            limit = bark.tokens.max_input_semantic_length
            raise ValueError(f"{recordings} has no text of {limit} tokens or fewer: judge shorter sentences")
        spoken = spoken.some(fitting[:count])
        texts = list(dict.fromkeys(spoken.texts))
    texts = [text for text in texts if fits(text, bark.tokenizer, bark.tokens)][:count]
    if spoken is not None:
        takes, speeches = stages(bark, spoken, seed)
    alone, made = speak(bark, "no voice", texts, [""] * len(texts), seed)
    speeches, takes = speeches + made, [*takes, alone]
    for n, voice in enumerate(names(bark)):
        own = [text for i, text in enumerate(texts) if (i - n) % len(names(bark)) < readings]
        if own:
            take, made = speak(bark, voice, own, [voice] * len(own), seed + 1000 * (n + 1))
            speeches, takes = speeches + made, [*takes, take]
    if former is not None:
        fitting = [text for text in texts if fits(text, former.tokenizer, former.tokens)]
        takes.append(speak(former, "former", fitting, [""] * len(fitting), seed)[0])

    known = enrol(bark, spoken) if "speakers" in use else {}
    rows, found = [], {}
    for take in tqdm(takes, "judges", unit="row"):
        row, found[take.name] = judge(take, rate, use, known)
        rows.append(row)
    rows += averages(bark, rows, found)
    if "whisper" in use:
        others = texts.copy()
        random.Random(0).shuffle(others)
        rows.append(Row("shuffled", len(others), judges.compare(others, found["no voice"]["heard"]).error_rate))
    most = bark.tokens.max_new_tokens
    return {
        "sentences": len(texts),
        "words": sum(len(judges.words(text)) for text in texts),
        "speeches": len(speeches),
        "ended": float(np.mean([len(speech.semantic) < most for speech in speeches])),
        "rows": [dataclasses.asdict(row) for row in rows],
        "found": found,
    }


def averages(bark: Bark, rows: Sequence[Row], found: dict[str, Any]) -> list[Row]:
    """Average over the sentences of all voices."""
    own = [row for row in rows if row.name in names(bark)]
    if not own:
        return []

    def mean(values: list[float | None]) -> float | None:
        known = [(value, row.sentences) for value, row in zip(values, own, strict=True) if value is not None]
        return sum(value * n for value, n in known) / sum(n for _, n in known) if known else None

    whole = sum(row.sentences for row in own)
    return [
        Row("all voices", whole, mean([r.wrong for r in own]), mean([r.mos for r in own]), mean([r.named for r in own]))
    ]


def report(found: dict[str, Any]) -> list[str]:
    """Lay out what `evaluate` found."""

    def percent(x: float | None) -> str | None:
        return None if x is None else f"{100 * x:.1f}"

    def number(x: float | None) -> str | None:
        return None if x is None else f"{x:.2f}"

    rows = [
        (r["name"], r["sentences"], percent(r["wrong"]), number(r["mos"]), percent(r["named"]), r["stoi"], r["mel"])
        for r in found["rows"]
    ]
    headers = ("sentences", "% words wrong", "DistillMOS", "% voice named", "STOI", "mel distance")
    return [
        f"{found['sentences']} sentences never trained on, {found['words']} words:",
        *table("", *headers, rows=rows),
        f"ended by itself: {100 * found['ended']:.1f}% of {found['speeches']}",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    top = argparse.ArgumentParser(prog="python -m bark_jax.train.evaluate", description=(__doc__ or "").split("\n")[0])
    top.add_argument("--checkpoint", metavar="FOLDER", help="default: the embedded one")
    top.add_argument("--former", metavar="FOLDER", help="another checkpoint to compare with")
    top.add_argument(
        "--data", type=path, metavar="FOLDER", help="recordings of sentences by the speakers of the voices"
    )
    top.add_argument("--count", type=int, default=COUNT, metavar="N", help=f"the most sentences (default {COUNT})")
    top.add_argument(
        "--readings",
        type=int,
        default=READINGS,
        metavar="N",
        help=f"voices that read each sentence (default {READINGS})",
    )
    top.add_argument("--seed", type=int, default=0, help="random seed of generation (default 0)")
    top.add_argument(
        "--judges",
        default=",".join(judges.JUDGES),
        type=lambda names: [name.strip() for name in names.split(",")],
        help=f"which judges (default {','.join(judges.JUDGES)})",
    )
    top.add_argument("--json", type=path, metavar="FILE", help="write all that was found")
    top.set_defaults(run=run)
    return run_command(top.parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    for name in ("count", "readings"):
        if (number := getattr(options, name)) < 1:
            raise ValueError(f"{name} is {number}: choose 1 or more")
    bark = bark_jax.load(options.checkpoint)
    former = None if options.former is None else bark_jax.load(options.former)
    found = evaluate(
        bark,
        recordings=options.data,
        former=former,
        count=options.count,
        readings=options.readings,
        seed=options.seed,
        use=options.judges,
    )
    print(*report(found), sep="\n")
    if options.json:
        write_file(options.json, (json.dumps(found, indent=1) + "\n").encode(), force=True, parents=True)


if __name__ == "__main__":
    sys.exit(main())
