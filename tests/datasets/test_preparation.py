"""Label maps are made whole or not at all, go on where they stopped, and are verified."""

import json
import os
import pickle
import re
import runpy
import signal
import sys
from contextlib import contextmanager
from itertools import product

import numpy as np
import pytest
from full_disk import at_most
from miniature_benchmarks import ADE_OBJECTS, OWNERS, SIZES, save, save_image, write_owners, write_sbd
from PIL import Image
from scipy.io import savemat

from hclip_mmseg.datasets.preparation.ade20k_index import read_index
from hclip_mmseg.datasets.preparation.conversion import Conversion, LabelMap, Split, carry_out
from hclip_mmseg.datasets.preparation.files import is_whole
from hclip_mmseg.datasets.preparation.processes import Options
from hclip_mmseg.datasets.preparation.registry import PREPARATIONS, find_preparation
from hclip_mmseg.datasets.preparation.tables import FromImage, number_table
from hclip_mmseg.files.errors import FullDiskError


def run(name, root, **options):
    return find_preparation(name).run(root, Options(partial=True, **options))


def image_of(path):
    return np.asarray(Image.open(path))


@pytest.fixture
def coco(tmp_path):
    write_owners(OWNERS["COCO-Stuff"], tmp_path)
    return tmp_path


@pytest.fixture
def context(tmp_path):
    write_owners(OWNERS["PC-459"], tmp_path)
    return tmp_path


def doubling(folder, count):
    """A conversion of ``count`` grey images of 2 x 3, k -> 2 k below 10."""
    maps = []
    for number in range(count):
        image, source = folder / f"{number:03d}.jpg", folder / f"{number:03d}.png"
        numbers = np.full((2, 3), number % 5, np.uint8)
        save_image(image, numbers)
        save(source, numbers)
        maps.append(LabelMap(image, source, folder / f"made/{number:03d}.png"))
    table = number_table({number: 2 * number for number in range(5)})
    splits = [Split("all", count, maps, lists={folder / "all.txt": ["x"]})]
    return Conversion("doubles", splits, FromImage(table), 10)


def test_coco_stuff_numbers_skip_what_was_never_used(tmp_path):
    unused = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}  # COCO's ids, from 1
    ids = [number for number in range(1, 183) if number not in unused]
    numbers = np.array([*ids, 256], np.int64).reshape(4, 43) - 1
    OWNERS["COCO-Stuff"].write(tmp_path, "val2017", "all", numbers)
    assert run("coco-stuff", tmp_path) == ["COCO-Stuff: 1 in val2017; 1 made now, 0 were there"]
    made = image_of(tmp_path / "annotations/val2017/all_labelTrainIds.png")
    assert made.dtype == np.uint8 and made.ravel().tolist() == [*range(171), 255]


def test_a_number_that_was_never_used_is_refused(tmp_path):
    OWNERS["COCO-Stuff"].write(tmp_path, "val2017", "odd", np.full((4, 4), 11))
    with pytest.raises(ValueError, match=r"odd\.png holds 11, which is none of the data set's numbers"):
        run("coco-stuff", tmp_path)
    assert not (tmp_path / "annotations/val2017/odd_labelTrainIds.png").exists()


def test_label_maps_of_16_bits(context):
    run("pascal-context", context)
    made = image_of(context / "SegmentationClassContext459/first.png")
    assert made.dtype == np.uint16 and made.max() == 65535
    assert image_of(context / "SegmentationClassContext/first.png").dtype == np.uint8
    lists = context / "ImageSets/SegmentationContext"
    assert (lists / "val.txt").read_text().split() == list(SIZES)
    assert (lists / "train.txt").read_text().split() == ["zeroth"]


def test_sbd_beside_voc(tmp_path):
    root = tmp_path / "VOC2012"
    write_owners(OWNERS["VOC21"], root)
    numbers = np.arange(20).reshape(4, 5) + 1
    for name in ("extra", "zeroth", "first"):  # the last two are VOC's own for training and for validation
        if name == "extra":
            write_sbd(root, name, numbers)
        else:
            write_sbd(root, name, np.full(SIZES["first"], 5))
    lines = run("pascal-voc", root)
    assert lines[-1] == "SBD: 1 in SBD; 1 made now, 0 were there"
    assert (root / "ImageSets/Segmentation/trainaug.txt").read_text().split() == ["extra", "zeroth"]
    assert (image_of(root / "SegmentationClassAug/extra.png") == numbers).all()
    voc = image_of(root / "SegmentationClass/zeroth.png")
    assert (image_of(root / "SegmentationClassAug/zeroth.png") == voc).all()
    assert not (root / "SegmentationClassAug/first.png").exists()


