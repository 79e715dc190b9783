"""Every form of annotation becomes the same label maps; what is wrong is said before anything is written."""

from __future__ import annotations

import json

import miniature_own as own
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from hclip_mmseg.apis.new_dataset import OwnData, new_dataset
from hclip_mmseg.apis.own_training import METHODS, Training

CLASSES = ", ".join(own.NAMES)


@pytest.fixture
def maps():
    return own.blocks()


@pytest.fixture
def images(tmp_path, maps):
    return own.write_images(tmp_path / "images", maps)


def make(tmp_path, images, masks, training=None, **settings):
    how = {key: settings.pop(key) for key in ("check", "overwrite") if key in settings}
    new_dataset(
        "mine",
        OwnData(images=images, masks=masks, jobs=1, **settings),
        training or Training(size="tiny"),
        out_dir=tmp_path / "out",
        **how,
    )
    return tmp_path / "out/mine"


def written(folder, count=8):
    return [np.asarray(Image.open(folder / f"labels/img_{index}.png")) for index in range(count)]


@pytest.mark.parametrize("form", own.FORMS)
def test_every_form_gives_the_same_label_maps(tmp_path, images, maps, form, capsys):
    write, classes = own.FORMS[form]
    folder = make(tmp_path, images, write(tmp_path, maps), classes=classes, unlabelled="ignore")
    for found, labels in zip(written(folder), maps, strict=True):
        np.testing.assert_array_equal(found, np.where(labels == own.NONE, 255, labels))
    data = Config.fromfile(folder / "dataset.py")
    built = [DATASETS.build(data[part]) for part in ("training", "validation")]
    assert [len(each) for each in built] == [6, 2]
    assert built[0].metainfo["classes"] == own.NAMES
    share = np.mean([(labels == 0).mean() for labels in maps])
    assert f"crack │ {share:.2%}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("form", ["from 1", "class folders", "COCO", "YOLO", "CVAT's colours"])
def test_without_annotation_is_background_where_objects_are_annotated(tmp_path, images, maps, form, capsys):
    write, classes = own.FORMS[form]
    folder = make(tmp_path, images, write(tmp_path, maps), classes=classes)
    for found, labels in zip(written(folder), maps, strict=True):
        np.testing.assert_array_equal(found, labels)
    assert Config.fromfile(folder / "dataset.py").data.classes == [*own.NAMES, "background"]
    assert "are of a class 'background' (otherwise: --unlabelled ignore)" in capsys.readouterr().out


def test_colours_by_a_text_and_palette_images_by_it_too(tmp_path, images, maps):
    for index, labels in enumerate(maps):
        own.save(tmp_path / f"masks/img_{index}_seg.png", labels, palette=True)
    table = ", ".join(
        f"{name} #{bytes(colour.tolist()).hex()}"
        for name, colour in zip((*own.NAMES, "background"), own.COLOURS, strict=True)
    )
    folder = make(tmp_path, images, tmp_path / "masks", colours=table)
    for found, labels in zip(written(folder), maps, strict=True):
        np.testing.assert_array_equal(found, labels)


def test_a_part_of_the_categories_and_synonyms(tmp_path, images, maps, capsys):
    file = own.write_coco(tmp_path / "instances.json", maps)
    folder = make(tmp_path, images, file, classes=["fissure, crack", "paint"])
    for found, labels in zip(written(folder), maps, strict=True):
        np.testing.assert_array_equal(found, np.array([0, 2, 1, 2])[labels])
    assert "rust: not among --classes" in capsys.readouterr().out


def test_smaller_objects_lie_above(tmp_path, maps):
    maps = [np.zeros((own.HEIGHT, own.WIDTH), np.uint8)]
    images = own.write_images(tmp_path / "images", maps * 2)
    file = own.write_coco(tmp_path / "instances.json", maps * 2)
    content = json.loads(file.read_text())
    outline = [[8.0, 8.0, 24.0, 8.0, 24.0, 24.0, 8.0, 24.0]]
    content["annotations"].insert(0, dict(id=99, image_id=0, category_id=2, segmentation=outline))
    file.write_text(json.dumps(content))
    labels = written(make(tmp_path, images, file, val="0.5"), 2)
    assert labels[0].tolist()[9][9] == 1 and (labels[0] == 1).sum() == 256 and not labels[1].any()


def test_masks_of_0_and_255_of_one_class(tmp_path, images, maps):
    for index, labels in enumerate(maps):
        own.save(tmp_path / f"masks/img_{index}.png", np.where(labels == 0, 255, 0).astype(np.uint8))
    folder = make(tmp_path, images, tmp_path / "masks", classes="crack")
    for found, labels in zip(written(folder), maps, strict=True):
        np.testing.assert_array_equal(found, labels != 0)


