"""Finding and reading checkpoints: every layout gives the same weights, and what is broken is named."""

import functools
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import hf
import huggingface_hub
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from bark_jax.checkpoints import hub, load
from bark_jax.checkpoints.load import load_networks
from bark_jax.checkpoints.resolve import Checkpoint, resolve
from bark_jax.checkpoints.tables import NETWORKS
from bark_jax.checkpoints.tensors import read_safetensors
from bark_jax.tokens import TokenConfig

LAYOUTS = ["safetensors", "sharded", "bin", "sharded_bin", "suno"]
ROOT = Path(__file__).parents[1]


@functools.cache
def model():
    return hf.tiny_bark(bias=True, seed=5)


@pytest.fixture
def folder(tmp_path):
    return hf.save(model(), tmp_path / "checkpoint")


def resolve_saved(folder: Path) -> Checkpoint:
    """Resolve a folder that `hf.save` wrote, in whatever layout."""
    return resolve(folder, codec=folder / "encodec" if (folder / "encodec").exists() else None)


def flat(networks: dict) -> dict[str, np.ndarray]:
    return {
        f"{name}.{'.'.join(map(str, path))}": np.asarray(x[...])
        for name, module in networks.items()
        for path, x in nnx.to_flat_state(nnx.state(module))
    }


def refused(match: str, *arguments, **options) -> None:
    with pytest.raises(ValueError, match=match):
        load_networks(resolve(*arguments, **options))


