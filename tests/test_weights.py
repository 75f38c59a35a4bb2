"""The tables and the strict loader: every parameter has torch's value, and nothing may be missing or left over."""

import dataclasses
import functools

import hf
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from common import Held, held
from flax import nnx

from bark_jax.checkpoints.load import LoadPlan, load_module
from bark_jax.checkpoints.tables import NETWORKS, Row, codec_table, gpt_table
from bark_jax.codec import Codec, CodecConfig
from bark_jax.fine import FineModel
from bark_jax.gpt import GPT

torch = hf.import_torch()


def build(model, network: str):
    """Give what loads one network of a Hugging Face model: how to make it, and its table."""
    kind = NETWORKS[network]
    cfg = kind.read_config(getattr(model.config, kind.config).to_dict())
    return functools.partial(kind.module, cfg), kind.table(cfg)


def parameters(module: nnx.Module) -> dict[str, np.ndarray]:
    return {".".join(map(str, path)): np.asarray(x[...]) for path, x in nnx.to_flat_state(nnx.state(module))}


@functools.cache
def models(bias: bool):
    return hf.tiny_bark(bias=bias, seed=3)


def expected_transformer(theirs, norm_bias: bool) -> dict:
    """Write out by hand what the blocks must hold."""
    expected = {"position_embedding.embedding": theirs.position_embeds_layer.weight}
    norms = {"norm": theirs.layernorm_final}
    linears = {}
    for i, layer in enumerate(theirs.layers):
        norms |= {f"blocks.{i}.norm_1": layer.layernorm_1, f"blocks.{i}.norm_2": layer.layernorm_2}
        linears |= {f"blocks.{i}.attention.qkv": layer.attn.att_proj, f"blocks.{i}.attention.out": layer.attn.out_proj}
        linears |= {f"blocks.{i}.mlp.up": layer.mlp.in_proj, f"blocks.{i}.mlp.down": layer.mlp.out_proj}
    for name, norm in norms.items():
        expected |= {f"{name}.scale": norm.weight} | ({f"{name}.bias": norm.bias} if norm_bias else {})
    for name, linear in linears.items():
        weight, bias = linear.weight, linear.bias
        if name.endswith("qkv"):
            weight, bias = (x if x is None else hf.by_head(x, theirs.layers[0].attn.num_heads) for x in (weight, bias))
        expected |= {f"{name}.kernel": weight.T}
        expected |= {f"{name}.bias": bias} if bias is not None else {}
    return expected


def check_parameters(module: nnx.Module, expected: dict, tolerance: float = 0) -> None:
    ours = parameters(module)
    assert ours.keys() == expected.keys()
    for path, x in expected.items():
        assert ours[path].dtype == np.float32
        np.testing.assert_allclose(ours[path], x.detach().numpy(), rtol=tolerance, err_msg=path)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("network", ["semantic", "coarse_acoustics"])
def test_causal_models_have_torch_s_values(network, bias):
    theirs = getattr(models(bias).torch, network)
    ours = load_module(*build(models(bias), network), held(theirs.state_dict()))
    assert isinstance(ours, GPT)
    expected = expected_transformer(theirs, norm_bias=bias)
    expected |= {"token_embedding.embedding": theirs.input_embeds_layer.weight, "head.kernel": theirs.lm_head.weight.T}
    check_parameters(ours, expected)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tied_heads", [False, True])
def test_the_fine_model_has_torch_s_values(bias, tied_heads):
    theirs = models(bias).torch.fine_acoustics
    state = hf.state_dict(models(bias).network("fine_acoustics"), tied_heads=tied_heads)
    assert any("lm_heads" in name for name in state) != tied_heads
    ours = load_module(*build(models(bias), "fine_acoustics"), held(state))
    assert isinstance(ours, FineModel)
    tables = torch.stack([table.weight for table in theirs.input_embeds_layers])
    check_parameters(ours, expected_transformer(theirs, norm_bias=True) | {"codebook_embeddings": tables})


def conv(ours: str, theirs) -> dict:
    """Take the weights that torch itself has folded, through the module's parametrization."""
    axes = (2, 0, 1) if isinstance(theirs.conv, torch.nn.ConvTranspose1d) else (2, 1, 0)
    return {f"{ours}.kernel": theirs.conv.weight.permute(axes), f"{ours}.bias": theirs.conv.bias}


def lstm(ours: str, theirs) -> dict:
    found = {}
    for i in range(theirs.lstm.num_layers):
        w_input, w_hidden, b_input, b_hidden = (getattr(theirs.lstm, f"{n}_l{i}") for n in LSTM_NAMES)
        found |= {f"{ours}.layers.{i}.input_kernel": w_input.T, f"{ours}.layers.{i}.hidden_kernel": w_hidden.T}
        found |= {f"{ours}.layers.{i}.bias": b_input + b_hidden}
    return found


