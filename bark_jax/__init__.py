"""Bark, Suno's text-to-audio model, in JAX and Flax.

import bark_jax

bark = bark_jax.load("suno/bark-small")
bark.generate("Hello, my dog is cute.").save("hello.wav")
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bark_jax.pipeline import Bark, load
    from bark_jax.speech import Speech
    from bark_jax.tokens import TokenConfig
    from bark_jax.voices import Voice

__version__ = "0.1.0"
__all__ = ["Bark", "Speech", "TokenConfig", "Voice", "load"]
_HOMES = {"Bark": "pipeline", "Speech": "speech", "TokenConfig": "tokens", "Voice": "voices", "load": "pipeline"}


def __getattr__(name: str) -> Any:
    """Import a name, or a module of the package, when it is first used: importing JAX takes seconds."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"bark_jax.{_HOMES[name]}"), name)
    if importlib.util.find_spec(f"bark_jax.{name}"):
        return importlib.import_module(f"bark_jax.{name}")
    raise AttributeError(f"module 'bark_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
