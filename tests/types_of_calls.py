"""What a type checker knows of the calls of `Bark`: pyright checks this file, nobody runs it."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Generator
from pathlib import Path
from typing import assert_type

import numpy as np

import bark_jax
from bark_jax import Bark, Speech, Voice
from bark_jax.options import SamplingOptions
from bark_jax.speech import Codes, Samples, Semantic


def one_item_and_lists(bark: Bark, texts: list[str], array: np.ndarray, arrays: list[np.ndarray]) -> None:
    assert_type(bark_jax.load("suno/bark-small", dtype="float32"), Bark)
    assert_type(bark.generate("x"), Speech)
    assert_type(bark.generate("x", voice=Path("me.npz"), seed=3, top_k=50, max_seconds=2), Speech)
    assert_type(bark.generate(["x", "y"], voice=[None, "me.npz"], seed=[1, 2], max_seconds=[1, None]), list[Speech])
    assert_type(bark.generate(texts), list[Speech])
    assert_type(bark.read("x", chain=True, language="de", batch_size=4), Speech)
    assert_type(bark.read(texts), list[Speech])
    assert_type(bark.stream("x", min_eos_p=None), Generator[Speech, None, None])
    assert_type(bark.sentences("x"), list[str])
    assert_type(bark.text_to_semantic("x", temperature=0.7, top_p=0.9), Semantic)
    assert_type(bark.text_to_semantic(texts), list[Semantic])
    assert_type(bark.semantic_to_coarse(array, top_k=3), Codes)
    assert_type(bark.semantic_to_coarse(arrays), list[Codes])
    assert_type(bark.coarse_to_fine(array, temperature=0), Codes)
    assert_type(bark.coarse_to_fine(arrays), list[Codes])
    assert_type(bark.decode(array), Samples)
    assert_type(bark.decode(arrays), list[Samples])
    assert_type(bark.encode(array, kbps=6.0), Codes)
    assert_type(bark.encode("me.wav"), Codes)
    assert_type(bark.encode(["me.wav", "you.wav"]), list[Codes])
    assert_type(bark.generate("x").voice(), Voice)


def one_set_of_options(bark: Bark) -> None:
    options: SamplingOptions = {"top_k": 50, "semantic_temperature": 0.7, "max_seconds": [1.0]}
    assert_type(bark.generate(["x"], **options), list[Speech])
    assert_type(bark.read("x", **options), Speech)


def mistakes(bark: Bark) -> None:
    bark.generate("x", top_kk=3)  # pyright: ignore[reportCallIssue]
    bark.generate("x", top_k="3")  # pyright: ignore[reportCallIssue, reportArgumentType]
    bark.semantic_to_coarse([1, 2], min_eos_p=0.1)  # pyright: ignore[reportCallIssue]
    bark.coarse_to_fine(np.zeros((2, 3), int), top_k=3)  # pyright: ignore[reportCallIssue]