def test_more_classes_than_8_bits_hold(tmp_path, images, maps):
    names = [f"name {number}" for number in range(300)]
    for index, labels in enumerate(maps):
        numbers = np.where(labels == own.NONE, 65535, labels.astype(np.uint16) + 290)
        own.save(tmp_path / f"masks/img_{index}.png", numbers.astype(np.uint16))
    folder = make(tmp_path, images, tmp_path / "masks", classes=names, first_label=0)
    np.testing.assert_array_equal(written(folder)[0], np.where(maps[0] == own.NONE, 65535, maps[0].astype(int) + 290))
    cfg = Config.fromfile(folder / "config.py")
    assert cfg.model.decode_head.ignore_index == cfg.val_evaluator[0].ignore_index == 65535
    assert cfg.model.data_preprocessor.seg_pad_val == 65535 and cfg.model.train_cfg.sampled_names == 171


def test_held_out_classes(tmp_path, images, maps):
    maps[0][:] = 1  # shows the held-out class alone
    maps[7][:9] = 1
    masks = own.write_grey(tmp_path / "masks", maps)
    (tmp_path / "val.txt").write_text("img_6.jpg\nimg_7\n")
    folder = make(tmp_path, images, masks, classes=CLASSES, held_out="rust", val=str(tmp_path / "val.txt"))
    assert (folder / "train.txt").read_text().split() == [f"img_{index}" for index in range(1, 6)]
    cfg = Config.fromfile(folder / "config.py")
    assert cfg.default_hooks.checkpoint.save_best == "mIoU_unseen"
    training = DATASETS.build({**cfg.train_dataloader.dataset, "pipeline": []})
    assert training.metainfo["classes"] == ("crack", "paint")
    assert DATASETS.build({**cfg.val_dataloader.dataset, "pipeline": []}).metainfo["held_out"] == ("rust",)


def test_split_by_folders_and_by_seed(tmp_path, maps):
    images, masks = tmp_path / "images", tmp_path / "masks"
    for part, some in (("train", maps[:5]), ("val", maps[5:])):
        own.write_images(images / part, some)
        own.write_grey(masks / part, some)
    folder = make(tmp_path, images, masks, classes=CLASSES)
    assert (folder / "val.txt").read_text().split() == ["val/img_0", "val/img_1", "val/img_2"]
    lists = set()
    for seed in (1, 1, 2):
        make(tmp_path, images, masks, classes=CLASSES, val="0.25", seed=seed, overwrite=True)
        lists.add((folder / "val.txt").read_text())
    assert len(lists) == 2


def test_check_writes_nothing(tmp_path, images, maps, capsys):
    make(tmp_path, images, own.write_grey(tmp_path / "masks", maps), classes=CLASSES, check=True)
    assert not (tmp_path / "out").exists() and "nothing was written" in capsys.readouterr().out


def test_a_config_that_is_there_stays(tmp_path, images, maps):
    masks = own.write_grey(tmp_path / "masks", maps)
    folder = make(tmp_path, images, masks, classes=CLASSES)
    for file in (folder / "config.py", folder / "dataset.py"):
        file.write_text("mine = 1\n")
        with pytest.raises(ValueError, match=f"{file.name} is there already"):
            make(tmp_path, images, masks, classes=CLASSES)
        assert file.read_text() == "mine = 1\n"
        file.unlink()


def test_a_folder_that_cannot_be_made_is_said_before_images_are_read(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ValueError, match=r"--out-dir .*out is a file, not a folder"):
        make(tmp_path, tmp_path / "absent", tmp_path / "absent", classes=CLASSES)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(seed=-1), "--seed must be at least 0"),
        (dict(first_label=-1), "--first-label must be at least 0"),
        (dict(jobs=0), "--jobs must be at least 1"),
        (dict(repeat_below=2.0), "--repeat-below is a share above 0"),
    ],
)
def test_numbers_that_cannot_be_are_said(tmp_path, settings, said):
    with pytest.raises(ValueError, match=said):
        OwnData(tmp_path, tmp_path, **settings)


def test_what_a_training_refuses_is_said_before_anything_is_written(tmp_path, images, maps):
    masks = own.write_grey(tmp_path / "masks", maps)
    names = [f"name {number}" for number in range(300)]
    with pytest.raises(ValueError, match="--method maft-plus takes at most 255 classes, not 300"):
        make(tmp_path, images, masks, Training("maft-plus", "tiny"), classes=names, first_label=0)
    assert not (tmp_path / "out").exists()


