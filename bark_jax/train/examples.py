"""One training example at a time, by the very functions that lay out generation's prompts.

This is what an example is. `batches.py` makes many of them at once on the device, equal to these.
"""

import numpy as np

from bark_jax import coarse, semantic
from bark_jax.tokens import TokenConfig, flatten_codebooks
from bark_jax.train.batches import IGNORED
from bark_jax.voices import Voice

Example = dict[str, np.ndarray]  # and batches of them
BUCKET = 32  # lengths of a batch are rounded up to a multiple: each length is a program


def semantic_example(ids: np.ndarray, units: np.ndarray, voice: Voice | None, tokens: TokenConfig) -> Example:
    """Lay out one text and its units: the `prompt` (2, p), the `inputs` after it and their `targets`."""
    units = units[: tokens.max_new_tokens]
    end = [tokens.eos_token_id] if len(units) < tokens.max_new_tokens else []
    targets = np.concatenate([units, end]).astype(np.int32)
    inputs = np.concatenate([[tokens.semantic_infer_token], targets[:-1]]).astype(np.int32)
    return {"prompt": semantic.prompt(ids, voice, tokens), "inputs": inputs, "targets": targets}


def coarse_example(
    units: np.ndarray, codes: np.ndarray, step: int, voice: Voice | None, tokens: TokenConfig
) -> Example:
    """Lay out the window in which generation samples the flat coarse ids from number `step` on.

    The ids that it is given before them are targets too: they teach as much.
    """
    old_units, old = coarse.history(voice, tokens)
    all_units = np.concatenate([old_units, units])
    flat = flatten_codebooks(codes[: tokens.n_coarse_codebooks], tokens)[: coarse.steps_for(len(units), tokens)]
    whole = np.concatenate([old, flat])[: len(old) + step + tokens.sliding_window_len]
    seen = whole[max(0, len(old) + step - tokens.max_coarse_history) :]
    head = coarse.window_head(all_units, len(old_units), step, tokens)
    inputs = np.concatenate([head[-1:], seen[:-1]]).astype(np.int32)
    return {"prompt": head[None, :-1], "inputs": inputs, "targets": seen.astype(np.int32)}


def fine_example(codes: np.ndarray, voice: Voice | None, tokens: TokenConfig, rng: np.random.Generator) -> Example:
    """Cut a window of frames (q, t), padded as in generation; the frames from `begin` to `end` are predicted.

    Generation writes codes into the padding too, of all codebooks but the given. What it writes there is not
    taught; here random codes stand for it, so that the model learns to look at padding without believing it.
    """
    length = tokens.max_fine_input_length
    old = codes[:, :0] if voice is None else voice.fine[:, -tokens.max_fine_history_length :]
    whole = np.concatenate([old, codes], axis=1)
    first = int(rng.integers(0, max(1, whole.shape[1] - length + 1)))
    cut = whole[:, first : first + length]
    window = np.full((len(codes), length), tokens.fine_pad_token, np.int32)
    random_codes = rng.integers(0, tokens.codebook_size, window.shape)
    window[tokens.n_coarse_codebooks :] = random_codes[tokens.n_coarse_codebooks :]
    window[:, : cut.shape[1]] = cut
    begin = max(0, old.shape[1] - first) if first == 0 else int(rng.choice([0, length // 2]))
    return {"codes": window, "begin": np.array(begin, np.int32), "end": np.array(cut.shape[1], np.int32)}


def stack(examples: list[Example]) -> Example:
    """Make a batch of sequences, padded on the right to a multiple of `BUCKET`."""
    length = -(-max(len(each["targets"]) for each in examples) // BUCKET) * BUCKET
    fill = {"inputs": 0, "targets": IGNORED}
    batch = {
        name: np.stack([np.pad(each[name], (0, length - len(each[name])), constant_values=pad) for each in examples])
        for name, pad in fill.items()
    }
    return batch | {"prompt": np.stack([each["prompt"] for each in examples])}