@pytest.mark.parametrize("options", [{}, {"weight_norm": "g_v", "tied_heads": False}], ids=["tied", "untied"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_loads_the_same_weights(tmp_path, layout, options):
    plain = flat(load_networks(resolve_saved(hf.save(model(), tmp_path / "plain"))))
    checkpoint = resolve_saved(hf.save(model(), tmp_path / layout, layout, **options))
    ours = flat(load_networks(checkpoint))
    assert ours.keys() == plain.keys()
    assert all(np.array_equal(ours[path], plain[path]) for path in plain)
    for name in ("semantic", "fine_acoustics"):
        first = ours[f"{name}.blocks.0.attention.qkv.kernel"]
        theirs = hf.by_head(model().network(name)["layers.0.attn.att_proj.weight"], heads=2)
        np.testing.assert_array_equal(first, theirs.T)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_checkpoint_says_about_itself(tmp_path, layout):
    folder = hf.save(model(), tmp_path / layout, layout)
    checkpoint = resolve_saved(folder)
    assert (checkpoint.name, checkpoint.folder) == (str(folder), folder)
    assert TokenConfig.from_dict(checkpoint.generation_config) == TokenConfig.from_dict(
        hf.TOKENS.to_dict() | {"sample_rate": 600}
    )
    for network in NETWORKS.values():
        theirs = getattr(model().config, network.config).to_dict()
        assert network.read_config(checkpoint.config[network.config]) == network.read_config(theirs)
    assert checkpoint.tokenizer_folder() == folder
    assert checkpoint.fetch("speaker_embeddings/v2/en_speaker_6_semantic_prompt.npy").is_file()


def test_suno_s_files_of_all_kinds(tmp_path):
    torch = hf.import_torch()
    hf.save_suno(model(), tmp_path, large=True, old_args=True)
    hf.write_json(tmp_path / "generation_config.json", hf.TOKENS.to_dict() | {"sample_rate": 600})
    checkpoint = resolve_saved(tmp_path)
    assert checkpoint.config["coarse_acoustics_config"].keys().isdisjoint({"vocab_size", "n_layer"})
    files = [tmp_path / f"{stem}_2.pt" for stem in ("text", "coarse", "fine")]
    listed = load_networks(resolve(files, codec=tmp_path / "encodec"))
    found = flat(load_networks(checkpoint))
    assert all(np.array_equal(x, y) for x, y in zip(found.values(), flat(listed).values(), strict=True))

    shutil.copy(files[0], tmp_path / "text.pt")
    refused(r"has both text\.pt, small, and text_2\.pt, large: pass the three", tmp_path, codec=tmp_path / "encodec")
    refused(r"the checkpoint is 2 files: pass Suno's three", files[:2], codec=tmp_path / "encodec")
    (tmp_path / "fine_2.pt").unlink()
    refused(r"fine_2\.pt missing: a checkpoint of Suno's is three files", files, codec=tmp_path / "encodec")
    torch.save({"weight": torch.ones(2)}, tmp_path / "fine_2.pt")
    refused(r"fine_2\.pt has no model_args: it is none of Suno's", files, codec=tmp_path / "encodec")
    torch.save({"model_args": {}, "model": [torch.ones(2)]}, tmp_path / "fine_2.pt")
    refused(r"fine_2\.pt holds no dict of tensors", files, codec=tmp_path / "encodec")


def test_ids_must_have_a_place_in_the_tables(tmp_path):
    hf.save(model(), tmp_path, "suno")
    (tmp_path / "generation_config.json").unlink()
    checkpoint = resolve(tmp_path, codec=tmp_path / "encodec")
    assert TokenConfig.from_dict(checkpoint.generation_config) == TokenConfig()
    with pytest.raises(ValueError, match="in 12 points") as caught:
        load_networks(checkpoint)
    for line in (
        "ids: semantic_infer_token is 129599, the semantic model has ids 0..715",
        "ids: coarse_infer_token is 12050, the coarse model has ids 0..575",
        "ids: the pad of codes is 1024, the fine model has ids 0..39",
        "ids: max_input_semantic_length + max_new_tokens is 1024, the semantic model has 64 positions",
        "ids: the longest coarse window is 947, the coarse model has 64 positions",
        "ids: codebook_size is 1024, the codec has 32",
        "ids: sample_rate is 24000, the codec has 600",
    ):
        assert line in str(caught.value)


def test_all_four_networks_are_checked_at_once(folder):
    state = hf.state_dict(model().weights)
    for name in ("semantic.lm_head.weight", "codec_model.encoder.layers.0.conv.bias"):
        del state[name]
    state |= {"coarse_acoustics.extra": np.ones(1, np.float32), "extra.weight": np.ones(1, np.float32)}
    hf.save_weights(state, folder, "safetensors")
    with pytest.raises(ValueError, match="in 4 points") as caught:
        load_networks(resolve(folder))
    assert [line for line in str(caught.value).splitlines() if line.startswith("  ")] == [
        "  semantic: missing: lm_head.weight, for head.kernel",
        "  coarse_acoustics: unknown: extra",
        "  codec_model: missing: encoder.layers.0.conv.bias, for encoder.stem.bias",
        "  no network: unknown: extra.weight",
    ]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_codec_stays_in_float32(folder, dtype):
    ours = flat(load_networks(resolve_saved(folder), dtype))
    for path, x in ours.items():
        assert x.dtype == jnp.dtype("float32" if path.startswith("codec_model") else dtype)


def test_safetensors_of_all_dtypes_read_as_their_library_reads_them(tmp_path):
    torch = hf.import_torch()
    import safetensors.torch

    dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int8]
    dtypes += [torch.int16, torch.int32, torch.int64]
    state = {str(dtype): torch.arange(-6, 6).reshape(3, 4).to(dtype) for dtype in dtypes}
    state |= {"number": torch.tensor(2.5), "empty": torch.zeros(0, 3)}
    safetensors.torch.save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    ours = read_safetensors(tmp_path / "model.safetensors")
    assert ours.keys() == state.keys()
    for name, x in state.items():
        assert (ours[name].shape, f"torch.{ours[name].dtype}") == (x.shape, str(x.dtype))
        np.testing.assert_array_equal(ours[name].read().astype(np.float64), x.double().numpy())


def test_no_parameter_is_a_view_of_the_file(folder):
    networks = load_networks(resolve_saved(folder))
    before = flat(networks)
    path = folder / "model.safetensors"
    with open(path, "r+b") as file:
        file.write(bytes(path.stat().st_size))
    after = flat(networks)
    assert all(np.array_equal(before[name], after[name]) for name in before)


# Files that are broken.


@pytest.mark.parametrize("size", [0, 5, 8, 100, 30_000, -1])
def test_safetensors_that_are_cut_off(folder, size):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:size])
    cut = len(data[:size])
    refused(
        rf"model\.safetensors has {cut} bytes, its header (alone has|describes) \d+: it is cut off.*fetch it again",
        folder,
    )


