"""The Hugging Face Hub, played by a server on this machine: publishing, fetching, the cache, and all that can fail."""

import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import on_engine, speech_like_mel, tiny_config, tiny_network
from hub import ANNA, OTHER, serve
from vocoder.bundles.bundle import CONFIG_FILE, WEIGHTS_FILE, Bundle, save_bundle
from vocoder.bundles.card import write_card
from vocoder.bundles.hub import download, push
from vocoder.cli import main
from vocoder.inference.vocoder import Vocoder

pytest.importorskip("huggingface_hub")
# huggingface_hub 2.4 on its own HTTP client, where hf_xet does not upload.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "anna/voice"
TRAINING = {"data": "Anna, reading", "steps": 7}


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch):
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family != socket.AF_UNIX and address[0] != "127.0.0.1":
            raise AssertionError(f"a test reached out to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def surroundings(monkeypatch, forget, tmp_path):
    """Sets environment variables, which huggingface_hub reads when it is imported: so it is imported anew."""

    def change(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        forget("huggingface_hub")

    change(
        HF_HOME=str(tmp_path / "cache"),
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_XET="1",  # which the stand-in does not speak; the commit is the same
        HF_TOKEN=ANNA,
        NO_PROXY="127.0.0.1",
    )
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    return change


@pytest.fixture
def hub(surroundings):
    with serve() as server:
        surroundings(HF_ENDPOINT=server.address)
        yield server


def tiny_bundle(training=TRAINING, **changes):
    config = tiny_config(**changes)
    return Bundle(config, tiny_network(config), dict(training))


def files_of(bundle, folder):
    save_bundle(folder, *bundle)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def infer(model, mel):
    return on_engine(model).infer(mel)


# --- publishing


def test_what_is_pushed_comes_back_with_the_same_sound(hub):
    bundle = tiny_bundle()
    mel = speech_like_mel(bundle.config.mel, 5)[0]
    url = push(bundle, NAME)
    assert url == f"{hub.address}/{NAME}"
    back = Vocoder.from_pretrained(NAME)
    assert back.training == TRAINING
    assert torch.equal(infer(back, mel), infer(Vocoder(bundle.config, bundle.network), mel))


def test_a_push_is_one_commit_of_bundle_and_card(hub):
    push(tiny_bundle(), NAME, message="Better")
    repository = hub.repositories[NAME]
    assert repository.messages == ["initial commit", "Better"]
    files = repository.commits[repository.branches["main"]]
    assert set(files) == {".gitattributes", CONFIG_FILE, WEIGHTS_FILE, "README.md"}
    assert files["README.md"].decode() == write_card(tiny_bundle(), NAME)


def test_pushing_again_replaces_the_model_and_keeps_the_repository(hub):
    push(tiny_bundle(), NAME, private=True)
    push(tiny_bundle({"steps": 8}), NAME)
    assert hub.repositories[NAME].private
    assert Vocoder.from_pretrained(NAME).training == {"steps": 8}


def test_a_branch_is_made_and_fetched_by_its_name(hub):
    push(tiny_bundle(), NAME)
    push(tiny_bundle({"steps": 8}), NAME, revision="v2")
    push(tiny_bundle({"steps": 9}), NAME, revision="v2")
    first = hub.repositories[NAME].branches["main"]
    assert [Vocoder.from_pretrained(NAME, revision=r).training["steps"] for r in ("main", "v2", first)] == [7, 9, 7]


def test_the_command_pushes_and_prints_where(hub, tmp_path, capsys):
    save_bundle(tmp_path / "model", *tiny_bundle())
    assert main(["push", str(tmp_path / "model"), NAME, "--private", "--revision", "v1", "--message", "One"]) == 0
    assert capsys.readouterr().out == f"{hub.address}/{NAME}\n"
    repository = hub.repositories[NAME]
    assert repository.private
    assert repository.messages == ["initial commit", "One"]
    assert repository.branches["v1"] != repository.branches["main"]


@pytest.mark.parametrize(
    ("token", "reason"), [("hf_typo", "does not know you"), (OTHER, "may not write to anna/voice")]
)
def test_who_may_not_write_is_told_what_to_do(token, reason, hub):
    with pytest.raises(OSError, match=f"anna/voice was not pushed: .*{reason}"):
        push(tiny_bundle(), NAME, token=token)
    assert hub.repositories == {}


def test_without_a_token_the_remedy_is_to_log_in(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(OSError, match=r"was not pushed: .* Run `hf auth login`, or set HF_TOKEN"):
        push(tiny_bundle(), NAME)


def test_a_push_that_fails_leaves_the_model_that_was_there(hub):
    push(tiny_bundle(), NAME)
    hub.fail = 400
    with pytest.raises(OSError, match=r"(?s)anna/voice was not pushed: .*bad day.*what was there before is unchanged"):
        push(tiny_bundle({"steps": 8}), NAME)
    assert Vocoder.from_pretrained(NAME).training["steps"] == 7


def test_a_push_needs_the_name_of_its_owner(hub):
    with pytest.raises(ValueError, match=r"`repo_id` must be `user/name`, but is 'voice'"):
        push(tiny_bundle(), "voice")
    assert hub.requests == []


# --- fetching


def test_only_the_bundle_is_fetched(hub, tmp_path):
    hub.add(NAME, {**files_of(tiny_bundle(), tmp_path / "model"), "README.md": b"", "optimizer.ckpt": b"huge"})
    assert {file.name for file in download(NAME).iterdir()} == {CONFIG_FILE, WEIGHTS_FILE}


def test_an_unknown_repository_is_said_so(hub):
    with pytest.raises(OSError, match=r"no folder 'anna/voice', .*there is no model anna/voice, or none that you may"):
        download(NAME)


def test_a_private_repository_is_open_to_its_owner_only(hub, surroundings, tmp_path):
    hub.add(NAME, files_of(tiny_bundle(), tmp_path / "model"), private=True)
    surroundings(HF_TOKEN=OTHER)
    with pytest.raises(OSError, match=r"or none that you may see\. .*`hf auth login`"):
        download(NAME)
    surroundings(HF_TOKEN=ANNA)
    download(NAME)


def test_an_unknown_revision_is_said_so(hub, tmp_path):
    hub.add(NAME, files_of(tiny_bundle(), tmp_path / "model"))
    with pytest.raises(OSError, match=r"anna/voice has no revision 'v9'\. Pass a branch, a tag or a commit"):
        download(NAME, "v9")


@pytest.mark.parametrize("missing", [CONFIG_FILE, WEIGHTS_FILE])
def test_a_repository_of_something_else_is_no_vocoder(missing, hub, tmp_path):
    files = files_of(tiny_bundle(), tmp_path / "model")
    hub.add(NAME, {name: content for name, content in files.items() if name != missing})
    with pytest.raises(OSError, match=f"but anna/voice has no {missing}. .*`vocoder push MODEL anna/voice`"):
        Vocoder.from_pretrained(NAME)


# --- the cache


def test_what_was_fetched_once_needs_no_hub(hub, surroundings):
    push(tiny_bundle(), NAME, revision="v1")
    Vocoder.from_pretrained(NAME, revision="v1")
    surroundings(HF_HUB_OFFLINE="1")
    before = len(hub.requests)
    assert Vocoder.from_pretrained(NAME, revision="v1").training == TRAINING
    assert len(hub.requests) == before
    with pytest.raises(OSError, match=r"(?s)the hub did not answer .*the cache holds no copy of v2\. .*HF_HUB_OFFLINE"):
        Vocoder.from_pretrained(NAME, revision="v2")


def test_a_hub_out_of_reach_is_replaced_by_the_cache(hub, surroundings):
    push(tiny_bundle(), NAME)
    Vocoder.from_pretrained(NAME)
    surroundings(HF_ENDPOINT="http://127.0.0.1:9")  # where nobody listens
    assert Vocoder.from_pretrained(NAME).training == TRAINING
    with pytest.raises(OSError, match=r"could not be fetched .*the hub did not answer .*cache holds no copy of main"):
        download("anna/other")


def test_a_cache_that_another_program_has_filled_is_read(surroundings, tmp_path):
    surroundings(HF_HUB_OFFLINE="1")
    commit = "0123456789" * 4
    repository = tmp_path / "cache" / "hub" / "models--anna--voice"
    save_bundle(repository / "snapshots" / commit, *tiny_bundle())
    (repository / "refs").mkdir()
    (repository / "refs" / "v1").write_text(commit)
    for revision in ("v1", commit):
        assert Vocoder.from_pretrained(NAME, revision=revision).training == TRAINING


def test_half_a_model_in_the_cache_is_never_taken(surroundings, tmp_path):
    surroundings(HF_HUB_OFFLINE="1")
    commit = "0123456789" * 4
    folder = tmp_path / "cache" / "hub" / "models--anna--voice" / "snapshots" / commit
    save_bundle(folder, *tiny_bundle())
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(OSError, match=f"anna/voice has no {WEIGHTS_FILE}"):
        Vocoder.from_pretrained(NAME, revision=commit)


def test_without_huggingface_hub_pushing_names_the_remedy(without_package):
    without_package("huggingface_hub")
    with pytest.raises(ImportError, match=r"Publishing .* needs huggingface_hub.*pip install huggingface_hub"):
        push(tiny_bundle(), NAME)


# --- what the card promises


@pytest.mark.filterwarnings("ignore:Generating with the slow reference engine")
@pytest.mark.parametrize("speakers", [0, 2])
def test_the_examples_of_the_card_run(speakers, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle = tiny_bundle(num_speakers=speakers)
    push(bundle, NAME)
    card = write_card(bundle, NAME)
    mel = speech_like_mel(bundle.config.mel, 3)[0]
    names = {"mel": mel}
    exec(card.split("```python\n")[1].split("```")[0], names)
    assert names["waveform"].shape == (3 * bundle.config.mel.hop_length,)
    np.save("mel.npy", mel.numpy())
    program, *arguments = card.split("```sh\n")[1].splitlines()[0].split()
    assert program == "vocoder"
    assert main(arguments) == 0
    assert Path("generated/mel.wav").is_file()