def test_images_and_label_maps_in_one_folder(tmp_path, maps):
    folder = own.write_images(tmp_path / "both", maps)
    for index, labels in enumerate(maps):
        own.save(folder / f"img_{index}_gt.png", labels)
    with pytest.raises(ValueError, match="images and label maps are the same files: .* --mask-suffix"):
        make(tmp_path, folder, folder, classes=CLASSES)
    made = make(tmp_path, folder, folder, classes=[*own.NAMES, "wall"], mask_suffix="_gt")
    np.testing.assert_array_equal(written(made)[2], maps[2])


def test_objects_of_images_that_are_not_listed_are_left_out_and_said(tmp_path, images, maps, capsys):
    file = own.write_coco(tmp_path / "instances.json", maps)
    content = json.loads(file.read_text())
    content["annotations"][0]["image_id"] = 77
    file.write_text(json.dumps(content))
    make(tmp_path, images, file)
    assert "objects of 1 images that instances.json does not list are left out: 77" in capsys.readouterr().out


def test_masks_of_no_class_are_left_out_and_said(tmp_path, images, maps, capsys):
    masks = own.write_class_masks(tmp_path / "masks", maps)
    make(tmp_path, images, masks, classes="crack, rust", kind="class-masks")
    assert "masks are of no class in --classes and are left out: paint/img_" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=r"none of the .* masks .* is of a class in --classes, such as crack"):
        make(tmp_path, images, masks, classes="sky, dog", kind="class-masks", overwrite=True)


def delete(path):
    path.unlink()


def shift(path):
    own.save(path, np.asarray(Image.open(path)) + 3)


def colour(path):
    own.save(path, own.COLOURS[np.zeros((own.HEIGHT, own.WIDTH), int)])


def shrink(path):
    own.save(path, np.zeros((own.WIDTH, own.HEIGHT), np.uint8))


def lossy(path):
    Image.open(path).save(path.with_suffix(".jpg"))
    path.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (shift, r"labels .* are outside the 3 classes, 0 to 2: name all of them"),
        (colour, r'in colours, and nothing says .* give --colours "NAME #c81e28"'),
        (shrink, r"img_2.jpg is 48 x 64 pixels, the image 64 x 48"),
        (lossy, r"img_2.jpg is compressed with losses"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "no image, or a truncated one"),
    ],
)
def test_wrong_label_maps_are_named_and_nothing_is_written(tmp_path, images, maps, spoil, said):
    masks = own.write_grey(tmp_path / "masks", maps)
    spoil(masks / "img_2.png")
    with pytest.raises(ValueError, match=said):
        make(tmp_path, images, masks, classes=CLASSES)
    assert not (tmp_path / "out").exists()


def test_lonely_images_and_label_maps_are_left_out_and_said(tmp_path, images, maps, capsys):
    masks = own.write_grey(tmp_path / "masks", maps)
    (masks / "img_3.png").rename(masks / "other.png")
    make(tmp_path, images, masks, classes=CLASSES)
    said = capsys.readouterr().out
    assert "1 of 8 images have no label maps and are left out: img_3" in said
    assert "1 label maps have no image and are left out: other" in said


def test_two_files_of_one_name_are_said(tmp_path, images, maps):
    masks = own.write_grey(tmp_path / "masks", maps)
    own.save(masks / "img_2.bmp", maps[2])
    with pytest.raises(ValueError, match=r"img_2.bmp and .*img_2.png are two label maps of one name"):
        make(tmp_path, images, masks, classes=CLASSES)
    own.save(images / "img_3.png", maps[3])
    with pytest.raises(ValueError, match=r"img_3.jpg and .*img_3.png are two images of one name"):
        make(tmp_path, images, masks, classes=CLASSES)
    assert not (tmp_path / "out").exists()


def test_numbers_of_no_class_are_asked_for_and_ignored(tmp_path, images, maps, capsys):
    masks = own.write_grey(tmp_path / "masks", maps)
    spoilt = np.where(maps[2] == 0, 200, np.where(maps[2] == own.NONE, 255, maps[2])).astype(np.uint8)
    own.save(masks / "img_2.png", spoilt)
    with pytest.raises(ValueError, match=r"labels 200 .* are outside the 3 classes, .* or give --ignore-label NUMBER"):
        make(tmp_path, images, masks, classes=CLASSES)
    assert not (tmp_path / "out").exists()
    folder = make(tmp_path, images, masks, classes=CLASSES, ignored=[200])
    np.testing.assert_array_equal(written(folder)[2], np.where(spoilt == 200, 255, spoilt))
    assert "255 is no class and ignored (always" in capsys.readouterr().out