LSTM_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@pytest.mark.parametrize("weight_norm", ["parametrizations", "g_v"])
def test_the_codec_has_torch_s_values(weight_norm):
    theirs = models(False).torch.codec_model
    state = held(hf.state_dict(models(False).network("codec_model"), weight_norm=weight_norm))
    assert any(name.endswith("weight_g") for name in state) == (weight_norm == "g_v")
    ours = load_module(*build(models(False), "codec_model"), state)
    assert isinstance(ours, Codec)
    encoder, decoder = theirs.encoder.layers, theirs.decoder.layers  # stem, (residual, elu, down) twice, ...
    expected = conv("encoder.stem", encoder[0]) | lstm("encoder.lstm", encoder[7]) | conv("encoder.head", encoder[9])
    expected |= conv("decoder.stem", decoder[0]) | lstm("decoder.lstm", decoder[1]) | conv("decoder.head", decoder[9])
    for i, stage in enumerate(("stages.0", "stages.1")):
        expected |= conv(f"encoder.{stage}.down", encoder[3 + 3 * i]) | conv(f"decoder.{stage}.up", decoder[3 + 3 * i])
        for part, block in (("encoder", encoder[1 + 3 * i]), ("decoder", decoder[4 + 3 * i])):
            expected |= conv(f"{part}.{stage}.residuals.0.narrow", block.block[1])
            expected |= conv(f"{part}.{stage}.residuals.0.widen", block.block[3])
            expected |= conv(f"{part}.{stage}.residuals.0.shortcut", block.shortcut)
    expected["quantizer.codebooks"] = torch.stack([layer.codebook.embed for layer in theirs.quantizer.layers])
    check_parameters(ours, expected, tolerance=1e-6)


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_residual_layers": 0, "num_lstm_layers": 1},
        {"num_residual_layers": 2, "use_conv_shortcut": False, "upsampling_ratios": (2, 3, 2)},
    ],
)
def test_the_codec_s_table_follows_its_config(sizes):
    cfg = CodecConfig(num_filters=2, hidden_size=4, codebook_size=16, **sizes)
    abstract = LoadPlan.make(functools.partial(Codec, cfg), codec_table(cfg), {})
    assert {row.target for row in abstract.table.rows} == set(abstract.parameters)


@pytest.mark.parametrize("network", ["semantic", "fine_acoustics"])
def test_suno_s_names_and_buffers(network):
    theirs = models(True).network(network)
    state = {hf.suno_name(name): x for name, x in theirs.items()}
    assert all(name.startswith("_orig_mod.") for name in state)
    assert any(".attn.bias" in name for name in state) == (network == "semantic")
    make, table = build(models(True), network)
    ours, expected = (parameters(load_module(make, table, held(x))) for x in (state, theirs))
    assert ours.keys() == expected.keys()
    assert all(np.array_equal(ours[path], expected[path]) for path in expected)


