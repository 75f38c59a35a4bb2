"""Judge a checkpoint by what recognisers hear: `python -m bark_jax.train.evaluate --help`.

Sentences that it was not trained on are read by the teacher, and by the checkpoint with one stage more at a
time, so that one sees where words are lost:

    recordings                                          what the judges make of the teacher
    codec                recording ─▶ codes ─▶ sound    with 8 codebooks, and with the first 2
    + fine               its first 2 codebooks ─▶ 8 ─▶ sound
    + coarse             its units ─▶ 2 ─▶ 8 ─▶ sound
    + semantic           its text ─▶ units ─▶ 2 ─▶ 8 ─▶ sound, end to end
    shuffled             the last against the texts of others: what chance gives
"""

import argparse
import dataclasses
import json
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import bark_jax
from bark_jax import Bark
from bark_jax.console import run_command, table
from bark_jax.files import write_file
from bark_jax.text import fits
from bark_jax.train import judges, teacher, units
from bark_jax.train.data import FULL_SCALE, load, read_metadata
from bark_jax.train.texts import TRAINING_COUNT, TRAINING_SEED, everyday_candidates, everyday_texts, sentences

COUNT, SEED = 120, 99  # sentences, and where they come from
AT_ONCE = 24  # texts in a batch
FEWEST_WORDS = 4


@dataclasses.dataclass(frozen=True)
class Row:
    """Hold the judgement of one way to make sound: shares of words wrong, and distances from the recordings."""

    name: str
    pocketsphinx: float | None
    whisper: float | None  # of the sentences that make sense
    stoi: float | None = None
    mel: float | None = None  # mean difference of log-mels


def unseen_texts(count: int, seed: int) -> list[str]:
    """Make sentences of everyday words that are not trained on."""
    made = sentences(4 * count, seed, without=everyday_candidates(TRAINING_COUNT, TRAINING_SEED))
    return [text for text in made if len(text.split()) >= FEWEST_WORDS][:count]


def sounds(bark: Bark, texts: Sequence[str], recordings: list[np.ndarray], seed: int) -> tuple[dict[str, Any], float]:
    """Make the sound of each row; return them, and the share of texts whose end was reached.

    Raises:
        ValueError: the checkpoint has no semantic units.
    """
    tokens, rate = bark.tokens, bark.sample_rate
    assert bark.voices is not None  # every checkpoint in a folder has a library
    true_units = units.load(bark.voices.folder, tokens.semantic_rate_hz).encode_all(recordings, rate)
    true_codes = bark.encode(recordings)
    seeds = [seed + i for i in range(len(texts))]

    def at_once(run: Callable[..., list[Any]], rows: Sequence[Any], name: str) -> list[Any]:
        made = []
        for first in tqdm(range(0, len(rows), AT_ONCE), name, unit="batch"):
            part = slice(first, first + AT_ONCE)
            made += run(list(rows[part]), seed=seeds[part])
        return made

    q = tokens.n_coarse_codebooks
    fine = at_once(bark.coarse_to_fine, [codes[:q] for codes in true_codes], "fine")
    coarse = at_once(bark.semantic_to_coarse, true_units, "coarse")
    speeches = at_once(lambda texts, seed: bark.generate(texts, seed=seed, progress=False), texts, "text")
    ended = np.mean([len(speech.semantic) < tokens.max_new_tokens for speech in speeches])
    made = {
        "recordings": recordings,
        "codec": bark.decode(true_codes),
        f"codec, {q} codebooks": bark.decode([codes[:q] for codes in true_codes]),
        "+ fine": bark.decode(fine),
        "+ coarse": bark.decode(at_once(bark.coarse_to_fine, coarse, "fine")),
        "+ semantic": [speech.samples for speech in speeches],
    }
    return made, float(ended)


def judge(
    texts: Sequence[str], made: dict[str, list[np.ndarray]], rate: int, words: Sequence[str], sensible: Sequence[int]
) -> tuple[list[Row], dict[str, list[str]]]:
    """Let the judges hear every row; return what they find, and what they wrote down.

    Args:
        words: those that pocketsphinx knows; none: it is not asked.
        sensible: the numbers of the texts that Whisper hears; none: it is not asked.
    """
    rows, written = [], {}
    clean = made["recordings"]
    for name, sound in tqdm(made.items(), "judges", unit="row"):
        rate_of, heard = {}, {}
        if words:
            heard["pocketsphinx"] = judges.pocketsphinx(sound, rate, words)
            rate_of["pocketsphinx"] = judges.compare(texts, heard["pocketsphinx"]).error_rate
        if sensible:
            heard["whisper"] = judges.whisper([sound[i] for i in sensible], rate)
            rate_of["whisper"] = judges.compare([texts[i] for i in sensible], heard["whisper"]).error_rate
        aligned = name.startswith("codec") or name == "+ fine"
        pairs = [(x, y[: len(x)]) for x, y in zip(clean, sound, strict=True)] if aligned else []
        rows.append(
            Row(
                name,
                rate_of.get("pocketsphinx"),
                rate_of.get("whisper"),
                float(np.mean([judges.stoi(x, y, rate) for x, y in pairs])) if pairs else None,
                float(np.mean([judges.mel_distance(x, y, rate) for x, y in pairs])) if pairs else None,
            )
        )
        written |= {f"{name}, {judge}": lines for judge, lines in heard.items()}
    shuffled = {}
    for judge, all_texts in (("pocketsphinx", list(texts)), ("whisper", [texts[i] for i in sensible])):
        if f"{rows[-1].name}, {judge}" in written:
            others = all_texts.copy()
            random.Random(0).shuffle(others)
            shuffled[judge] = judges.compare(others, written[f"{rows[-1].name}, {judge}"]).error_rate
    rows.append(Row("shuffled", shuffled.get("pocketsphinx"), shuffled.get("whisper")))
    return rows, written


