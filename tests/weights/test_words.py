"""Tokens of texts by byte pairs, and embeddings of phrases made by the command line from a file's text tower."""

import gzip
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.cli import main
from jaxqc.errors import UserError
from jaxqc.models import clip
from jaxqc.models.arrays import flatten
from jaxqc.models.clip import ClipSpec, ClipText
from jaxqc.models.pretrained_clip import file_names
from jaxqc.semi.language import read_phrases
from jaxqc.weights.words import Vocabulary

PAIRS = ("h e", "l l", "he ll", "hell o</w>", "t h", "th e</w>")
SPEC = ClipSpec(64, 1, 2, 8, 2, 16, (0,), 32, 2, 1, 12, 512 + len(PAIRS) + 2)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "bpe.txt.gz"
    path.write_bytes(gzip.compress("\n".join(["version", *PAIRS, ""]).encode()))
    return path


def test_pairs_are_merged_best_first(vocabulary: Path) -> None:
    """The publishers' rules by hand: 256 bytes, the same ending a word, the pairs, start and end."""
    words, first = Vocabulary(vocabulary), 512
    start, end = first + len(PAIRS), first + len(PAIRS) + 1
    byte = lambda c: ord(c) - ord("!")
    assert words.tokens("Hello  THE", 6).tolist() == [start, first + 3, first + 5, end, 0, 0]
    assert words.tokens("hell", 6).tolist() == [start, first, byte("l"), 256 + byte("l"), end, 0]
    with pytest.raises(UserError, match="has 5 tokens, more than 4"):
        words.tokens("hell", 4)


def test_a_damaged_vocabulary_is_named(vocabulary: Path) -> None:
    whole = bytearray(vocabulary.read_bytes())
    for content in (b"not gzip", bytes(whole[:-9]), bytes([*whole[:12], *(255 - x for x in whole[12:])])):
        vocabulary.write_bytes(content)
        with pytest.raises(UserError, match=r"--vocabulary: .* cannot be read .*; give bpe_simple_vocab"):
            Vocabulary(vocabulary)


def test_the_command_makes_phrases(vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(clip.CLIPS, "small", SPEC)
    params = jax.jit(ClipText(SPEC).init)(jax.random.key(0), jnp.zeros((1, 12), jnp.int32))
    arrays = {}
    for path, value in flatten(params).items():
        arrays[file_names(path, text=True)[0]] = value.T if path[-1] == "kernel" else value
    np.savez(tmp_path / "clip.npz", **arrays)
    out = tmp_path / "words.npz"
    command = ["convert", str(tmp_path / "clip.npz"), str(out), "--text", "the {}", "--names", "hello,hell"]
    assert main([*command, "--vocabulary", str(vocabulary), "--model", "small"]) == 0
    found = read_phrases(out, ("hell", "hello"), 16)
    tokens = np.stack([Vocabulary(vocabulary).tokens(f"the {name}", 12) for name in ("hello", "hell")])
    np.testing.assert_allclose(found.values, ClipText(SPEC).apply(params, jnp.asarray(tokens)), atol=1e-5)
    assert found.owner.tolist() == [1, 0]
    assert main([*command, "--model", "small"]) == 2  # no vocabulary
