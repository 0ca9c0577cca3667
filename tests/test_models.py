"""A checkpoint is loaded as it is, or refused with a sentence; none of its code is run."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file
from tiny import picture, tiny_llava

from resprune import models
from resprune.errors import InputError
from resprune.layouts import LAYOUTS
from resprune.models import CATALOGUE, assets_dir, default_dtype, load, locate
from resprune.prompt import build_inputs

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a small checkpoint; not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    for part in tiny_llava(grid=6):
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(saved, tmp_path / "model")


def test_a_folder_is_loaded_as_it_was_saved(saved):
    expected, processor = tiny_llava(grid=6)
    model, loaded = load(str(saved), dtype=torch.float32)
    inputs = build_inputs(processor, picture(), "What is it?")
    again = build_inputs(loaded, picture(), "What is it?")
    assert inputs.keys() == again.keys() and all(torch.equal(inputs[name], again[name]) for name in inputs)
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, expected(**inputs).logits)
    assert not model.training and model.name_or_path == str(saved)


def test_the_type_of_numbers_can_be_chosen(saved):
    assert load(str(saved), dtype=torch.bfloat16)[0].dtype == torch.bfloat16


def test_the_bundled_model_is_what_the_catalogue_says():
    model, _ = load()
    assert (model.name_or_path, model.config.model_type) == ("bundled", CATALOGUE["bundled"].family)
    assert CATALOGUE["bundled"].parameters == round(sum(p.numel() for p in model.parameters()) / 1e6)
    assert locate("bundled") == assets_dir() / "bundled"


def test_every_family_of_the_catalogue_is_supported():
    assert CATALOGUE.keys() == {entry.id for entry in CATALOGUE.values()}
    assert {entry.family for entry in CATALOGUE.values()} <= LAYOUTS.keys()


def test_assets_may_lie_elsewhere(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("RESPRUNE_ASSETS", str(tmp_path))
    with pytest.raises(InputError, match="RESPRUNE_ASSETS"):
        load("bundled")
    (tmp_path / "bundled").symlink_to(saved)
    assert load("bundled")[0].name_or_path == "bundled"


@pytest.mark.parametrize("name", ["no/such-model", "./nothing", "/nothing/at/all", "", "~nobody-here/x"])
def test_an_unknown_model_is_refused(name):
    with pytest.raises(InputError, match=r"There is no model .*bundled"):
        load(name)


def pickle_the_weights(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder / "adapter.safetensors")


def write_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def drop_a_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors[next(name for name in tensors if "linear_1.weight" in name)]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def cut_the_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "config.json").unlink(), "no readable config.json"),
        (lambda f: (f / "config.json").write_text("{"), "no readable config.json"),
        (lambda f: (f / "config.json").write_text("[]"), "no readable config.json"),
        (lambda f: write_config(f, model_type="bert"), "family 'bert'; supported: llava"),
        (lambda f: write_config(f, model_type=None), "family 'None'"),
        (lambda f: write_config(f, model_type=["llava"]), "family"),
        (lambda f: (f / "model.safetensors").unlink(), "no weights"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickled"),
        (pickle_the_weights, "cannot be read"),
        (drop_a_tensor, "lacks weights such as .*linear_1.weight"),
        (cut_the_weights, "cannot be read"),
        (lambda f: (f / "processor_config.json").unlink(), "cannot be read"),
        (lambda f: (f / "tokenizer.json").unlink(), "cannot be read"),
        (
            lambda f: write_config(f, text_config={"model_type": "llama", "hidden_size": 32}),
            "lacks weights|cannot be read",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_incomplete_folder_is_refused_in_one_line(folder, damage, says):
    damage(folder)
    with pytest.raises(InputError, match=says) as refused:
        load(str(folder))
    assert "\n" not in str(refused.value)


def test_code_that_comes_with_a_checkpoint_is_not_run(folder, tmp_path):
    marker = tmp_path / "was run"
    (folder / "custom.py").write_text(f"open({str(marker)!r}, 'w')\nclass Custom: pass\n")
    write_config(folder, auto_map={"AutoModelForImageTextToText": "custom.Custom", "AutoConfig": "custom.Custom"})
    load(str(folder))
    assert not marker.exists()


def test_without_a_network_a_model_that_is_not_here_is_refused(monkeypatch):
    monkeypatch.setenv("RESPRUNE_ALLOW", "other/model, nobody/not-on-this-machine")
    with pytest.raises(InputError, match="cannot be reached"):
        load("nobody/not-on-this-machine")
    with pytest.raises(InputError, match="There is no model"):
        load("nobody/something-else")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RepositoryNotFoundError, "no model .* on the Hugging Face hub"),
        (GatedRepoError, "accept its licence"),
        (ConnectionError, "cannot be fetched .*the cable is out"),
        (HTTPError, "cannot be fetched .*the cable is out"),
    ],
)
def test_what_the_hub_says_is_put_in_a_sentence(error, says, monkeypatch):
    def fail(*_, **__):
        if issubclass(error, RepositoryNotFoundError):
            raise error("no", response=SimpleNamespace(headers={}, request=None))
        raise error("the cable is out")

    monkeypatch.setattr(models, "hf_hub_download", fail)
    with pytest.raises(InputError, match=says):
        load("llava-hf/llava-1.5-7b-hf")


def test_a_name_that_cannot_be_one_is_refused(monkeypatch):
    monkeypatch.setenv("RESPRUNE_ALLOW", "a/b/c")
    with pytest.raises(InputError, match=r"no model .* on the Hugging Face hub"):
        load("a/b/c")


def test_from_the_hub_only_safe_files_of_a_supported_family_are_fetched(folder, monkeypatch):
    fetched = []

    def snapshot(_, allow_patterns):
        fetched.extend(allow_patterns)
        return str(folder)

    monkeypatch.setattr(models, "hf_hub_download", lambda _, name: str(folder / name))
    monkeypatch.setattr(models, "snapshot_download", snapshot)
    assert load("llava-hf/llava-1.5-7b-hf")[0].name_or_path == "llava-hf/llava-1.5-7b-hf"
    assert "*.safetensors" in fetched and not {"*", "*.bin", "*.py", "*.pt", "*.pth"} & set(fetched)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights"):
        load("llava-hf/llava-1.5-7b-hf")
    fetched.clear()
    write_config(folder, model_type="bert")
    with pytest.raises(InputError, match="supported: llava"):
        load("llava-hf/llava-1.5-7b-hf")
    assert fetched == [], "nothing large is fetched in vain"


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(saved, device):
    with pytest.raises(InputError, match=device):
        load(str(saved), device=device)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2", "avx512f"}, torch.float32),
        ({"avx512_bf16"}, torch.bfloat16),
        ({"amx_bf16"}, torch.bfloat16),
        (set(), torch.float32),
    ],
)
def test_processors_get_what_they_are_fast_in(flags, expected, monkeypatch):
    monkeypatch.setattr(models, "_cpu_flags", lambda: flags)
    assert default_dtype(CPU) == expected


@pytest.mark.parametrize(("supported", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_graphics_cards_get_what_they_are_fast_in(supported, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert default_dtype(CUDA) == expected
