"""Train all four networks from a folder of recordings; `python -m bark_jax train --help` shows how.

    recordings ──data.py──▶ samples ──distil.py, units.py──▶ semantic tokens        texts ──tokenizer──▶ ids
                                    ──codec.py─────────────▶ codes

    all of these ──batches.py, transformers.py──▶ the three stages

`teacher.py` reads the sentences of `texts.py` aloud where there are no recordings, `nano.py` is the recipe of the
checkpoint that comes with the package, and `evaluate.py` judges a checkpoint by what recognisers hear.
"""
