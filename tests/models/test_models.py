"""A checkpoint is loaded as it is, or refused with a sentence; none of its code is run."""

import hashlib
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file
from tiny import picture, tiny_llava
from true_configs import TRUE_CONFIGS

import resprune
from resprune.device import dtypes
from resprune.device.dtypes import default_dtype, faster_on_cpu
from resprune.errors import InputError
from resprune.layouts import LAYOUTS
from resprune.models import hub, loading
from resprune.models.catalogue import CATALOGUE
from resprune.models.fit import weigh
from resprune.models.hub import assets_dir, locate
from resprune.models.loading import load, unload
from resprune.question.prompt import build_inputs

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
    assert CATALOGUE["bundled"].parameters == round(sum(p.numel() for p in model.parameters()) / 1e6, 1)
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


def old_form_alone(folder):
    """As the hub had it before processors had a file of their own: without what only that tells."""
    told = json.loads((folder / "processor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(
        json.dumps(told["image_processor"] | {"processor_class": "LlavaProcessor"})
    )
    (folder / "processor_config.json").unlink()


def forget_the_patches(folder):
    told = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps(told | {"patch_size": None}))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "config.json").unlink(), "no readable config.json"),
        (lambda f: (f / "config.json").write_text("{"), "no readable config.json"),
        (lambda f: (f / "config.json").write_text("[]"), "no readable config.json"),
        (lambda f: write_config(f, model_type="bert"), "family 'bert'; supported: .*llava"),
        (lambda f: write_config(f, model_type=None), "family 'None'"),
        (lambda f: write_config(f, model_type=["llava"]), "family"),
        (lambda f: (f / "model.safetensors").unlink(), "no weights"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickled"),
        (pickle_the_weights, "cannot be read"),
        (drop_a_tensor, "lacks weights such as .*linear_1.weight"),
        (cut_the_weights, "cannot be read"),
        (lambda f: (f / "processor_config.json").unlink(), "has no processor_config.json, .* LlavaProcessor"),
        (old_form_alone, "has no processor_config.json, .* LlavaProcessor"),
        (forget_the_patches, "has an incomplete processor_config.json, .* LlavaProcessor"),
        (lambda f: write_config(f, architectures=["LlavaLlamaForCausalLM"]), r"LLaVA's own code .*conversion"),
        (lambda f: write_config(f, model_type="llava_qwen", architectures=["LlavaQwenForCausalLM"]), "own code"),
        (lambda f: (f / "model.safetensors").rename(f / "consolidated.safetensors"), "consolidated.* add its other"),
        (lambda f: (f / "tokenizer.json").unlink(), "cannot be read"),
        (
            lambda f: write_config(f, text_config={"model_type": "llama", "hidden_size": 32}),
            "their shapes differ",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_incomplete_folder_is_refused_in_one_line(folder, damage, says):
    damage(folder)
    with pytest.raises(InputError, match=says) as refused:
        load(str(folder))
    assert "\n" not in str(refused.value)


def test_weights_that_are_not_those_stated_are_refused(folder):
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "checksums.sha256").write_text(f"{digest}  model.safetensors\n")
    load(str(folder))
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1  # a number, and still a valid file
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(InputError, match=r"model\.safetensors .*damaged"):
        load(str(folder))


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

    monkeypatch.setattr(hub, "hf_hub_download", fail)
    with pytest.raises(InputError, match=says):
        load("llava-hf/llava-1.5-7b-hf")


def test_a_name_that_cannot_be_one_is_refused(monkeypatch):
    monkeypatch.setenv("RESPRUNE_ALLOW", "a/b/c")
    with pytest.raises(InputError, match=r"no model .* on the Hugging Face hub"):
        load("a/b/c")


def test_from_the_hub_only_safe_files_of_a_supported_family_are_fetched(folder, monkeypatch):
    fetched = []

    def snapshot(_, allow_patterns, ignore_patterns, tqdm_class):
        fetched.extend(allow_patterns)
        theirs = [
            "model-00001-of-00010.safetensors",
            "consolidated.safetensors",
            "vae/model.safetensors",
            "params.json",
        ]
        ours = filter_repo_objects(theirs, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns)
        assert list(ours) == ["model-00001-of-00010.safetensors", "params.json"]
        return str(folder)

    monkeypatch.setattr(hub, "hf_hub_download", lambda _, name: str(folder / name))
    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    assert load("llava-hf/llava-1.5-7b-hf")[0].name_or_path == "llava-hf/llava-1.5-7b-hf"
    assert "*.safetensors" in fetched and not {"*", "*.bin", "*.py", "*.pt", "*.pth"} & set(fetched)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights"):
        load("llava-hf/llava-1.5-7b-hf")
    fetched.clear()
    write_config(folder, model_type="bert")
    with pytest.raises(InputError, match=r"supported: .*llava"):
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
        ({"avx512_bf16"}, torch.float16),  # stands for what was measured
        ({"amx_bf16"}, torch.bfloat16),
        (set(), torch.float32),
    ],
)
def test_processors_get_what_they_are_fast_in(flags, expected, monkeypatch):
    monkeypatch.setattr(dtypes, "processor_flags", lambda: flags)
    monkeypatch.setattr(dtypes, "faster_on_cpu", lambda: torch.float16)
    assert default_dtype(CPU) == expected


def test_what_a_processor_is_fast_in_is_measured_once():
    assert faster_on_cpu() in (torch.bfloat16, torch.float32)
    assert faster_on_cpu.cache_info().misses == 1


