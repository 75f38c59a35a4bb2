"""Bark, Suno's text-to-audio model, in JAX and Flax.

import bark_jax

bark = bark_jax.load("suno/bark-small")
bark.generate("Hello, my dog is cute.").save("hello.wav")
"""

from bark_jax.pipeline import Bark, Speech, load
from bark_jax.tokens import TokenConfig
from bark_jax.voices import Voice

__version__ = "0.1.0"
__all__ = ["Bark", "Speech", "TokenConfig", "Voice", "load"]
