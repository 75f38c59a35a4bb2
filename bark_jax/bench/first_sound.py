"""Speak the first sentence of a process by the command a user types, then a second one; print what took how long.

    python -m bark_jax.bench.first_sound BEGAN FOLDER WAV [flags of `speak`]

In:  the time at which the process was started, in seconds since 1970; a checkpoint; where to write.
Out: one line of JSON: for each part of the way to the first WAV its seconds and what was compiled in them.

The parts are timed where the command calls them, so that what runs is the command itself.
"""

import dataclasses
import functools
import json
import runpy
import sys
import time
from collections.abc import Callable
from typing import Any

import bark_jax
from bark_jax import coarse, fine, semantic, stages
from bark_jax.bench.timing import Compilation, clock, compilation

TEXT, SECONDS = "Hello, my dog is cute.", 2.0  # five words, and about what they take to say
SECOND_TEXT = "And again, but shorter."
SECOND_CONTROLS = {
    "seed": 1,
    "semantic_temperature": 0.9,
    "coarse_temperature": 0.8,
    "fine_temperature": 0.6,
    "max_seconds": 0.6 * SECONDS,
    "min_eos_p": None,
    "progress": False,
}
PARTS = (
    ("load", bark_jax, "load"),
    ("semantic", semantic, "generate"),
    ("coarse", coarse, "generate"),
    ("fine", fine, "generate"),
    ("codec", stages, "decode_audio"),
    ("write", bark_jax.Speech, "save"),
)


Part = dict[str, Any]


def part(name: str, seconds: float, compiled: Compilation) -> Part:
    return {"part": name, "seconds": seconds, **dataclasses.asdict(compiled)}


def remainder(whole: Part, parts: list[Part]) -> Part:
    """Subtract all parts, number by number."""
    return {key: x - sum(one[key] for one in parts) for key, x in whole.items() if key != "part"} | {"part": "the rest"}


def speak(*flags: str) -> None:
    """Run the command as `python -m bark_jax` does. Raises SystemExit if it fails."""
    sys.argv = ["bark-jax", "speak", TEXT, *flags]
    try:
        runpy.run_module("bark_jax", run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise


def main(began: float, folder: str, wav: str, *flags: str) -> Part:
    """Speak twice; return the parts of the first time, what was compiled each time, and seconds."""
    parts, kept = [part("start and imports", time.time() - began, Compilation())], {}

    def watch(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def watched(*inputs: Any, **named: Any) -> Any:
            with compilation() as compiled:
                seconds, made = clock(functools.partial(function, *inputs, **named))
            parts.append(part(name, seconds, compiled))
            kept[name] = inputs, made
            return made

        return watched

    for name, owner, attribute in PARTS:
        setattr(owner, attribute, watch(name, getattr(owner, attribute)))
    settings = ["--max-seconds", str(SECONDS), "--min-eos-p", "off", "--no-progress", "--force"]
    with compilation() as first:
        speak("--checkpoint", folder, "-o", wav, *settings, *flags)
    until_sound, first_parts = time.time() - began, list(parts)
    until_loaded = sum(one["seconds"] for one in first_parts[:2])

    (_, bark), ((speech, *_), _) = kept["load"], kept["write"]
    with compilation() as second:
        speak_again = functools.partial(bark.generate, SECOND_TEXT, voice=speech.voice(), **SECOND_CONTROLS)
        seconds, _ = clock(speak_again)
    return {
        "parts": [*first_parts, remainder(part("", until_sound, first), first_parts)],
        "until_sound": until_sound,
        "first": dataclasses.asdict(first),
        "second": dataclasses.asdict(second) | {"seconds": seconds, "since_load": until_sound - until_loaded + seconds},
    }


if __name__ == "__main__":
    print(json.dumps(main(float(sys.argv[1]), *sys.argv[2:])))
