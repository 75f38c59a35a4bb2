"""The set-up cell on Colab: run as it stands, in an environment with Colab's versions, it moves none of them.

There players, pictures and controls work too, with the older ipywidgets.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import make
import pytest

import bark_jax

ROOT = Path(__file__).parent.parent
# Of Colab's TPU image: what the set-up cell promises to leave alone, and what it counts on being there.
FIXED = {"jax": "0.7.2", "jaxlib": "0.7.2", "libtpu": "0.0.21.1", "numpy": "2.1.3"}
THERE = {"flax": "0.11.2", "ipywidgets": "7.7.1", "transformers": "5.15.0", "matplotlib": "3.10.0", "ipython": "7.34.0"}

RUN = """
import json, sys, types
from importlib.metadata import version

colab = types.ModuleType("google.colab")
colab.output = None  # jax looks for it
sys.modules["google.colab"] = colab
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
result = shell.run_cell(sys.stdin.read())
assert result.success, result.error_in_exec
bark = shell.user_ns["bark_jax"].load(shell.user_ns["CHECKPOINT"])
samples = bark.generate("Hello", max_seconds=0.2, progress=False).samples

import ipywidgets
from bark_jax import notebook, sound

shell.display_formatter.format(notebook.player({"bark": samples, "a reader": sound.reading()}))
panel = notebook.panel(bark, max_seconds=0.2)
panel._ipython_display_()
panel.generate_button.click()
assert len(panel.takes) == 1, panel.message.children[0].value
notebook.live(lambda level: level * samples, level=ipywidgets.FloatSlider(value=1, max=1))._ipython_display_()
found = {name: version(name) for name in json.loads(sys.argv[1])}
print(json.dumps(found | {"samples": len(samples)}))
"""


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """Make an environment with Colab's versions, and return its python."""
    folder = tmp_path_factory.mktemp("colab")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    pins = [f"{name}=={version}" for name, version in (FIXED | THERE).items()]
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], capture_output=True, text=True)
    if done.returncode and ("connection" in done.stderr.lower() or "timed out" in done.stderr):
        pytest.skip(f"the package index is not to be reached: {done.stderr.strip().splitlines()[-1]}")
    assert not done.returncode, done.stderr
    return python


def test_the_set_up_cell_leaves_colabs_versions_alone(colab, tmp_path):
    source = tmp_path / "source"  # what git would fetch
    for name in ("bark_jax", "assets"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    address = f"git+{make.REPOSITORY}@v{bark_jax.__version__}"
    assert address in make.SET_UP
    cell = make.SET_UP.replace(address, source.as_uri())
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    environment.pop("PYTHONPATH", None)
    command = [colab, "-c", RUN, json.dumps([*FIXED, "bark-jax", "flax", "ipywidgets"])]
    done = subprocess.run(command, input=cell, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name: found[name] for name in FIXED} == FIXED
    assert found["ipywidgets"] == THERE["ipywidgets"]
    assert found["flax"] != THERE["flax"]  # too old for this package, and replaced
    assert found["samples"] > 0