def test_official_numbers_of_images_are_expected(coco):
    with pytest.raises(ValueError, match="1 of 118,287 in train2017, 2 of 5,000 in val2017 images.*--partial"):
        find_preparation("coco-stuff").run(coco, Options())
    assert not list(coco.rglob("*_labelTrainIds.png"))


def test_a_split_that_is_not_there_is_left_out(coco):
    (coco / "images/train2017/zeroth.jpg").unlink()
    assert run("coco-stuff", coco) == ["COCO-Stuff: 2 in val2017; 2 made now, 0 were there"]
    for image in (coco / "images/val2017").iterdir():
        image.unlink()
    with pytest.raises(FileNotFoundError, match="no images below .*images.*stuffthingmaps_trainval2017.zip"):
        run("coco-stuff", coco)


def test_missing_sources_are_named_before_any_work(coco):
    (coco / "annotations/val2017/second.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 files of COCO-Stuff are missing: .*val2017/second\.png$"):
        run("coco-stuff", coco)
    assert not list(coco.rglob("*_labelTrainIds.png"))


def test_what_is_there_stays_and_what_is_torn_is_made_anew(coco):
    run("coco-stuff", coco)
    first, second = (coco / f"annotations/val2017/{name}_labelTrainIds.png" for name in SIZES)
    whole = second.read_bytes()
    second.write_bytes(whole[: len(whole) // 2])
    before = first.stat().st_mtime_ns
    with pytest.raises(ValueError, match="second_labelTrainIds.png is no image, or a truncated one"):
        run("coco-stuff", coco, check=True)
    assert run("coco-stuff", coco) == ["COCO-Stuff: 1 in train2017, 2 in val2017; 1 made now, 2 were there"]
    assert second.read_bytes() == whole and first.stat().st_mtime_ns == before


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_preparation_goes_on(tmp_path, jobs):
    conversion = doubling(tmp_path, 64)
    interrupted = []

    @contextmanager
    def progress(title, total):
        assert (title, total) == ("doubles: making", 64)

        def advance(count):
            interrupted.append(count)
            raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt):
        carry_out(conversion, Options(jobs=jobs, progress=progress))
    made = sorted((tmp_path / "made").iterdir())
    assert interrupted == [16] and len(made) >= 16 and all(map(is_whole, made))
    assert not (tmp_path / "all.txt").exists()
    assert carry_out(conversion, Options(jobs=jobs)) == [
        f"doubles: 64 in all; {64 - len(made)} made now, {len(made)} were there"
    ]
    for number in range(64):
        assert (image_of(tmp_path / f"made/{number:03d}.png") == 2 * (number % 5)).all()
    assert (tmp_path / "all.txt").read_text() == "x\n"
    assert not list(tmp_path.rglob("*.part"))


def test_a_label_map_appears_whole_or_not_at_all(tmp_path):
    conversion = doubling(tmp_path, 1)

    with at_most(20), pytest.raises(FullDiskError, match="File too large"):
        carry_out(conversion, Options())
    assert list((tmp_path / "made").iterdir()) == []
    carry_out(conversion, Options())
    assert is_whole(tmp_path / "made/000.png")


def test_one_bad_file_does_not_stop_the_others(tmp_path):
    conversion = doubling(tmp_path, 20)
    save(tmp_path / "003.png", np.full((2, 3), 7, np.uint8))
    save(tmp_path / "004.png", np.zeros((5, 3), np.uint8))
    (tmp_path / "005.png").write_bytes((tmp_path / "005.png").read_bytes()[:40])
    save(tmp_path / "006.png", np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(ValueError, match="4 of 20 label maps of doubles are not as they should be") as raised:
        carry_out(conversion, Options())
    assert "003.png holds 7" in str(raised.value) and "005.png is no image, or a truncated one" in str(raised.value)
    assert "004.png would be 3 x 5, but its image is 3 x 2" in str(raised.value)
    assert "006.png is an image of 3 colour channels" in str(raised.value)
    made = {path.stem for path in (tmp_path / "made").iterdir()}
    assert made == {f"{number:03d}" for number in range(20)} - {"003", "004", "005", "006"}
    assert not (tmp_path / "all.txt").exists()


def test_a_part_that_is_whole_can_be_used_whatever_the_others_hold(context):
    lists, torn = context / "ImageSets/SegmentationContext", context / "trainval/zeroth.mat"
    whole = torn.read_bytes()
    torn.write_bytes(whole[:40])
    with pytest.raises(ValueError, match="zeroth.mat is none of MATLAB's files") as raised:
        run("pascal-context", context)
    assert "1 of 3 label maps of PASCAL-Context-59" in str(raised.value)
    assert "1 of 3 label maps of PASCAL-Context-459" in str(raised.value)
    assert [path.name for path in lists.iterdir()] == ["val.txt"]
    assert is_whole(context / "SegmentationClassContext459/first.png")
    (context / "JPEGImages/zeroth.jpg").unlink()  # what the message advises
    run("pascal-context", context)
    assert [path.name for path in lists.iterdir()] == ["val.txt"]


def test_pascal_without_images_leaves_the_lists_alone(context, tmp_path):
    run("pascal-context", context)
    kept = (context / "ImageSets/SegmentationContext/val.txt").read_text()
    for image in (context / "JPEGImages").iterdir():
        image.unlink()
    with pytest.raises(FileNotFoundError, match="no images below .*JPEGImages"):
        run("pascal-context", context)
    assert (context / "ImageSets/SegmentationContext/val.txt").read_text() == kept


def test_voc_for_validation_alone(tmp_path):
    root = tmp_path / "VOC2012"
    write_owners(OWNERS["VOC21"], root)
    write_sbd(root, "extra", np.ones((4, 5), int))
    (root / "JPEGImages/zeroth.jpg").unlink()
    assert run("pascal-voc", root)[0].startswith("PASCAL VOC 2012: 2 in val; all checked")
    assert not (root / "SegmentationClassAug").exists()


def test_a_check_reads_everything_and_writes_nothing(context):
    with pytest.raises(FileNotFoundError, match="files of PASCAL-Context-59 are missing.*run it without --check"):
        run("pascal-context", context, check=True)
    assert not list(context.rglob("*.png"))
    run("pascal-context", context)
    lines = run("pascal-context", context, check=True)
    # of the five numbers but 0 two are among the 59 classes
    assert lines[0] == "PASCAL-Context-59: 1 in train, 2 in val; all checked, 3 of 60 labels occur"
    assert lines[1] == "PASCAL-Context-459: 1 in train, 2 in val; all checked, 5 of 459 labels occur"
    path = context / "SegmentationClassContext459/second.png"
    good = image_of(path)
    bad = good.copy()
    bad[0, 0] = 459
    Image.fromarray(bad).save(path)
    with pytest.raises(ValueError, match="second.png has the label 459; 0 to 458 and 65535 are the data set's"):
        run("pascal-context", context, check=True)
    Image.fromarray(good[:-1]).save(path)
    with pytest.raises(ValueError, match="second.png would be 10 x 15, but its image is 10 x 16"):
        run("pascal-context", context, check=True)
    Image.fromarray(good).save(path)
    (context / "ImageSets/SegmentationContext/val.txt").write_text("first\n")
    with pytest.raises(ValueError, match="val.txt lists other images"):
        run("pascal-context", context, check=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"MATLAB 5.0 MAT-file" + bytes(30), "none of MATLAB's files, or a truncated one"),
        ({"Other": np.ones((12, 20), np.uint16)}, "has no LabelMap"),
        ({"LabelMap": np.ones((12, 20))}, "no matrix of integers, but float64"),
        ({"LabelMap": np.full((12, 20), 460, np.uint16)}, "holds 460"),
        ({"LabelMap": np.full((12, 20), -1, np.int16)}, "holds -1"),
    ],
)
def test_bad_matlab_files_are_named(context, content, message):
    path = context / "trainval/first.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, content)
    with pytest.raises(ValueError, match=rf"first\.mat.*{message}"):
        run("pascal-context", context)


