"""What is missing is said before any work."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from hclip_mmseg.apis.checks import check_run, take_clip_from_checkpoint, take_generator_from_checkpoint
from hclip_mmseg.apis.mixed_precision import use_mixed_precision
from hclip_mmseg.files.checkpoints import check_fits, find_checkpoint, read_state_dict


@pytest.fixture
def config(repository):
    return Config.fromfile(repository / "configs/hclip/hclip_vitb16_coco-stuff.py")


@pytest.mark.parametrize(
    ("name", "weights"),
    [("hclip_vitb16_coco-stuff", "ViT-B-16.pt"), ("hclip_vitl14_coco-stuff", "ViT-L-14-336px.pt")],
)
def test_missing_files_are_named_with_their_sources(name, weights, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config.fromfile(repository / f"configs/hclip/{name}.py")
    config.model.backbone.clip.pretrained = f"nowhere/{weights}"
    for split in ("train", "val"):
        config[f"{split}_dataloader"].dataset.data_root = "nowhere/coco"
    with pytest.raises(FileNotFoundError) as raised:
        check_run(config, ["train", "val"])
    message = str(raised.value)
    assert f"{tmp_path / 'nowhere' / weights}" in message
    assert f"{repository / 'nowhere' / weights}" in message
    assert "https://openaipublic.azureedge.net/clip/models/" in message and message.count(weights) >= 3
    assert f"{tmp_path / 'nowhere/coco'}" in message
    assert "python tools/prepare_dataset.py coco-stuff --root" in message


def test_a_missing_folder_of_the_data_is_named(config, coco_stuff, tmp_path):
    (tmp_path / "weights.pt").touch()
    config.model.backbone.clip.pretrained = str(tmp_path / "weights.pt")
    config.test_dataloader.dataset.data_root = str(coco_stuff)
    check_run(config, ["test"])
    config.test_dataloader.dataset.data_prefix.seg_map_path = "annotations/test2017"
    with pytest.raises(FileNotFoundError, match="label maps .*annotations/test2017 is missing"):
        check_run(config, ["test"])


def test_wrapped_data_sets_are_looked_into(config, tmp_path, monkeypatch):
    config.model.backbone.clip.pretrained = None
    inner = config.train_dataloader.dataset.to_dict() | {"data_root": str(tmp_path / "absent")}
    repeated = dict(type="RepeatDataset", times=2, dataset=inner)
    config.train_dataloader.dataset = dict(type="ConcatDataset", datasets=[repeated])
    with pytest.raises(FileNotFoundError, match="absent"):
        check_run(config, ["train"])


def test_a_data_set_that_a_training_watches_is_looked_into(config, tmp_path):
    config.model.backbone.clip.pretrained = None
    foreign = config.val_dataloader.dataset.to_dict() | {"data_root": str(tmp_path / "absent")}
    config.custom_hooks = [dict(type="KeepHook", foreign=foreign)]
    with pytest.raises(FileNotFoundError, match="absent"):
        check_run(config, ["train"])
    config.train_dataloader = None
    check_run(config, [])


def test_paths_of_the_project_are_found_from_anywhere(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = tmp_path / "project"
    monkeypatch.setattr("hclip_mmseg.files.paths.PROJECT_ROOT", project)
    (project / "configs").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    weights = project / "pretrained/ViT-B-16.pt"
    with pytest.raises(FileNotFoundError, match="CLIP's weights ViT-B-16.pt: looked for at .* and .*project"):
        check_run(config, [])
    weights.parent.mkdir(parents=True)
    weights.touch()
    check_run(config, [])
    assert config.model.backbone.clip.pretrained == "pretrained/ViT-B-16.pt", "the run's own file names no machine"


def test_a_generators_file_is_needed_for_training_unless_a_checkpoint_holds_the_generator(tmp_path):
    def fisa(init_cfg):
        return Config(dict(model=dict(generator=dict(init_cfg=init_cfg))))

    absent = dict(type="Pretrained", checkpoint=str(tmp_path / "absent.pth"))
    check_run(fisa(absent), ["test"])
    for init_cfg in (absent, [dict(type="Normal"), absent]):
        with pytest.raises(FileNotFoundError, match=r"proposals' checkpoint absent\.pth is not there: looked for at"):
            check_run(fisa(init_cfg), ["train"])
    check_run(fisa(dict(type="Pretrained", checkpoint="torchvision://resnet50")), ["train"])

    torch.save({"state_dict": {"backbone.weight": torch.ones(1)}}, tmp_path / "part.pth")
    torch.save({"state_dict": {"generator.weight": torch.ones(1)}}, tmp_path / "whole.pth")
    config = fisa(absent)
    take_generator_from_checkpoint(config, ["backbone.weight"])
    assert config.model.generator.init_cfg == absent
    take_generator_from_checkpoint(config, ["generator.weight"])
    assert config.model.generator.init_cfg is None
    there = dict(type="Pretrained", checkpoint=str(tmp_path / "part.pth"))
    config = fisa(there)
    take_generator_from_checkpoint(config, ["generator.weight"])
    assert config.model.generator.init_cfg == there

    (tmp_path / "absent.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"absent\.pth \(500 bytes\) is no file of tensors, or a damaged one"):
        check_run(fisa(absent), ["train"])


@pytest.mark.parametrize("model, file, expected", [
    ("ViT-B-16", "ViT-B-16.pt", True), ("ViT-B-16", "other.pt", None), ("ViT-L-14", "ViT-B-16.pt", None),
])  # fmt: skip
def test_openais_activation_is_kept_where_its_file_is_not_needed(model, file, expected):
    cfg = Config(dict(model=dict(backbone=dict(clip=dict(model=model, pretrained=f"nowhere/{file}")))))
    take_clip_from_checkpoint(cfg)
    assert cfg.model.backbone.clip.pretrained is None and cfg.model.backbone.clip.get("quick_gelu") is expected


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = tmp_path / "iter_1.pth"
    torch.save({"state_dict": {"weight": torch.ones(1000)}}, path)
    assert set(read_state_dict(path)) == {"weight"}
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"iter_1\.pth \(2,000 bytes\) is no file of tensors, or a damaged one"):
        find_checkpoint(path)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint iter_2\.pth"):
        find_checkpoint(tmp_path / "iter_2.pth")


def test_a_file_without_a_model_is_refused(tmp_path):
    torch.save({"state_dict": {}, "meta": 1}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match="holds no model"):
        read_state_dict(tmp_path / "empty.pth")


def test_a_checkpoint_of_another_model_is_refused():
    backbone = nn.ModuleDict({"adapter": nn.Linear(2, 2), "tower": nn.Linear(4, 2)})
    model = nn.ModuleDict({"backbone": backbone})
    fitting = dict(model.state_dict())
    check_fits(model, fitting, "a.pth")
    without = {name: tensor for name, tensor in fitting.items() if ".adapter." not in name}
    with pytest.raises(ValueError, match=r"a\.pth does not fit .* it lacks 2 tensors .*adapter=None"):
        check_fits(model, without, "a.pth")
    wide = fitting | {"backbone.tower.weight": torch.ones(2, 6)}
    with pytest.raises(ValueError, match=r"tower\.weight is \[2, 6\] there and \[2, 4\] in the model"):
        check_fits(model, wide, "a.pth")
    with pytest.raises(ValueError, match="1 tensors that the model does not"):
        check_fits(model, fitting | {"odd": torch.ones(1)}, "a.pth")


def test_mixed_precision_is_bf16_where_there_is_bf16(config):
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("a GPU without bf16")
    use_mixed_precision(config)
    assert config.optim_wrapper.type == "mmseg.BF16OptimWrapper"
    config.optim_wrapper.type = "SomeoneElsesWrapper"
    with pytest.raises(ValueError, match="SomeoneElsesWrapper"):
        use_mixed_precision(config)


@pytest.mark.parametrize(
    ("backend", "package", "install"),
    [
        ("TensorboardVisBackend", "tensorboard", "pip install 'hclip-mmseg[tensorboard]'"),
        ("mmengine.WandbVisBackend", "wandb", "pip install 'hclip-mmseg[wandb]'"),
        ("MLflowVisBackend", "mlflow", "pip install 'hclip-mmseg[mlflow]'"),
        ("ClearMLVisBackend", "clearml", "pip install clearml"),
    ],
)
def test_a_logger_whose_package_is_missing_is_named_before_work(backend, package, install, monkeypatch):
    own = dict(type="LocalVisBackend")
    cfg = Config(dict(model={}, visualizer=dict(vis_backends=[own, dict(type=backend)])))
    monkeypatch.setattr("hclip_mmseg.apis.checks.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError) as raised:
        check_run(cfg, ())
    assert f"the package {package}, by which" in str(raised.value) and install in str(raised.value)
    monkeypatch.setattr("hclip_mmseg.apis.checks.find_spec", lambda name: object() if name == package else None)
    check_run(cfg, ())