def test_safetensors_with_broken_headers(folder):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data + b"\0")
    refused(rf"model\.safetensors has {len(data) + 1} bytes, its header describes {len(data)}", folder)
    for old, new in (
        (b'{"', b'["'),
        (b'"dtype":"F32"', b'"dtype":"F99"'),
        (b'"shape":[', b'"shape":[9'),
        (b"data_off", b"nada_off"),
    ):
        path.write_bytes(data.replace(old, new, 1)[: len(data)])
        refused(r"model\.safetensors has a broken header .*: fetch it again", folder)


@pytest.mark.parametrize("layout", ["sharded", "sharded_bin"])
def test_shards_that_do_not_agree_with_their_index(tmp_path, layout):
    folder = hf.save(model(), tmp_path, layout)
    (index,) = folder.glob("*.index.json")
    content = json.loads(index.read_text())
    weight_map = content["weight_map"]
    first, second = sorted(weight_map)[:2]

    def write(changed) -> None:
        index.write_text(json.dumps({"weight_map": changed}))

    write(weight_map | {first: weight_map[second]})
    refused(
        rf"{first} is in .*-00001-.*, not in .*-00002-.*; {first} is not in .*-00002-.*: fetch the folder again", folder
    )
    write({key: file for key, file in weight_map.items() if key != first})
    refused(rf"{first} is in .*-00001-of-00003.*, not in None", folder)
    write(weight_map | {first: "../elsewhere.bin"})
    refused("has no weight_map from keys to files beside it", folder)
    write(weight_map)
    (folder / weight_map[first]).unlink()
    refused(r"-00001-of-00003\.\w+ is missing: fetch the folder again", folder)
    index.write_text("{}")
    refused("has no weight_map", folder)