@pytest.mark.parametrize(("supported", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_graphics_cards_get_what_they_are_fast_in(supported, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert default_dtype(CUDA) == expected


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_the_bundled_model_answers_pruned_when_quantised(quantization):
    """A real quantised forward pass on the CPU; vision tower and projector stay as they were."""
    plain, processor = load(dtype=torch.bfloat16)
    model, _ = load(quantization=quantization, dtype=torch.bfloat16)
    quantised = {type(m).__name__ for m in model.get_decoder().modules() if isinstance(m, torch.nn.Linear)}
    assert quantised == {{"8bit": "Linear8bitLt", "4bit": "Linear4bit"}[quantization]}
    for name in ("vision_tower", "multi_modal_projector"):
        ours, theirs = (getattr(m.model, name).state_dict() for m in (model, plain))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    inputs = build_inputs(processor, picture(0, 336, 336), "What is in the picture?")
    with resprune.pruned(model, processor, keep=32):
        answer = model.generate(**inputs, max_new_tokens=4, do_sample=False)
        assert model.resprune.last[0].tokens_kept == 32
    assert answer.shape[1] > inputs["input_ids"].shape[1]
    weights = weigh(plain.config, CPU)
    held = sum(p.numel() * p.element_size() for p in model.parameters())
    if quantization == "4bit":  # scales are kept apart from the packed numbers
        held += sum(scales(m.weight.quant_state) for m in model.modules() if type(m).__name__ == "Linear4bit")
    assert abs(weights.bytes(quantization, torch.bfloat16) - held) < 0.05 * held
    assert weights.bytes(quantization, torch.bfloat16) < 0.9 * weights.bytes(None, torch.bfloat16)


def scales(state):
    parts = (state.absmax, state.state2.absmax) if state.nested else (state.absmax,)
    return sum(part.numel() * part.element_size() for part in parts)


@pytest.mark.parametrize("model_id", TRUE_CONFIGS)
def test_the_catalogue_agrees_with_the_true_shapes(model_id):
    """On the meta device: the same number of parameters, and the estimate of their bytes within 5 %."""
    config, entry = TRUE_CONFIGS[model_id](), CATALOGUE[model_id]
    weights = weigh(config, CUDA)
    assert entry.family == config.model_type
    assert abs(entry.parameters * 1e6 - weights.parameters) < 1e-3 * weights.parameters
    for quantization in (None, "8bit", "4bit"):
        true = weights.bytes(quantization, torch.bfloat16)
        assert abs(entry.weight_bytes(quantization) - true) < 0.05 * true


def test_every_checkpoint_of_the_catalogue_has_its_true_shape():
    assert TRUE_CONFIGS.keys() == CATALOGUE.keys() - {"bundled"}


def test_a_larger_model_needs_a_larger_card():
    small, large = CATALOGUE["llava-hf/llava-1.5-7b-hf"], CATALOGUE["llava-hf/llava-1.5-13b-hf"]
    assert (small.smallest_card(), small.smallest_card("4bit")) == (24, 6)
    assert small.smallest_card() < large.smallest_card()


def test_a_model_that_does_not_fit_is_refused_before_it_is_read(saved, monkeypatch):
    weights = weigh(load(str(saved))[0].config, CPU)
    room = (weights.bytes(None, torch.bfloat16) + weights.bytes("8bit", torch.bfloat16)) // 2
    monkeypatch.setattr(loading.AutoModelForImageTextToText, "from_pretrained", None)
    monkeypatch.setattr("resprune.models.fit.free_bytes", lambda _: room)
    with pytest.raises(InputError, match=r"^The weights of .* need .* GB .* GB free; .*quantization='8bit'") as refused:
        load(str(saved), dtype=torch.bfloat16)
    assert "fetch" not in str(refused.value)
    monkeypatch.setattr("resprune.models.fit.free_bytes", lambda _: 10)
    with pytest.raises(InputError, match="choose a smaller model"):
        load(str(saved), dtype=torch.bfloat16)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "does not fit"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "does not fit"),
        (ValueError("Some modules are dispatched on the CPU or the disk."), "does not fit"),
        (ImportError("Using `bitsandbytes` requires it: `pip install -U bitsandbytes`"), "needs a package .*install"),
        (OSError("unexpected end"), r"cannot be read \(unexpected end\); fetch it again"),
    ],
)
def test_only_a_damaged_model_is_to_be_fetched_again(saved, error, says, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(loading.AutoModelForImageTextToText, "from_pretrained", fail)
    with pytest.raises(InputError, match=says) as refused:
        load(str(saved))
    assert ("fetch it again" in str(refused.value)) == isinstance(error, OSError)


@pytest.mark.parametrize(
    ("quantization", "says"), [("2bit", "no quantization '2bit'"), ("fp8", "give 8bit, 4bit or None")]
)
def test_an_unknown_quantization_is_refused(saved, quantization, says):
    with pytest.raises(InputError, match=says):
        load(str(saved), quantization=quantization)


def test_quantisation_is_refused_where_the_device_lacks_it(saved):
    with pytest.raises(InputError, match="cannot hold a model in 4bit"):
        load(str(saved), quantization="4bit", device="meta")


def test_unloading_frees_the_weights(saved):
    model, _ = load(str(saved))
    unload(model)
    assert sum(p.numel() for p in model.parameters()) == 0


def test_loading_tells_its_progress(saved):
    told = []
    load(str(saved), progress=lambda step, share: told.append((step, share)))
    assert told == [("reading the weights", 0.0), ("reading the weights", 1.0)]


def test_a_download_tells_the_share_of_its_bytes():
    told = []
    bar = hub._reporter(lambda step, share: told.append((step, share)))(total=200, unit="B")
    bar.update(50)
    bar.update(150)
    hub._reporter(lambda step, share: told.append((step, share)))(total=3, unit="file").update(1)
    assert told == [("fetching the model", 0.25), ("fetching the model", 1.0)]