@pytest.mark.parametrize("source", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("target", ["float32", "bfloat16"])
def test_parameters_get_the_dtype_asked_for(source, target):
    make, table = build(models(False), "semantic")
    state = {name: Held(x.array.astype(source)) for name, x in held(models(False).network("semantic")).items()}
    key = "layers.0.mlp.in_proj.weight"
    expected = state[key].array.T.astype(target)
    for module in (
        load_module(make, table, state, target),
        load_module(functools.partial(make, dtype=target), table, state),
    ):
        ours = parameters(module)
        assert {x.dtype for x in ours.values()} == {jnp.dtype(target)}
        np.testing.assert_array_equal(ours["blocks.0.mlp.up.kernel"], expected)


def test_each_tensor_is_read_once_and_masks_never():
    make, table = build(models(False), "semantic")
    state = held(models(False).network("semantic"))
    ours = load_module(make, table, state)
    assert {name: x.reads for name, x in state.items()} == {name: int("attn.bias" not in name) for name in state}
    assert all(isinstance(x[...], jax.Array) for _, x in nnx.to_flat_state(nnx.state(ours)))


def problems(network: str, change, make=None, table=None) -> tuple[str, list[str]]:
    """Load with changed tensors; return the message, whole and by lines."""
    standard_make, standard_table = build(models(False), network)
    state = held(hf.state_dict(models(False).network(network), tied_heads=False))
    change(state)
    with pytest.raises(ValueError, match="is not what its config describes") as caught:
        load_module(make or standard_make, table or standard_table, state)
    message = str(caught.value)
    assert message.endswith("Take config and weights from the same source, and fetch what is broken again")
    assert not any(x.reads for name, x in state.items() if "lm_heads" not in name and "embeds_layers" not in name)
    return message, [line.strip().removeprefix("network: ") for line in message.splitlines()[1:-1]]


def test_everything_wrong_is_in_one_message():
    def change(state):
        del state["layers.0.mlp.in_proj.weight"]
        state["layers.2.mlp.in_proj.weight"] = Held(np.ones((128, 32), np.float32))
        state["optimizer.step"] = Held(np.ones(1, np.float32))
        state["_orig_mod.lm_head.weight"] = state["lm_head.weight"]
        state["layers.1.layernorm_1.weight"] = Held(np.ones(33, np.float32))
        state["layers.1.attn.att_proj.weight"] = Held(np.ones((32, 96), np.float32))
        state["layers.1.mlp.out_proj.weight"] = Held(np.ones((128, 32), np.float32))
        state["position_embeds_layer.weight"] = Held(np.ones((64, 32), np.int64))

    message, lines = problems("semantic", change)
    assert "in 8 points" in message
    assert sorted(lines) == sorted(
        [
            "missing: layers.0.mlp.in_proj.weight, for blocks.0.mlp.up.kernel",
            "unknown: layers.2.mlp.in_proj.weight",
            "unknown: optimizer.step",
            "there twice: lm_head.weight and _orig_mod.lm_head.weight",
            "wrong shape: layers.1.layernorm_1.weight float32 (33,) gives (33,), blocks.1.norm_1.scale is (32,)",
            "shapes that do not go together: layers.1.attn.att_proj.weight float32 (32, 96), for "
            "blocks.1.attention.qkv.kernel (32, 96) (cannot reshape array of size 3072 into shape (3,2,newaxis,96))",
            "wrong shape: layers.1.mlp.out_proj.weight float32 (128, 32) gives (32, 128), "
            "blocks.1.mlp.down.kernel is (128, 32)",
            "no floating numbers: position_embeds_layer.weight int64 (64, 32), for position_embedding.embedding",
        ]
    )


def test_tensors_that_do_not_go_together():
    def change(state):
        state["encoder.layers.0.conv.parametrizations.weight.original0"] = Held(np.ones((3, 1, 1), np.float32))
        state["quantizer.layers.2.codebook.embed"] = Held(np.ones((31, 16), np.float32))
        state["decoder.layers.1.lstm.bias_ih_l0"] = Held(np.ones(63, np.float32))

    _, lines = problems("codec_model", change)
    assert len(lines) == 3
    assert all(line.startswith("shapes that do not go together: ") for line in lines)
    for part in ("original0 float32 (3, 1, 1)", "embed float32 (31, 16)", "bias_ih_l0 float32 (63,)"):
        assert sum(part in line for line in lines) == 1


def test_heads_must_be_the_tables():
    def change(state):
        state["lm_heads.4.weight"].array[3, 5] += 1
        state["lm_heads.0.weight"] = Held(state["lm_heads.0.weight"].array[:-1])

    _, lines = problems("fine_acoustics", change)
    assert lines == [
        "not tied: lm_heads.0.weight differs from input_embeds_layers.1.weight",
        "not tied: lm_heads.4.weight differs from input_embeds_layers.5.weight",
    ]


def test_the_table_must_cover_the_module():
    make, table = build(models(False), "semantic")
    cut = dataclasses.replace(table, rows=(*table.rows[1:], Row("head.bias", (table.rows[0].sources))))
    _, lines = problems("semantic", lambda state: None, table=cut)
    assert lines == [
        "without a place: head.bias is no parameter of the module",
        f"not filled: {table.rows[0].target}, the table has no row for it",
    ]
    biased = dataclasses.replace(make.args[0], bias=True)
    _, lines = problems("semantic", lambda state: None, functools.partial(GPT, biased), gpt_table(biased))
    assert len(lines) == 2 * 6 + 1
    assert "missing: layers.0.attn.att_proj.bias, for blocks.0.attention.qkv.bias" in lines
    assert "missing: layernorm_final.bias, for norm.bias" in lines


@pytest.mark.parametrize(
    ("network", "change", "message"),
    [
        ("semantic", {"num_layers": None}, "num_layers is None: it must be a whole number"),
        (
            "semantic",
            {"bias": 0, "hidden_size": "32"},
            "hidden_size is '32': it must be .*; bias is 0: it must be true or false",
        ),
        ("fine_acoustics", {"n_codes_total": ...}, "n_codes_total is missing"),
        ("fine_acoustics", {"output_vocab_size": 41}, "output_vocab_size is 41, its input_vocab_size 40: they must be"),
    ],
)
def test_configs_that_will_not_do(network, change, message):
    kind = NETWORKS[network]
    section = getattr(models(False).config, kind.config).to_dict() | change
    section = {name: value for name, value in section.items() if value is not ...}
    with pytest.raises(ValueError, match=message):
        kind.read_config(section)
