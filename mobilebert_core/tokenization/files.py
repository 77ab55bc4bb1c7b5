"""Reading and writing single files: size, encoding and JSON are checked, writing is atomic.

Rules: files are untrusted: nothing in them is run, and no path in them is followed. Read next:
`loading.py`.
"""

import json
import secrets
from pathlib import Path
from typing import Any

from mobilebert_core.errors import TokenizerError
from mobilebert_core.tokenization.vocabulary import parse_vocabulary

MAXIMUM_BYTES = 256 * 1024**2


def read_text(path: Path) -> str:
    """The content of a UTF-8 file.

    Raises:
        TokenizerError: it cannot be read, is unreasonably large or no UTF-8.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAXIMUM_BYTES else b""
    except OSError as error:
        raise TokenizerError(f"{path} cannot be read: {error.strerror or error}") from error
    if size > MAXIMUM_BYTES:
        raise TokenizerError(
            f"{path} has {size} bytes, more than {MAXIMUM_BYTES}; it is no tokenizer file"
        )
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TokenizerError(
            f"{path} is no UTF-8: byte {content[error.start]:#04x} in line {line}; save it as UTF-8"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        TokenizerError: it cannot be read, is no JSON or holds no object.
    """
    try:
        value = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise TokenizerError(f"{path} is no JSON: {error}; download or save it again") from error
    if not isinstance(value, dict):
        raise TokenizerError(f"{path} holds a {type(value).__name__}; an object is expected")
    return value


def read_vocabulary(path: Any) -> dict[str, int]:
    """Word pieces and ids of a `vocab.txt`.

    Raises:
        TokenizerError: it cannot be read, or lines are empty or repeated.
    """
    if not isinstance(path, str | Path):
        raise TokenizerError(f"vocab_file is {path!r}; give the path of a vocab.txt")
    return parse_vocabulary(read_text(Path(path)), str(path))


def write_text(path: Path, content: str) -> None:
    """Write a file under another name, then rename it.

    Raises:
        TokenizerError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(content)
        temporary.replace(path)
    except OSError as error:
        raise TokenizerError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write an object as JSON.

    Raises:
        TokenizerError: it cannot be written.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