def test_damaged_compressed_matlab_files_are_named_and_do_not_stop_the_others(context):
    path = context / "trainval/first.mat"
    numbers = np.random.default_rng(0).integers(1, 400, SIZES["first"], np.uint16)
    savemat(path, {"LabelMap": numbers}, do_compression=True)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 16
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"first\.mat is none of MATLAB's files, or a truncated one"):
        run("pascal-context", context)
    assert (context / "SegmentationClassContext/second.png").is_file()


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8])
def test_truncated_images_are_named_and_do_not_stop_the_others(tmp_path, share):
    conversion = doubling(tmp_path, 3)
    image = conversion.splits[0].maps[1].image
    whole = image.read_bytes()
    image.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"001\.jpg is no image, or a truncated one"):
        carry_out(conversion, Options())
    assert all(conversion.splits[0].maps[number].target.is_file() for number in (0, 2))


def test_a_bad_list_of_images_is_named(context):
    (context / "trainval_merged.json").write_text(json.dumps(dict(annotations=[])))
    with pytest.raises(ValueError, match="trainval_merged.json is not PASCAL-Context's list of images"):
        run("pascal-context", context)
    (context / "trainval_merged.json").unlink()
    with pytest.raises(FileNotFoundError, match="lacks trainval_merged.json"):
        run("pascal-context", context)


