"""Train all four networks from a folder of recordings; `python -m bark_jax train --help` shows how.

    recordings ──data.py──▶ samples ──units.py──▶ semantic tokens        texts ──tokenizer──▶ ids
                                    ──codec.py──▶ codes                  all of these ──language.py──▶ the three stages

`teacher.py` makes recordings where there are none, `nano.py` is the recipe of the checkpoint that comes
with the package, and `evaluate.py` judges a checkpoint by what recognisers hear.
"""
