"""Hub ids against a local stand-in of the hub, in a fresh interpreter with a cache of its own."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import mobilebert
from mobilebert_conformance.cases import small_config
from mobilebert_core import hub
from mobilebert_core.errors import CheckpointError, MissingDependencyError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
CONFIG = json.dumps({"model_type": "mobilebert"}).encode()

# What each repository of the stand-in holds; values only need to be told apart.
REPOSITORIES: dict[str, dict[str, bytes]] = {
    "someone/safe": {
        "config.json": CONFIG,
        "model.safetensors": b"safe",
        "pytorch_model.bin": b"pickle",
        "tf_model.h5": b"h5",
        "vocab.txt": b"[PAD]\n",
        "README.md": b"text",
    },
    "someone/sharded": {
        "config.json": CONFIG,
        "model.safetensors.index.json": b"{}",
        "model-00001-of-00002.safetensors": b"one",
        "model-00002-of-00002.safetensors": b"two",
    },
    "someone/pickled": {
        "config.json": CONFIG,
        "pytorch_model.bin": b"pickle",
        "training_args.bin": b"code",
        "optimizer.pt": b"code",
    },
    "someone/nested": {
        "config.json": CONFIG,
        "model.safetensors": b"safe",
        "checkpoint-500/model.safetensors": b"old",
        "checkpoint-500/config.json": CONFIG,
        "onnx/model.safetensors": b"other",
    },
    "someone/nested-pickled": {
        "config.json": CONFIG,
        "pytorch_model.bin": b"pickle",
        "checkpoint-500/pytorch_model.bin": b"old",
        "adapter/model.safetensors": b"other",
    },
    "someone/tensorflow": {
        "config.json": CONFIG,
        "tf_model.h5": b"h5",
        "flax_model.msgpack": b"msgpack",
        "saved_model.pb": b"graph",
    },
    "mobilebert-alone": {"config.json": CONFIG, "model.safetensors": b"safe"},
}


class _Hub(BaseHTTPRequestHandler):
    """Model information, tree listing and files, as huggingface_hub asks for them."""

    protocol_version = "HTTP/1.1"
    requests: list[str]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.requests.append(f"{self.command} {path}")
        for name, files in REPOSITORIES.items():
            if path.startswith(f"/api/models/{name}/tree/"):
                return self._send(json.dumps(_tree(files)).encode(), {}, body)
            if path == f"/api/models/{name}" or path.startswith(f"/api/models/{name}/revision/"):
                revision = path.rpartition("/revision/")[2] if "/revision/" in path else "main"
                if revision == "no-such-branch":
                    break
                info = {
                    "id": name,
                    "modelId": name,
                    "sha": OTHER_COMMIT if revision == "v2" else COMMIT,
                    "siblings": [{"rfilename": file} for file in files],
                }
                return self._send(json.dumps(info).encode(), {}, body)
            if path.startswith(f"/{name}/resolve/"):
                revision, _, file = path[len(f"/{name}/resolve/") :].partition("/")
                if file in files:
                    headers = {"X-Repo-Commit": revision, "ETag": f'"{_digest(files[file])}"'}
                    return self._send(files[file], headers, body)
        code = "RevisionNotFound" if "no-such-branch" in path else "RepoNotFound"
        return self._send(b"{}", {"X-Error-Code": code}, body, status=404)

    def _send(self, content: bytes, headers: dict[str, str], body: bool, status: int = 200) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


def _digest(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def _tree(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [
        {"type": "file", "path": path, "size": len(content), "oid": _digest(content)}
        for path, content in files.items()
    ]


class _StandIn:
    """A running stand-in, the requests that it saw, and a way to use it."""

    def __init__(self, port: int, requests: list[str], home: Path) -> None:
        self.port = port
        self.requests = requests
        self.home = home

    def run(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run code in a fresh interpreter that takes the stand-in for the hub."""
        kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        settings = {
            "HF_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
        }
        for name in ("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
            kept.pop(name, None)
        return subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=kept | settings | environment,
            cwd=self.home,
            timeout=120,
            check=False,
        )

    def files(self, source: str, format: str | None = None, **environment: str) -> list[str]:
        """The files that `resolve_checkpoint` brings, as paths in its folder."""
        done = self.run(
            "import sys\n"
            "from mobilebert_core.hub import resolve_checkpoint\n"
            f"folder = resolve_checkpoint({source!r}, format={format!r})\n"
            "for path in sorted(folder.rglob('*')):\n"
            "    if path.is_file(): print(path.relative_to(folder).as_posix())\n",
            **environment,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def error(self, call: str, **environment: str) -> str:
        """What a failing call of `mobilebert_core.hub` raises: class name and message."""
        done = self.run(
            "from mobilebert_core import hub\n"
            f"try: {call}\n"
            "except Exception as error: print(type(error).__name__, error)\n"
            "else: print('nothing raised')",
            **environment,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[_StandIn]:
    pytest.importorskip("huggingface_hub")
    requests: list[str] = []
    handler = type("Handler", (_Hub,), {"requests": requests})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    home = tmp_path / "home"
    home.mkdir()
    yield _StandIn(server.server_address[1], requests, home)
    server.shutdown()
    server.server_close()
    thread.join()


# Downloads ----------------------------------------------------------------------------------------


def test_safetensors_are_downloaded_and_nothing_else(stand_in: _StandIn) -> None:
    assert stand_in.files("someone/safe") == ["config.json", "model.safetensors"]
    assert not any(".bin" in request for request in stand_in.requests)


def test_all_shards_are_downloaded(stand_in: _StandIn) -> None:
    assert stand_in.files("someone/sharded") == sorted(REPOSITORIES["someone/sharded"])


def test_pickle_is_downloaded_when_there_are_no_safetensors(stand_in: _StandIn) -> None:
    assert stand_in.files("someone/pickled") == ["config.json", "pytorch_model.bin"]


def test_tensorflow_weights_are_downloaded_when_there_are_none_of_pytorch(
    stand_in: _StandIn,
) -> None:
    assert stand_in.files("someone/tensorflow") == ["config.json", "tf_model.h5"]


def test_format_that_is_asked_for_is_downloaded_alone(stand_in: _StandIn) -> None:
    assert stand_in.files("someone/safe", "hf-tf-h5") == ["config.json", "tf_model.h5"]


def test_format_of_folders_is_not_fetched_and_says_so(stand_in: _StandIn) -> None:
    with pytest.raises(CheckpointError, match="orbax, which are folders, are not fetched"):
        hub.resolve_checkpoint("someone/safe", format="orbax")


def test_subfolders_stay_on_the_hub(stand_in: _StandIn) -> None:
    assert stand_in.files("someone/nested") == ["config.json", "model.safetensors"]


def test_subfolders_stay_on_the_hub_when_weights_are_pickled(stand_in: _StandIn) -> None:
    assert stand_in.files("someone/nested-pickled") == ["config.json", "pytorch_model.bin"]


def test_id_without_an_owner_is_downloaded(stand_in: _StandIn) -> None:
    assert stand_in.files("mobilebert-alone") == ["config.json", "model.safetensors"]


def test_second_call_downloads_no_file_again(stand_in: _StandIn) -> None:
    stand_in.files("someone/safe")
    stand_in.requests.clear()
    assert stand_in.files("someone/safe") == ["config.json", "model.safetensors"]
    assert not any(request.startswith("GET /someone") for request in stand_in.requests)


def test_cached_files_are_used_when_offline(stand_in: _StandIn) -> None:
    stand_in.files("someone/safe")
    stand_in.requests.clear()
    files = stand_in.files("someone/safe", HF_HUB_OFFLINE="1")
    assert files == ["config.json", "model.safetensors"]
    assert stand_in.requests == []


def test_revision_is_passed_on(stand_in: _StandIn) -> None:
    done = stand_in.run(
        "from mobilebert_core.hub import resolve_checkpoint\n"
        "print(resolve_checkpoint('someone/pickled', revision='v2').name)"
    )
    assert done.stdout.strip() == OTHER_COMMIT


def test_tokenizer_files_are_downloaded_alone(stand_in: _StandIn) -> None:
    done = stand_in.run(
        "from mobilebert_core.hub import resolve\n"
        "from mobilebert_core.tokenization.loading import FILES\n"
        "print(*[path.name for path in resolve('someone/safe', FILES).iterdir()])"
    )
    assert done.stdout.split() == ["vocab.txt"]


def test_model_and_tokenizer_load_by_id(
    stand_in: _StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = small_config(), tmp_path / "model"
    tokenizer = mobilebert.load_tokenizer("mobilebert-uncased")
    model = mobilebert.create(config, "masked-lm", "numpy", seed=4)
    mobilebert.save(model, folder, tokenizer=tokenizer)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setitem(REPOSITORIES, "someone/real", files)

    done = stand_in.run(
        "import hashlib, mobilebert\n"
        "model = mobilebert.load('someone/real', backend='numpy')\n"
        "table = mobilebert.get_backend('numpy').weights(model)['cls.predictions.dense.weight']\n"
        "tokenizer = mobilebert.load_tokenizer('someone/real')\n"
        "print(model.head, hashlib.sha256(table).hexdigest(), *tokenizer('Call me.')['input_ids'])"
    )

    table = mobilebert.get_backend("numpy").weights(model)["cls.predictions.dense.weight"]
    ids = map(str, tokenizer("Call me.")["input_ids"])
    expected = ["masked-lm", hashlib.sha256(table).hexdigest(), *ids]
    assert done.stdout.split() == expected, done.stderr


# Errors -------------------------------------------------------------------------------------------


def test_missing_repository_raises_a_checkpoint_error(stand_in: _StandIn) -> None:
    error = stand_in.error("hub.resolve_checkpoint('someone/absent')")
    assert error.startswith("CheckpointError 'someone/absent' is no local folder")


def test_missing_revision_raises_a_checkpoint_error(stand_in: _StandIn) -> None:
    error = stand_in.error("hub.resolve_checkpoint('someone/safe', revision='no-such-branch')")
    assert error.startswith("CheckpointError 'someone/safe'")
    assert "Revision" in error


def test_unreachable_hub_raises_a_checkpoint_error(stand_in: _StandIn) -> None:
    error = stand_in.error(
        "hub.resolve_checkpoint('someone/safe')", HF_ENDPOINT="http://127.0.0.1:9"
    )
    assert error.startswith("CheckpointError 'someone/safe' is no local folder")


def test_offline_without_a_cache_raises_a_checkpoint_error(stand_in: _StandIn) -> None:
    error = stand_in.error("hub.resolve_checkpoint('someone/safe')", HF_HUB_OFFLINE="1")
    assert error.startswith("CheckpointError 'someone/safe' is no local folder")
    assert stand_in.requests == []


@pytest.mark.parametrize(
    "source",
    ["./absent", "../absent", "/absent/folder", "a/b/c", "folder/", "a b", "name\0", "..."],
)
def test_name_that_is_no_id_never_reaches_the_hub(source: str, stand_in: _StandIn) -> None:
    assert stand_in.error(f"hub.resolve_checkpoint({source!r})").startswith("CheckpointError")
    assert stand_in.requests == []


def test_missing_downloader_raises_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError) as caught:
        hub.resolve_checkpoint("google/mobilebert-uncased")
    assert 'pip install "mobilebert[hub]"' in str(caught.value)
    assert "'google/mobilebert-uncased'" in str(caught.value)


@pytest.mark.parametrize("source", ["./absent", "../absent/model", "absent/", "a/b/c"])
def test_local_path_that_is_absent_is_not_taken_for_an_id(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody who types a path should be told to install a downloader.
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match="does not exist"):
        hub.resolve_checkpoint(source)


@pytest.mark.parametrize("source", ["~nobody-of-this-name/model", "a" * 5000, "", " ", "nul\0"])
def test_odd_name_raises_a_checkpoint_error(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises((CheckpointError, MissingDependencyError)):
        hub.resolve_checkpoint(source)


def test_path_object_is_never_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        hub.resolve_checkpoint(Path("google/mobilebert-uncased"))


# Local paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [str, Path])
def test_local_folder_never_touches_the_network(
    make: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    (tmp_path / "config.json").write_bytes(CONFIG)
    assert hub.resolve_checkpoint(make(tmp_path)) == tmp_path


def test_local_folder_of_an_ids_name_wins(stand_in: _StandIn) -> None:
    (stand_in.home / "someone" / "safe").mkdir(parents=True)
    (stand_in.home / "someone" / "safe" / "pytorch_model.bin").write_bytes(b"")
    assert stand_in.files("someone/safe") == ["pytorch_model.bin"]
    assert stand_in.requests == []


def test_local_file_is_itself(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    assert hub.resolve_checkpoint(path) == path


def test_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert hub.resolve_checkpoint("~/model") == tmp_path / "model"