class Payload:
    def __init__(self, call, *arguments):
        self.call = (call, arguments)

    def __reduce__(self):
        return self.call


def index_with(**changes):
    index = dict(
        filename=["a.jpg"], folder=["ADE20K_2021_17_01/images/ADE/training/cultural/cave"], objectnames=ADE_OBJECTS
    )
    return pickle.dumps({**index, **changes})


def test_the_index_is_read_without_its_arrays(tmp_path):
    path = tmp_path / "index_ade20k.pkl"
    for protocol, kind in (*product((2, 4), (object, "<U30", ">U16")), (5, object)):
        arrays = dict(
            objectPresence=np.eye(3),
            count=np.float64(3),
            filename=np.array(["a.jpg", "longer_é.jpg"], kind),
            folder=np.array(["ADE/validation/x", "ADE/training/y"], kind),
        )
        path.write_bytes(pickle.dumps({**pickle.loads(index_with()), **arrays}, protocol=protocol))
        index = read_index(path)
        assert index.objects == tuple(ADE_OBJECTS)
        assert [str(image) for image in index.images] == ["validation/x/a.jpg", "training/y/longer_é.jpg"]


@pytest.mark.parametrize("place", ["scene", "filename", "objectnames"])
def test_nothing_in_the_index_is_executed(tmp_path, place):
    path, touched = tmp_path / "index_ade20k.pkl", tmp_path / "touched"
    path.write_bytes(index_with(**{place: Payload(os.mkdir, str(touched))}))
    with pytest.raises(ValueError, match=r"index_ade20k\.pkl is not read: it refers to posix\.mkdir"):
        read_index(path)
    path.write_bytes(index_with(**{place: Payload(eval, "__import__('os').mkdir('x')")}))
    with pytest.raises(ValueError, match="it refers to builtins.eval"):
        read_index(path)
    assert not touched.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (index_with()[:-30], "no pickled index, or a truncated one"),
        (b"", "no pickled index"),
        (b"hello", "no pickled index"),
        (pickle.dumps([1, 2]), "holds a list, not ADE20K's index"),
        (index_with(objectnames=[1, 2]), "no list of strings under 'objectnames'"),
        (index_with(folder=["a", "b"]), "1 images and 2 folders"),
        (index_with(folder=["ADE/training/../../../../etc"]), "not below images/ADE"),
        (index_with(folder=["/etc/ADE/training"]), "not below images/ADE"),
        (index_with(filename=["/etc/passwd.jpg"]), "not below images/ADE"),
        (index_with(folder=["ADE/elsewhere"]), "no image for training or validation"),
        (index_with(filename=["a.png"]), "no image for training or validation"),
    ],
)
def test_bad_indices_are_refused(tmp_path, content, message):
    path = tmp_path / "index_ade20k.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"index_ade20k\.pkl.*{message}"):
        read_index(path)


