"""What is wrong is said in one line, before any work."""

import re

import pytest
import torch
from miniature import write_coco_stuff
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image


@pytest.fixture(scope="module")
def checkpoint(tiny_config, tmp_path_factory):
    return save(Config.fromfile(tiny_config).model, tmp_path_factory.mktemp("weights") / "tiny.pth")


def save(model, path, keep=lambda name: True):
    init_default_scope("mmseg")
    state = {name: value for name, value in MODELS.build(model).state_dict().items() if keep(name)}
    torch.save(dict(state_dict=state), path)
    return path


@pytest.fixture(scope="module")
def other_width(tiny_config, tmp_path_factory):
    model = Config.fromfile(tiny_config).model
    model.backbone.clip.model.text_cfg.update(width=48, heads=3)
    return save(model, tmp_path_factory.mktemp("wider") / "wider.pth")


@pytest.fixture
def image(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "image.png")
    return tmp_path / "image.png"


@pytest.fixture
def refused(run_here, tmp_path, monkeypatch):
    """Runs a script that must end in one error; returns its text."""
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        code, _, errors = run_here(name, *arguments)
        assert code == 2 and "Traceback" not in errors
        lines = [line for line in errors.splitlines() if "error: " in line]
        assert len(lines) == 1, errors
        return lines[0].split("error: ", 1)[1]

    return run


@pytest.mark.parametrize("script", ["train", "test", "predict"])
def test_files_that_are_no_config(refused, script, image, tmp_path, tiny_config):
    (tmp_path / "open.py").write_text("x = 1\nmodel = dict(\n")
    (tmp_path / "part.py").write_text("x = 1\n")
    (tmp_path / "built.py").write_text("_base_ = ['absent.py']\n")
    (tmp_path / "imports.py").write_text(
        f"_base_ = [{str(tiny_config)!r}]\ncustom_imports = dict(imports=['no_such'])\n"
    )
    (tmp_path / "notes").write_text("x")

    def error_of(name):
        if script == "predict":
            return refused("predict", image, "--vocab", "cat", "--config", name)
        return refused(script, name, *(["x.pth"] if script == "test" else []))

    assert error_of("open.py") == f"the config {tmp_path / 'open.py'} is no Python: '(' was never closed, line 2"
    assert error_of("part.py") == f"the config {tmp_path / 'part.py'} has no 'model'"
    assert error_of("built.py").endswith(f"is built on {tmp_path / 'absent.py'}, which is missing")
    assert "imports what cannot be imported" in error_of("imports.py") and "no_such" in error_of("imports.py")
    assert error_of("notes").startswith(f"{tmp_path / 'notes'} is no config")
    assert error_of("absent.py").startswith("no config absent.py: looked for at")