def evaluate(
    bark: Bark, *, count: int = COUNT, seed: int = 0, use: Sequence[str] = tuple(judges.JUDGES), data: Any = None
) -> dict[str, Any]:
    """Judge a checkpoint; return the rows, the share of ends reached, and what was heard.

    Args:
        use: which of `judges.JUDGES`.
        data: a folder of recordings in LJSpeech's layout, of which the first that fit are taken; None: the teacher
            reads sentences of its own.

    Raises:
        ValueError: the teacher is not installed, a judge is neither known nor installed, or no text fits the
            checkpoint.
    """
    judges.check(use)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(data or temporary)
        if data is None:
            speakers = list(teacher.SPEAKERS)
            lines = [(text, speakers[i % len(speakers)]) for i, text in enumerate(unseen_texts(count, SEED))]
            teacher.record(lines, folder)
        fitting = [entry for entry in read_metadata(folder) if fits(entry.text, bark.tokenizer, bark.tokens)]
        entries = fitting[:count]
        if not entries:
            raise ValueError(f"{folder} has no text of {bark.tokens.max_input_semantic_length} tokens or fewer")
        rate = bark.sample_rate
        recordings = [load(folder / "wavs" / f"{each.name}.wav", rate) / np.float32(FULL_SCALE) for each in entries]
    texts = [each.text for each in entries]
    words: list[str] = []
    if "pocketsphinx" in use:
        every_word = {word for text in [*texts, *everyday_texts()] for word in judges.words(text)}
        words = judges.known_words(sorted(every_word))
    # The teacher's texts begin with a capital where they make sense.
    sensible = [i for i, text in enumerate(texts) if data is not None or text[0].isupper()]
    made, ended = sounds(bark, texts, recordings, seed)
    rows, written = judge(texts, made, rate, words, sensible if "whisper" in use else [])
    return {
        "sentences": len(texts),
        "source": "never trained on" if data is None else f"of {data}",
        "vocabulary": len(words),
        "words": sum(len(judges.words(text)) for text in texts),
        "ended": ended,
        "rows": [dataclasses.asdict(row) for row in rows],
        "texts": texts,
        "heard": written,
    }


def report(found: dict[str, Any]) -> list[str]:
    """Lay out what `evaluate` found."""

    def percent(x: float | None) -> str | None:
        return None if x is None else f"{100 * x:.1f}"

    rows = [
        (row["name"], percent(row["pocketsphinx"]), percent(row["whisper"]), row["stoi"], row["mel"])
        for row in found["rows"]
    ]
    return [
        f"{found['sentences']} sentences, {found['words']} words, {found['source']}; % of words wrong:",
        *table("", "pocketsphinx", "whisper", "STOI", "mel distance", rows=rows),
        f"ended by itself: {100 * found['ended']:.1f}%",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    top = argparse.ArgumentParser(prog="python -m bark_jax.train.evaluate", description=(__doc__ or "").split("\n")[0])
    top.add_argument("--checkpoint", metavar="FOLDER", help="with semantic units (the embedded one)")
    top.add_argument("--data", type=Path, metavar="FOLDER", help="recordings to compare with (the teacher's own)")
    top.add_argument("--count", type=int, default=COUNT, metavar="N", help=f"of sentences ({COUNT})")
    top.add_argument("--seed", type=int, default=0, help="of generation (0)")
    top.add_argument(
        "--judges",
        default=",".join(judges.JUDGES),
        type=lambda names: [name.strip() for name in names.split(",")],
        help=f"which ({','.join(judges.JUDGES)})",
    )
    top.add_argument("--json", type=Path, metavar="FILE", help="write all that was found, and heard")
    top.set_defaults(run=run)
    return run_command(top.parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    if options.count < 1:
        raise ValueError(f"count is {options.count}: judge 1 sentence or more")
    bark = bark_jax.load(options.checkpoint)
    found = evaluate(bark, count=options.count, seed=options.seed, use=options.judges, data=options.data)
    print(*report(found), sep="\n")
    if options.json:
        write_file(options.json, (json.dumps(found, indent=1) + "\n").encode(), force=True, parents=True)


if __name__ == "__main__":
    sys.exit(main())