def test_classes_without_a_pixel_and_one_class_alone(tmp_path, images, maps, capsys):
    masks = own.write_grey(tmp_path / "masks", [np.where(labels < 2, labels, own.NONE) for labels in maps])
    make(tmp_path, images, masks, classes=CLASSES, held_out="rust, paint", first_label=0)
    said = capsys.readouterr().out
    assert "classes without a pixel in val: " in said and "paint" in said
    assert "one class alone is trained" in said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(classes=None), "give --classes"),
        (dict(val="1.5"), "a share between 0 and 1"),
        (dict(val="site_b"), "no folder site_b"),
        (dict(held_out="glass"), "'glass' is held out"),
        (dict(held_out=CLASSES), "no image for training"),
        (dict(kind="voc"), "--kind knows"),
        (dict(mask_suffix="_gt"), "no image has label maps of its name"),
        (dict(colours="crack #ff0000"), "colours that are not in the table"),
    ],
)
def test_wrong_settings_are_said(tmp_path, images, maps, settings, said):
    masks = own.write_grey(tmp_path / "masks", maps)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        make(tmp_path, images, masks, **{"classes": CLASSES, **settings})
    assert not (tmp_path / "out").exists()


def test_wrong_annotation_files_are_said(tmp_path, images, maps):
    file = own.write_coco(tmp_path / "instances.json", maps)
    content = json.loads(file.read_text())
    boxes = [{**one, "segmentation": []} for one in content["annotations"]]
    file.write_text(json.dumps({**content, "annotations": boxes}))
    with pytest.raises(ValueError, match="boxes and no outlines"):
        make(tmp_path, images, file)
    name = content["annotations"][4]["id"]
    damaged = f"outline of annotation {name} of .*instances.json, in .*img_1.jpg, cannot be drawn: .* are damaged"
    for outline, said in (
        (
            dict(size=[own.WIDTH, own.HEIGHT], counts=[own.WIDTH * own.HEIGHT]),
            "of 48 x 64 pixels, the image is 64 x 48",
        ),
        (dict(counts=[1]), "neither polygons nor run lengths"),
        (dict(size=[own.HEIGHT, own.WIDTH], counts=[-5, 99]), f"{damaged}: one is -5"),
        (dict(size=[own.HEIGHT, own.WIDTH], counts=[0, 99999]), f"{damaged}: they are of 99999 pixels"),
        (dict(size=[own.HEIGHT, own.WIDTH], counts="52"), f"{damaged}: they are of 7 pixels"),
    ):
        content["annotations"][4]["segmentation"] = outline
        file.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=said):
            make(tmp_path, images, file)
    for height in (10, 2**40, -1):
        file = own.write_coco(tmp_path / "instances.json", maps)
        file.write_text(file.read_text().replace('"height": 48', f'"height": {height}'))
        with pytest.raises(ValueError, match=f"says that .*img_0.jpg is 64 x {height} pixels, the image has 64 x 48"):
            make(tmp_path, images, file)
    with pytest.raises(ValueError, match="--ignore-label and --first-label are for label maps of numbers"):
        make(tmp_path, images, own.write_coco(tmp_path / "whole.json", maps), first_label=1)
    labels = own.write_yolo(tmp_path / "yolo", maps)
    (labels / "img_1.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(ValueError, match="img_1.txt, line 1 is a box"):
        make(tmp_path, images, labels)
    with pytest.raises(ValueError, match="--kind coco takes a JSON file, and .*labels is a folder"):
        make(tmp_path, images, labels, kind="coco")
    file.write_text(json.dumps(dict(images=[1], annotations=[3], categories=[2])))
    with pytest.raises(ValueError, match="its images has as entry 0 1, which has no keys"):
        make(tmp_path, images, file)
    (labels / "img_1.txt").write_bytes(b"\xff\xfe0 0")
    with pytest.raises(ValueError, match="img_1.txt is no text file in UTF-8"):
        make(tmp_path, images, labels)
    (labels.parent / "data.yaml").write_text("names: {0: crack, 2: paint}")
    with pytest.raises(ValueError, match="data.yaml has 2 names, and none has number 1"):
        make(tmp_path, images, labels)
    file = own.write_panoptic(tmp_path / "panoptic.json", maps)
    own.save(tmp_path / "panoptic/img_0.png", np.full((own.HEIGHT, own.WIDTH, 3), 7, np.uint8))
    with pytest.raises(ValueError, match="has the segment 460551, which its annotation file does not list"):
        make(tmp_path, images, file)


@pytest.mark.parametrize("size", ["tiny", "base", "large"])
@pytest.mark.parametrize("method", METHODS)
def test_configs_of_all_methods(tmp_path, images, maps, method, size):
    masks = own.write_grey(tmp_path / "masks", maps)
    if (method, size) == ("fisa", "large"):
        with pytest.raises(ValueError, match="has no size 'large'"):
            Training(method, size)
        return
    folder = make(tmp_path, images, masks, Training(method, size, batch_size=2, processes=2), classes=CLASSES)
    cfg = Config.fromfile(folder / "config.py")
    assert "paper" not in cfg
    adapter = cfg.model.backbone.get("adapter")
    kinds = {"h-clip": "POP", "pop": "POP", "lora": "LoRA", "cat-seg": "TrainedProjections"}
    if method in kinds:
        assert adapter.type == kinds[method] and bool(adapter.get("relation")) == (method == "h-clip")
    assert method != "freeze" or adapter is None
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert loader.dataset.type == "mmseg.FolderDataset" and loader.dataset.pipeline
        DATASETS.build({**loader.dataset, "pipeline": []})
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == 500 and len(cfg.param_scheduler) == 2
    assert cfg.work_dir == str(folder / "run")


def test_training_starts_from_a_model_of_the_zoo_or_a_file(tmp_path, images, maps):
    masks = own.write_grey(tmp_path / "masks", maps)
    training = Training("cat-seg", start="cat-seg_vitb16")
    folder = make(tmp_path, images, masks, training, classes=CLASSES)
    assert Config.fromfile(folder / "config.py").load_from == "cat-seg_vitb16"
    file = tmp_path / "mine.pth"
    torch.save(dict(state_dict={}), file)
    folder = make(tmp_path, images, masks, Training(start=str(file)), classes=CLASSES, overwrite=True)
    assert Config.fromfile(folder / "config.py").load_from == str(file)


@pytest.mark.parametrize(
    ("method", "start", "said"),
    [
        ("cat-seg", "cat-seg_vitl14", "take --method h-clip --size large or .* or --method cat-seg --size large"),
        ("h-clip", "maft-plus_convnext-b", "take --method maft-plus --size base$"),
        ("h-clip", "san_vitb16", "no method here goes on from it"),
        ("h-clip", "hclip_vitb16_coco-stuff", "nobody publishes such weights"),
        ("fisa", "mask2former_swin-b", "nobody publishes such weights"),
        ("h-clip", "cat-seg", "did you mean"),
        ("h-clip", "absent.pth", "no checkpoint absent.pth: looked for at"),
    ],
)
def test_starts_that_do_not_fit_are_said(method, start, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        Training(method, start=start)


def test_benchmarks_are_watched_and_mixed_in(tmp_path, images, maps):
    masks = own.write_grey(tmp_path / "masks", maps)
    training = Training(size="tiny", keep="A-150", mix="COCO-Stuff", mix_share=0.25)
    folder = make(tmp_path, images, masks, training, classes=CLASSES)
    cfg = Config.fromfile(folder / "config.py")
    (hook,) = cfg.custom_hooks
    assert hook.type == "mmseg.KeepHook" and hook.foreign.type == "mmseg.ADE20K150Dataset"
    assert hook.foreign.data_prefix.img_path == "images/validation" and hook.foreign.pipeline == cfg.test_pipeline
    mixed = cfg.train_dataloader.dataset
    assert mixed.type == "mmseg.MixedDataset" and mixed.ratio == (0.75, 0.25)
    assert [each.type for each in mixed.datasets] == ["mmseg.FolderDataset", "mmseg.COCOStuff171Dataset"]
    assert mixed.datasets[1].data_prefix.img_path == "images/train2017"
    for wrong, said in ((dict(mix="A-150"), "A-150 has no config for training"), (dict(keep="A-151"), "no benchmark")):
        with pytest.raises(ValueError, match=said):
            make(tmp_path, images, masks, Training(size="tiny", **wrong), classes=CLASSES, overwrite=True)


def test_schedules_fit_the_data():
    assert Training(batch_size=4).steps(8) == 500
    assert Training(batch_size=4).steps(1000) == 10_000
    assert Training(batch_size=4, processes=4).steps(1000) == 2_500
    assert Training().steps(10**6) == 80_000 and Training(iterations=7).steps(8) == 7
    assert Training(batch_size=4).learning_rate() == 2e-4
    assert Training(batch_size=4, processes=4).learning_rate() == 4e-4