def test_settings_that_cannot_be(refused, tiny_config, checkpoint, tmp_path):
    def error_of(*settings):
        return refused("test", tiny_config, checkpoint, "--work-dir", tmp_path / "work", "--cfg-options", *settings)

    assert error_of("model.mode") == "argument --cfg-options: takes settings KEY=VALUE, not 'model.mode'"
    assert "has no setting 'nope'" in error_of("model.nope.x=1")
    assert "does not divide the text tower's width of 32" in error_of("model.backbone.adapter.block_size=10")
    assert "iou_metrics knows mIoU, mDice, mFscore, not mFoo" in error_of("test_evaluator.iou_metrics=mFoo")

    training = ("--work-dir", tmp_path / "train", "--cfg-options")
    error = refused("train", tiny_config, *training, "optim_wrapper.optimizer.type=SDG")
    assert error == "optim_wrapper.optimizer.type is 'SDG', and there is no such optimizer; did you mean 'SGD'?"
    error = refused("train", tiny_config, *training, "train_cfg.max_iters=0")
    assert error == "train_cfg.max_iters must be a whole number, at least 1, not 0"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optim_wrapper.type=OptimWraper", "no optim_wrapper is called 'OptimWraper'; did you mean 'OptimWrapper'?"),
        ("optim_wrapper.nope=3", "OptimWrapper has no setting 'nope'"),
        ("custom_hooks=x", "hook should be an instance of Hook or dict, but got x"),
        ("log_level=FOO", "'FOO' is looked for and is not there"),
        ("default_scope=mmpose", "of another one is: is default_scope right?"),
        ("train_dataloader.dataset.pipeline=[]", "train_dataloader: the pipeline of COCOStuff171Dataset has no steps"),
        ("env_cfg=3", "env_cfg holds settings by name, such as env_cfg.KEY=VALUE, and is 3"),
        ("model.data_preprocessor=None", "model.data_preprocessor is empty"),
        ("compile=yes", "compile must be True, False or settings such as compile.backend, not 'yes'"),
        ("compile.backend=egaer", "compile.backend is 'egaer', which torch does not have; did you mean 'eager'?"),
        ("compile.bakend=eager", "compile.bakend: torch.compile has no such setting; did you mean 'backend'?"),
        ("compile.mode=fast", "compile: Unrecognized mode=fast, should be one of"),
        ("compile.fullgraph=True", "compile.fullgraph: a training step takes several graphs"),
        ("model.test_cfg=3", "the config has settings there; set one, such as model.test_cfg.mode"),
    ],
)
def test_what_is_built_when_a_training_starts_is_checked_before(
    setting, said, refused, tiny_config, experiment, tmp_path
):
    training = (tiny_config, "--work-dir", tmp_path / "train", "--cfg-options", setting, experiment())
    assert said in refused("train", *training)


@pytest.mark.parametrize(("launcher", "trace"), [("pytorch", "RANK"), ("slurm", "SLURM_PROCID")])
def test_a_launcher_that_did_not_start_the_process(launcher, trace, refused, tiny_config, monkeypatch):
    monkeypatch.delenv(trace, raising=False)
    error = refused("train", tiny_config, "--launcher", launcher)
    assert error.startswith(f"--launcher {launcher}: this process was not started by") and f"sets {trace}" in error


def test_places_that_cannot_be_written_to(refused, tiny_config, checkpoint, image, tmp_path):
    (tmp_path / "file").touch()
    is_file = f"{tmp_path / 'file'} is a file, not a folder"
    assert refused("train", tiny_config, "--work-dir", "file") == f"--work-dir file: {is_file}"
    assert refused("test", tiny_config, checkpoint, "--work-dir", "file/inner") == f"--work-dir file/inner: {is_file}"
    assert refused("test", tiny_config, checkpoint, "--out", "file") == f"--out file: {is_file}"
    assert refused("test", tiny_config, checkpoint, "--show-dir", "file") == f"--show-dir file: {is_file}"
    predict = ("predict", image, "--vocab", "cat", "--config", tiny_config, "--checkpoint", checkpoint)
    assert refused(*predict, "--out-dir", "file") == f"--out-dir file: {is_file}"


def test_checkpoints_that_training_cannot_start_or_go_on_from(
    refused, run_here, experiment, tiny_config, checkpoint, other_width, tmp_path
):
    (tmp_path / "text.pth").write_text("hello")

    def started_from(path):
        return ("train", tiny_config, "--work-dir", tmp_path / "train", "--cfg-options", f"load_from={path}")

    assert "is no file of tensors, or a damaged one" in refused(*started_from("text.pth"))
    error = refused(*started_from(other_width))
    assert (
        "tensors have another shape (backbone.text_tower.positional_embedding is [77, 48] there and [77, 32]" in error
    )
    torch.save(dict(state_dict={"conv.weight": torch.zeros(1)}), tmp_path / "strange.pth")
    assert "has none of the model's tensors (it has conv.weight; the model has " in refused(
        *started_from("strange.pth")
    )

    error = refused("train", tiny_config, "--work-dir", tmp_path / "train", "--resume", checkpoint)
    assert "it lacks meta, message_hub, optimizer; to start from its weights set --cfg-options load_from=" in error

    without = save(Config.fromfile(tiny_config).model, tmp_path / "plain.pth", lambda name: ".adapter." not in name)
    code, _, errors = run_here(*started_from(without), "train_cfg.max_iters=1", experiment())
    assert code == 0, errors
    trained = tmp_path / "train/iter_1.pth"
    wider = "model.backbone.clip.model.text_cfg.width=48"
    for folder, given in ((tmp_path / "other", [trained]), (trained.parent, [])):
        error = refused(
            "train", tiny_config, "--work-dir", folder, "--resume", *given, "--cfg-options", experiment(), wider,
            "model.backbone.clip.model.text_cfg.heads=3",
        )  # fmt: skip
        assert "does not fit the model" in error and "is it of another CLIP?" in error


