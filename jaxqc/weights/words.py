"""CLIP's tokens of a text, by its publishers' vocabulary of byte pairs, and embeddings of phrases for classes."""

import gzip
import html
import itertools
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxqc.errors import UserError
from jaxqc.models.clip import ClipText, clip_spec
from jaxqc.models.pretrained_clip import convert_clip
from jaxqc.weights.files import read_arrays

MERGES = 49_152 - 256 - 2
"""Pairs of the published vocabulary that are used."""
_WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE)


@lru_cache
def letters() -> dict[int, str]:
    """A printable letter for each byte."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(others)}


class Vocabulary:
    """Pairs of a file such as `bpe_simple_vocab_16e6.txt.gz` (it comes with the package open_clip_torch).

    Raises:
      UserError: no such file, or one of another kind.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            text = gzip.decompress(Path(path).read_bytes()).decode("utf-8")
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as e:
            raise UserError(f"--vocabulary: {path}: cannot be read ({e}); give bpe_simple_vocab_16e6.txt.gz") from e
        pairs = [tuple(line.split()) for line in text.split("\n")[1 : MERGES + 1] if line.strip()]
        if not pairs or any(len(pair) != 2 for pair in pairs):
            raise UserError(f"--vocabulary: {path}: lines are no pairs; give bpe_simple_vocab_16e6.txt.gz")
        single = sorted(letters().values(), key=lambda c: (ord(c) >= 256, ord(c)))
        words = [*single, *(c + "</w>" for c in single), *("".join(pair) for pair in pairs)]
        words += ["<|startoftext|>", "<|endoftext|>"]
        self.ids = {word: i for i, word in enumerate(words)}
        self.rank = {pair: i for i, pair in enumerate(pairs)}

    def tokens(self, text: str, context: int = 77) -> Int[np.ndarray, " {context}"]:
        """Start, the text's tokens, end, and zeros.

        Raises:
          UserError: more tokens than the context takes.
        """
        found = [self.ids["<|startoftext|>"]]
        for word in _WORD.findall(re.sub(r"\s+", " ", html.unescape(text)).strip().lower()):
            found += [self.ids[part] for part in self._parts("".join(letters()[b] for b in word.encode("utf-8")))]
        found.append(self.ids["<|endoftext|>"])
        if len(found) > context:
            raise UserError(f"--text: {text!r} has {len(found)} tokens, more than {context}; shorten it")
        return np.array([*found, *[0] * (context - len(found))], np.int32)

    def _parts(self, word: str) -> list[str]:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            ranks = [self.rank.get((a, b), len(self.rank)) for a, b in itertools.pairwise(parts)]
            best = min(ranks)
            if best == len(self.rank):
                break
            pair = next((parts[i], parts[i + 1]) for i, r in enumerate(ranks) if r == best)
            merged, i = [], 0
            while i < len(parts):
                both = tuple(parts[i : i + 2]) == pair
                merged.append("".join(pair) if both else parts[i])
                i += 2 if both else 1
            parts = merged
        return parts


def embed(
    file: str | Path, vocabulary: str | Path, texts: Sequence[str], model: str = "clip_vitb16"
) -> Float[np.ndarray, "p e"]:
    """Unit embeddings of texts by the text tower of a CLIP file.

    Raises:
      UserError: a file that brings no text tower, or a text that is too long.
    """
    spec, words = clip_spec(model), Vocabulary(vocabulary)
    arrays, _ = read_arrays(Path(file))
    try:
        variables, _ = convert_clip(arrays, model, text=True)
    except UserError as e:
        raise UserError(f"{file}: {e}; embeddings of words need a file with CLIP's text tower") from e
    tokens = np.stack([words.tokens(text, spec.context) for text in texts])
    return np.asarray(jax.jit(ClipText(spec).apply)(variables, jnp.asarray(tokens)))


def write_phrases(path: str | Path, names: Sequence[str], template: str, values: np.ndarray) -> None:
    """An `.npz` of `values`, the phrases as `names`, and `class_of`, the class of each.

    Raises:
      UserError: another ending than `.npz`, or a folder that cannot be written.
    """
    if Path(path).suffix != ".npz":
        raise UserError(f"{path}: embeddings of words end in .npz")
    phrases = [template.replace("{}", name) for name in names]
    try:
        np.savez(path, values=values.astype(np.float32), names=np.array(phrases), class_of=np.array(list(names)))
    except OSError as e:
        raise UserError(f"{path}: cannot be written ({e.strerror or e}); choose another OUT") from e
