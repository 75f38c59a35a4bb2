"""The wheel, built from the source distribution: all that the package needs is in it, and nothing else."""

import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import bark_jax

ROOT = Path(__file__).parent.parent
SOURCE_ONLY = {".md"}  # kinds of files that only readers of the repository need


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and any(words in done.stdout + done.stderr for words in ("ConnectionError", "timed out")):
        pytest.skip("the package index cannot be reached, so there is no setuptools to build with")
    assert not done.returncode, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        yield file


def files(folder: Path, prefix: str, skipped: set[str]) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"{prefix}/{path.relative_to(folder).as_posix()}" for path in found if path.suffix not in skipped}


def test_the_wheel_has_the_package_and_its_data(wheel):
    expected = files(ROOT / "bark_jax", "bark_jax", SOURCE_ONLY)
    expected |= files(ROOT / "assets" / "nano", "bark_jax/assets/nano", set())
    expected |= {"bark_jax/assets/__init__.py", "bark_jax/assets/reading.flac"}
    assert {"bark_jax/py.typed", "bark_jax/assets/nano/model.safetensors"} <= expected
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected


def test_there_is_one_version(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
    assert metadata["Version"] == bark_jax.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {bark_jax.__version__}" in changes