def test_devices_that_are_not_there(refused, tiny_config, checkpoint, image):
    predict = ("predict", image, "--vocab", "cat", "--config", tiny_config, "--checkpoint", checkpoint, "--device")
    assert refused(*predict, "gpu0") == "no device 'gpu0': use cpu, cuda, cuda:1 ... or auto"
    count = torch.cuda.device_count()
    assert refused(*predict, "cuda:99") == f"no device 'cuda:99': torch sees {count} GPUs here; use cpu or auto"


def test_a_misspelt_list_of_words(refused, tiny_config, checkpoint, image):
    predict = ("predict", image, "--config", tiny_config, "--checkpoint", checkpoint, "--vocab")
    assert refused(*predict, "/") == "/ is a folder, not a file of class names"
    assert refused(*predict, "cat", "--min-score", "nan") == "min_score is a number from 0 to 1, not nan"
    assert refused(*predict, "cat", "--model", "").startswith("an empty path is given: give a config, or a name that")
    assert refused(*predict, "cat", "--checkpoint", "") == "an empty path is given: give a checkpoint, or leave it out"
    assert refused(*predict, "coco_stuff_17") == "no vocabulary 'coco_stuff_17'; did you mean 'coco_stuff_171'?"


def test_what_is_asked_is_checked_before_the_model_is_opened(refused, image):
    asked = ("--vocab", "cat", "--config", "absent.py")
    said = refused("predict", image.with_suffix(".jpg"), *asked)
    assert said == f"no image at {image.with_suffix('.jpg')}; did you mean '{image}'?"
    assert refused("predict", image, *asked, "--format", "labls").startswith("no format 'labls'; there are labels, ")
    assert "did you mean 'cat'" in refused("predict", image, *asked, "--threshold", "cta=0.5")
    assert refused("predict", image, *asked, "--templates", "imagnet").startswith("unknown templates 'imagnet'")
    assert refused("predict", image, image.with_name("absent.png"), *asked).startswith("no config absent.py")


@pytest.mark.parametrize("script", ["train", "test"])
def test_labels_outside_the_classes_are_named(script, refused, experiment, tiny_config, checkpoint, tmp_path):
    root = write_coco_stuff(tmp_path / "coco", train=4, val=1)
    for path in root.rglob("*_labelTrainIds.png"):
        Image.new("L", Image.open(path).size, 200).save(path)
    split = "train" if script == "train" else "test"
    settings = [f"{split}_dataloader.dataset.data_root={root}", "train_cfg.max_iters=1", experiment()]
    arguments = [tiny_config, *([checkpoint] if script == "test" else []), "--work-dir", tmp_path / "work"]
    error = refused(script, *arguments, "--cfg-options", *settings)
    assert re.match(rf"label 200 in {root}/.*_labelTrainIds.png is outside", error)


def test_the_checkpoint_may_stand_behind_options(refused, tiny_config, tmp_path):
    error = refused("test", tiny_config, "--work-dir", tmp_path / "work", "absent.pth")
    assert error.startswith("no checkpoint absent.pth")
    error = refused("test", tiny_config, "--work-dir", tmp_path / "work")
    assert "is a model that is trained: give the checkpoint" in error
