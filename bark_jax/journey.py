"""The four stages of the journey: one record for each, with all the names that it goes by.

text ──SEMANTIC──▶ semantic tokens ──COARSE──▶ 2 codebooks ──FINE──▶ 8 codebooks ──CODEC──▶ samples
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Stage:
    """Hold the names of one stage."""

    name: str  # of its options, bars and tables, and of its part in training
    network: str  # before the names of its tensors in a checkpoint
    config: str  # its section of `config.json`, and of `generation_config.json` if it samples
    suno: str | None  # the stem of its file in Suno's layout: text.pt, or text_2.pt for the large one
    stream: int  # which of a seed's random streams it samples with; the codec leaves its own unused
    color: str  # in drawings and plots: of what it makes


SEMANTIC = Stage("semantic", "semantic", "semantic_config", "text", 0, "#2563eb")
COARSE = Stage("coarse", "coarse_acoustics", "coarse_acoustics_config", "coarse", 1, "#059669")
FINE = Stage("fine", "fine_acoustics", "fine_acoustics_config", "fine", 2, "#d97706")
CODEC = Stage("codec", "codec_model", "codec_config", None, 3, "#dc2626")
SAMPLED = (SEMANTIC, COARSE, FINE)
STAGES = (*SAMPLED, CODEC)
