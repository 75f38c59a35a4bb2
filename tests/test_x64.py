"""With `JAX_ENABLE_X64=1` the stages return the tokens and dtypes that they return without it."""

import json
import os
import subprocess
import sys

PROGRAM = """
import json, bark_jax
bark = bark_jax.load()
speech = bark.generate("My name is bark.", voice="en_speaker_0", top_k=40, top_p=0.9, max_seconds=0.5, progress=False)
codes = bark.encode(speech.samples)
arrays = speech.semantic, speech.coarse, speech.fine, codes
print(json.dumps([[x.dtype.name, x.tolist()] for x in arrays] + [speech.samples.dtype.name]))
"""


def tokens(**environment: str) -> list:
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ | environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_x64_changes_no_token_and_no_dtype():
    wide, usual = tokens(JAX_ENABLE_X64="1"), tokens(JAX_ENABLE_X64="0")
    assert usual[-1] == "float32"
    assert [dtype for dtype, _ in usual[:-1]] == ["int32"] * 4
    assert wide == usual
