"""Long form: a text of any length, sentence by sentence, in one voice.

    text ──sentences.py──▶ pieces ──speak, in batches──▶ a `Speech` each ──join──▶ one `Speech`

In:  the pieces of a text, and a function that speaks a batch of them.
Out: their speeches, in order: as soon as each is done, or joined to one.

Knows nothing of networks: `Bark.generate` is what it calls.
"""

import atexit
import dataclasses
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence

import numpy as np

from bark_jax.console import Progress, Report, sentence_bar
from bark_jax.speech import Speech
from bark_jax.voices import Voice

PAUSE_S = 0.25  # of silence between two sentences, as in Suno's notebook on long form
BATCH_SIZE = 8  # sentences at once, where nobody waits for the first

Speak = Callable[..., list[Speech]]  # (texts, *, voice, seed, progress): a batch


def sentence_by_sentence(
    speak: Speak,
    pieces: Sequence[str],
    voice: Voice | None,
    seed: int,
    report: Report,
    *,
    chained: bool,
    batch_size: int,
) -> Iterator[Speech]:
    """Speak the pieces of a text and yield each speech, in order.

    Piece i draws with seed + i (modulo 2**32), so that equal sentences do not sound equal.

    Args:
        voice: of all pieces. None: the first piece has the voice that its seed brings, and all the others
            have that one; where a speech is too short to make a voice of, the next is taken.
        report: called as (stage, done, total) for each stage, and for "sentence", which counts pieces.
        chained: each piece continues the one before: that is its voice. One at a time then.
        batch_size: the most at once. A text has batches of one size, that or a lower power of two, so that few
            are compiled; the last one is filled with copies of the last piece.
    """
    total, done, rows = len(pieces), 0, 1
    report("sentence", 0, total)
    while done < total:
        left = total - done
        if rows == 1 and voice is not None and not chained:
            rows = min(batch_size, 1 << (left - 1).bit_length())
        numbers = [done + min(row, left - 1) for row in range(rows)]
        speeches = speak(
            [pieces[n] for n in numbers], voice=voice, seed=[(seed + n) % 2**32 for n in numbers], progress=report
        )[:left]
        done += len(speeches)
        report("sentence", done, total)
        yield from speeches
        if voice is None or chained:
            voice = voice_of(speeches[0]) or voice


def voice_of(speech: Speech) -> Voice | None:
    """Make a voice of a speech, or None where it is too short for one."""
    try:
        return speech.voice()
    except ValueError:
        return None


def join(text: str, seed: int, sentences: Sequence[Speech]) -> Speech:
    """Make one speech of those of a text's sentences: tokens end to end, and pauses between the sounds."""
    first, *others = sentences
    pause = silence(first.sample_rate)
    timings = {id(one.timings): one.timings for one in sentences}.values()  # a batch has one for all of its rows
    return dataclasses.replace(
        first,
        text=text,
        seed=seed,
        samples=np.concatenate([first.samples, *(part for one in others for part in (pause, one.samples))]),
        semantic=np.concatenate([one.semantic for one in sentences]),
        coarse=np.concatenate([one.coarse for one in sentences], axis=1),
        fine=np.concatenate([one.fine for one in sentences], axis=1),
        timings={stage: sum(one[stage] for one in timings) for stage in first.timings},
        sentences=tuple(sentences),
    )


def silence(sample_rate: int) -> np.ndarray:
    """Return the pause between two sentences, float32."""
    return np.zeros(round(PAUSE_S * sample_rate), np.float32)


class Stopped(Exception):
    """Nobody waits for the rest of a stream."""


def in_background(start: Callable[[Report], Iterator[Speech]], progress: Progress) -> Generator[Speech, None, None]:
    """Yield speeches as they are done, while a thread makes the next ones.

    Closing or dropping the iterator, an error or Ctrl-C in the loop that reads it, and the end of the
    program stop the thread within one window of the stage it is at, and wait for that.

    Raises:
        BaseException: what the thread raised.
    """
    ready: queue.SimpleQueue[Speech | BaseException | None] = queue.SimpleQueue()
    unwanted = threading.Event()

    def work() -> None:
        end = None
        try:
            with sentence_bar(progress) as show:

                def report(stage: str, done: int, total: int) -> None:
                    if unwanted.is_set():
                        raise Stopped
                    show(stage, done, total)

                for speech in start(report):
                    ready.put(speech)
        except BaseException as error:
            end = error
        ready.put(end)

    def stop() -> None:
        unwanted.set()
        worker.join()

    worker = threading.Thread(target=work, name="bark_jax stream", daemon=True)
    worker.start()
    atexit.register(stop)
    try:
        while (speech := ready.get()) is not None:
            if isinstance(speech, BaseException):
                raise speech
            yield speech
    finally:
        stop()
        atexit.unregister(stop)