def test_an_index_of_another_release_is_refused(tmp_path):
    write_owners(OWNERS["A-847"], tmp_path)
    (tmp_path / "index_ade20k.pkl").write_bytes(
        index_with(filename=["first.jpg"], folder=["ADE/validation/cultural/cave"], objectnames=ADE_OBJECTS[5:])
    )
    with pytest.raises(ValueError, match="no objects for 4 of the 847 classes"):
        run("ade20k-847", tmp_path)


def test_an_object_that_the_index_lacks_is_refused(tmp_path):
    write_owners(OWNERS["A-847"], tmp_path)
    numbers = np.full(SIZES["first"], len(ADE_OBJECTS) + 1)
    OWNERS["A-847"].write(tmp_path, "validation", "first", numbers)
    with pytest.raises(ValueError, match=rf"first_seg\.png holds {len(ADE_OBJECTS) + 1}"):
        run("A-847", tmp_path)
    assert not (tmp_path / "labels_847/validation.txt").exists()


def test_benchmarks_and_data_sets_are_found_by_name():
    assert find_preparation("a-847") is find_preparation("ADE20K-847") is PREPARATIONS["ade20k-847"]
    assert find_preparation("COCO-27").name == "coco-stuff"
    with pytest.raises(KeyError, match="no preparation 'imagenet'; there are ade20k-847, .*ov-coco"):
        find_preparation("imagenet")


@pytest.fixture
def tool(repository, monkeypatch, capsys):
    """Runs the script as a person would; its exit code, standard output and error."""
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["prepare_dataset.py", *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(repository / "tools/prepare_dataset.py"), run_name="__main__")
        except SystemExit as ended:
            code = ended.code
        return (code, *capsys.readouterr())

    yield call
    signal.signal(signal.SIGTERM, handler)


def test_the_tool_prepares_and_checks(tool, coco):
    code, out, err = tool("COCO-Object", "--root", coco, "--partial", "--jobs", 2)
    assert (code, out) == (0, "COCO-Stuff: 1 in train2017, 2 in val2017; 3 made now, 0 were there\n")
    assert "COCO-Stuff: making" in err and "3/3" in err
    code, out, _ = tool("coco-stuff", "--root", coco, "--partial", "--check")
    assert (code, out) == (0, "COCO-Stuff: 1 in train2017, 2 in val2017; all checked, 8 of 171 labels occur\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("coco-stuff", "--root", "nowhere"), "error: no folder .*nowhere"),
        (("coco-stuff", "--root", "."), "error: COCO-Stuff is not complete"),
        (("imagenet", "--root", "."), "error: no preparation 'imagenet'"),
        (("coco-stuff", "--root", ".", "--jobs", "0"), "error: --jobs must be at least 1"),
    ],
)
def test_the_tool_says_in_a_line_what_is_wrong(tool, coco, monkeypatch, arguments, message):
    monkeypatch.chdir(coco)
    code, _, err = tool(*arguments)
    assert code == 2 and len(err.strip().splitlines()) == 1
    assert re.match(message, err)


def test_the_tool_can_be_interrupted(tool, coco, monkeypatch):
    def stop(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("hclip_mmseg.datasets.preparation.conversion.save_whole", stop)
    code, _, err = tool("coco-stuff", "--root", coco, "--partial", "--jobs", 1)
    assert code == 130 and "interrupted; what is made stays, and the same command goes on from there" in err


def test_the_tool_prepares_ov_coco(tool, tmp_path):
    from miniature_coco import write_coco

    write_coco(tmp_path)
    code, out, _ = tool("ov-coco", "--root", tmp_path)
    assert code == 0 and out.count("wrote ") == 4
    code, out, _ = tool("ov-coco", "--root", tmp_path, "--check")
    assert code == 0 and "instances_val2017_novel.json: " in out
    broken = tmp_path / "annotations/ov-coco/instances_val2017_novel.json"
    (tmp_path / "annotations/ov-coco/instances_val2017_all.json").replace(broken)
    code, _, err = tool("ov-coco", "--root", tmp_path, "--check")
    assert code == 2 and "are not the names of ov_coco_17" in err
