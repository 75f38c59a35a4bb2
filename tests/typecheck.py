"""The checker of annotations that the tests put on every function of the package: see conftest.py."""

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int will do where a float is asked for