def test_folders_that_are_no_checkpoints(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    refused(
        r"empty is no checkpoint: it has none of config\.json, text\.pt, text_2\.pt. It has no files at all",
        tmp_path / "empty",
    )
    (tmp_path / "empty" / "notes.txt").write_text("")
    refused(r"It has notes\.txt\. Pass a folder with such files, or a hub name such as", str(tmp_path / "empty"))
    refused(r"nowhere is no folder, and no hub name such as suno/bark-small", tmp_path / "nowhere")
    refused(r"text\.pt is no folder, and no hub name", "bark/text.pt")
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    refused(r"none of model\.safetensors, pytorch_model\.bin.*It has config\.json, .*weights\.safetensors", folder)


def test_configs_that_will_not_do(folder):
    config = json.loads((folder / "config.json").read_text())
    refused("has a codec of its own, and codec is .*: leave it out", folder, codec="facebook/encodec_24khz")
    for content, match in (
        ("{", r"config\.json cannot be read as JSON .*: fetch it again"),
        ("[]", r"config\.json holds a JSON list, not an object"),
        (json.dumps(config["codec_config"]), "has no semantic_config, .*: it describes a encodec, not a bark"),
        (json.dumps(config | {"semantic_config": {}}), "semantic_config of .*: input_vocab_size is missing"),
        (json.dumps(config | {"codec_config": {"pad_mode": "constant"}}), "codec_config of .*: pad_mode is 'constant'"),
    ):
        (folder / "config.json").write_text(content)
        refused(match, folder)


def test_codecs_that_will_not_do(tmp_path, folder):
    hf.save_suno(model(), tmp_path)
    refused("describes a bark, not an encodec: pass one for codec", tmp_path, codec=folder)
    (tmp_path / "empty").mkdir()
    refused(r"empty is no checkpoint: it has none of config\.json", tmp_path, codec=tmp_path / "empty")
    refused(r"codec=.*nowhere is no folder, and no hub name", tmp_path, codec=tmp_path / "nowhere")


def test_files_of_a_checkpoint(folder):
    checkpoint = resolve_saved(folder)
    for path in ("../outside.npy", "/etc/passwd", "a/../../b"):
        with pytest.raises(ValueError, match=f"{path} lies outside of the checkpoint"):
            checkpoint.fetch(path)
    with pytest.raises(ValueError, match=r"has no file nothing\.npy: fetch the whole of it again"):
        checkpoint.fetch("nothing.npy")
    (folder / "tokenizer.json").unlink()
    assert checkpoint.tokenizer_folder() == folder  # vocab.txt is there
    (folder / "vocab.txt").unlink()
    with pytest.raises(ValueError, match=r"google-bert/bert-base-multilingual-cased cannot be found"):
        checkpoint.tokenizer_folder()
    hf.save_tokenizer(folder / "words")
    assert resolve(folder, tokenizer=folder / "words").tokenizer_folder() == folder / "words"


# The hub. The tests have no network; the cache is real.


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Make a hub cache that holds the checkpoint org/bark, but not all of its voices."""
    cached = tmp_path / "hub" / "models--org--bark"
    snapshot = cached / "snapshots" / ("0" * 40)
    hf.save(model(), snapshot)
    (snapshot / "speaker_embeddings" / "announcer_fine_prompt.npy").unlink()
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return snapshot


@pytest.mark.parametrize("offline", [False, True])
def test_without_a_network_the_cache_will_do(cache, offline):
    checkpoint = resolve("org/bark", offline=offline)
    assert (checkpoint.name, checkpoint.folder, checkpoint.repository) == ("org/bark", cache, "org/bark")
    assert len(flat(load_networks(checkpoint))) == len(flat(load_networks(resolve_saved(cache))))
    assert checkpoint.fetch("speaker_embeddings/announcer_coarse_prompt.npy").is_file()
    tried = "the local cache" if offline else "huggingface.co .* and the local cache"
    with pytest.raises(ValueError, match=rf"announcer_fine_prompt\.npy of org/bark cannot be found: tried {tried}"):
        checkpoint.fetch("speaker_embeddings/announcer_fine_prompt.npy")


def test_failures_of_the_hub_are_value_errors_and_faults_are_not():
    """The names are in huggingface_hub 0.27 to 2.4; `HTTPError` is that of its HTTP library."""
    errors = huggingface_hub.errors
    response = types.SimpleNamespace(headers={}, request=None, status_code=404)
    raised = [
        ConnectionError("no connection"), PermissionError("no access"), OSError(28, "no space"), ValueError("a name"),
        RuntimeError("of hf_xet"), errors.LocalEntryNotFoundError("not there"), errors.OfflineModeIsEnabled("offline"),
        type("Broken", (errors.HTTPError,), {})("reset"), errors.HfHubHTTPError("not found", response=response),
    ]  # fmt: skip

    def get(error, *, local):
        raise error

    for error in raised:
        with pytest.raises(ValueError, match=rf"x cannot be found: tried huggingface.co \({type(error).__name__}"):
            hub.from_hub("x", functools.partial(get, error), offline=False)
    for fault in (TypeError("x"), AttributeError("x"), KeyError("x"), Exception("x")):
        with pytest.raises(type(fault)) as caught:
            hub.from_hub("x", functools.partial(get, fault), offline=False)
        assert caught.value is fault


@pytest.mark.parametrize("offline", [False, True])
def test_what_cannot_be_found(cache, offline):
    with pytest.raises(ValueError, match=r"org/other cannot be found: tried ") as caught:
        resolve("org/other", offline=offline)
    message = str(caught.value)
    assert ("huggingface.co (OfflineModeIsEnabled" in message) != offline
    for part in (
        "the local cache (LocalEntryNotFoundError)",
        "Check the name",
        "--local-dir FOLDER",
        "load() the embedded",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("has_safetensors", [False, True])
def test_only_what_is_needed_is_downloaded(cache, monkeypatch, has_safetensors):
    there = ["config.json", "text_2.pt", "pytorch_model.bin", "README.md", "speaker_embeddings/a.npy", "vocab.txt"]
    there += ["model.safetensors", "model.safetensors.index.json"] if has_safetensors else []
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options)
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda name: there)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    resolve("org/bark")
    options = {"allow_patterns": asked["allow_patterns"], "ignore_patterns": asked["ignore_patterns"]}
    wanted = set(huggingface_hub.utils.filter_repo_objects(there, **options))
    weights = set(there[-2:]) if has_safetensors else {"pytorch_model.bin"}
    assert wanted == {"config.json", "vocab.txt"} | weights


def test_a_missing_voice_is_downloaded_alone(cache, monkeypatch, tmp_path):
    asked = []

    def hf_hub_download(name, path, **options):
        asked.append((name, path, options))
        return str(tmp_path / "got.npy")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    path = "speaker_embeddings/announcer_fine_prompt.npy"
    assert resolve("org/bark").fetch(path) == tmp_path / "got.npy"
    assert asked == [("org/bark", path, {"revision": "0" * 40, "local_files_only": False})]


# In a process of their own.


def run(program: str, *arguments) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("layout", ["safetensors", "bin", "suno"])
def test_torch_is_never_imported(tmp_path, layout):
    folder = hf.save(model(), tmp_path / layout, layout)
    run(
        """
import pkgutil, sys
import bark_jax
for module in pkgutil.iter_modules(bark_jax.__path__):
    if module.name != "__main__":
        __import__(f"bark_jax.{module.name}")
from bark_jax.checkpoints.load import load_networks
from bark_jax.checkpoints.resolve import resolve
codec = sys.argv[1] + "/encodec" if sys.argv[2] == "suno" else None
load_networks(resolve(sys.argv[1], codec=codec))
assert not {"torch", "transformers"} & sys.modules.keys(), "torch or transformers is imported"
""",
        folder,
        layout,
    )


PEAK = """
import sys
import jax.numpy as jnp
from bark_jax.checkpoints.load import load_networks
from bark_jax.checkpoints.resolve import resolve

def mib(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

jnp.zeros(1).block_until_ready()
before = mib("VmRSS")
networks = load_networks(resolve(sys.argv[1]))
print(mib("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("layout", ["safetensors", "bin"])
def test_loading_takes_little_more_memory_than_the_weights(tmp_path, layout):
    tokens = hf.tiny_tokens(semantic_vocab_size=20_000)
    folder = hf.save(hf.tiny_bark(tokens, layers=4, heads=4, width=384), tmp_path, layout, tokens=tokens)
    weights = sum(path.stat().st_size for path in folder.glob("*model*")) / 2**20
    assert weights > 120
    assert float(run(PEAK, folder)) < 1.2 * weights + 40


# ---------------------------------------------------------------------------------------------
# Low memory
# ---------------------------------------------------------------------------------------------


def test_one_network_at_a_time(folder, monkeypatch):
    fill, filled = load.fill, []
    monkeypatch.setattr(load, "fill", lambda plan, **options: filled.append(plan) or fill(plan, **options))
    networks = load_networks(resolve_saved(folder), low_memory=True)
    assert (list(networks), len(networks), filled) == ([*NETWORKS], 4, [])
    ours, wholly = flat(networks), flat(load_networks(resolve_saved(folder)))
    assert all(np.array_equal(wholly[path], x) for path, x in ours.items())
    assert ours.keys() == wholly.keys()
    filled.clear()
    assert networks["semantic"] is networks["semantic"]
    with pytest.raises(KeyError):
        networks["loud"]
    assert len(filled) == 1


def test_low_memory_refuses_a_broken_checkpoint_at_once(folder):
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    del tensors["codec_model.decoder.layers.0.conv.bias"]
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match="codec_model: missing: decoder"):
        load_networks(resolve_saved(folder), low_memory=True)
