"""The samples of the site: players that its pages include."""

from pathlib import Path

import bark_jax
from bark_jax import notebook

SENTENCES = ("Hello, my name is bark.", "The yellow bird is on the big tree.", "Good night!")
TEMPERATURES = (0.1, 0.7, 1.5, 3.0)


def write(folder: Path) -> None:
    """Speak the samples with the embedded checkpoint, and write them to a folder as HTML."""
    bark = bark_jax.load()
    options = {"seed": 0, "max_seconds": 4, "progress": False}
    speakers = {"no voice": None} | {name: name for name in bark.voices.names()}
    spoken = {
        text: {label: bark.generate(text, voice=voice, **options) for label, voice in speakers.items()}
        for text in SENTENCES
    }
    hotter = {t: bark.generate(SENTENCES[0], semantic_temperature=t, **options) for t in TEMPERATURES}
    pages = {
        "first": notebook.player(spoken[SENTENCES[0]]["no voice"], tokens=True).html(),
        "voices": "".join(notebook.player(takes, title=text, suffix=".ogg").html() for text, takes in spoken.items()),
        "temperatures": notebook.steps("semantic temperature", hotter).html(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
