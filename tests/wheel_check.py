"""Run by `nox -s wheel` in an environment that holds the built wheel and nothing of the checkout.

Usage: python wheel_check.py PATH_OF_THE_WHEEL
"""

import sys
import tempfile
import zipfile
from pathlib import Path

EXPECTED = {
    "mobilebert",
    "mobilebert_core",
    "mobilebert_training",
    "mobilebert_numpy",
    "mobilebert_torch",
    "mobilebert_tf",
    "mobilebert_jax",
    "mobilebert_conformance",
}


def check_names(wheel: Path) -> None:
    """The wheel puts exactly our names into site-packages."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
    names = {name for name in names if not name.endswith(".dist-info")}
    assert names == EXPECTED, f"top-level names {sorted(names)}, expected {sorted(EXPECTED)}"


def check_packaged() -> None:
    """The packaged model and its tokenizer, by default and by name."""
    import mobilebert

    batch = mobilebert.load_tokenizer()("It was a dark [MASK].", return_tensors="np")
    output = mobilebert.load(backend="numpy")(**batch)
    named = mobilebert.load("mobilebert-nano", backend="numpy")
    assert output.logits.shape[-1] == named.config.vocab_size == 8000, output.logits.shape
    (words,) = mobilebert.fill_mask("It was a dark [MASK].", backend="numpy")
    assert len(words.masks[0]) == 5, words


def check_use() -> None:
    """A tokenizer without files; a checkpoint saved, loaded, converted; a head on real text."""
    import mobilebert

    assert "site-packages" in str(mobilebert.__file__), mobilebert.__file__
    config = mobilebert.Config(num_hidden_layers=2)
    tokenizer = mobilebert.load_tokenizer("mobilebert-uncased")
    with tempfile.TemporaryDirectory() as folder:
        made = mobilebert.create(config, "masked-lm", backend="numpy", seed=3)
        mobilebert.save(made, Path(folder) / "model", tokenizer=tokenizer)
        model = mobilebert.load(Path(folder) / "model", backend="numpy")
        again = mobilebert.load_tokenizer(Path(folder) / "model")
        mobilebert.convert(Path(folder) / "model", Path(folder) / "google", to="google-tf1")
        assert mobilebert.diff(Path(folder) / "model", Path(folder) / "google").same
    output = model(**again("Paris is the [MASK] of France.", return_tensors="np"))
    assert output.logits.shape == (1, 9, config.vocab_size), output.logits.shape


if __name__ == "__main__":
    check_names(Path(sys.argv[1]))
    check_packaged()
    check_use()
    print("the wheel works")
