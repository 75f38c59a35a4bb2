"""Draw the SVGs of the README and the notebooks: `make drawings`.

Each drawing is a function that returns a `Drawing`; its file has the name of the function, with dashes.
"""

from pathlib import Path

from codes import coarse_window, codec_padding, encodec, fine_windows, interleaved_codes, tied_heads
from journeys import journey_1, journey_2, journey_3, journey_4, journey_5, journey_6, journey_7, journey_8, pipeline
from models import gpt_block, kv_cache, semantic_prompt, tensor_file

DRAWINGS = (
    pipeline,
    journey_1,
    journey_2,
    journey_3,
    journey_4,
    journey_5,
    journey_6,
    journey_7,
    journey_8,
    tensor_file,
    semantic_prompt,
    gpt_block,
    kv_cache,
    interleaved_codes,
    coarse_window,
    tied_heads,
    fine_windows,
    encodec,
    codec_padding,
)


def render() -> dict[str, str]:
    """Return the content of every drawing by the name of its file."""
    return {f"{make.__name__.replace('_', '-')}.svg": make().svg() for make in DRAWINGS}


if __name__ == "__main__":
    for name, content in render().items():
        (Path(__file__).parents[1] / name).write_text(content, encoding="utf-8")
