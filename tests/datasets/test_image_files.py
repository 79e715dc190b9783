"""Images are the same pixels to predict.py, to tests and to training, and what cannot be read is named."""

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS as DETECTION_TRANSFORMS
from mmengine.registry import DefaultScope
from mmseg.registry import TRANSFORMS
from PIL import Image

import hclip_mmseg.detection  # noqa: F401  (registers with MMDetection)
from hclip_mmseg.apis.images import read_image

COLOURS = np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 2**16, (24, 31), dtype=np.uint16)
REGISTRIES = {"mmseg": TRANSFORMS, "mmdet": DETECTION_TRANSFORMS}


def load(path, scope="mmseg", **settings):
    """RGB pixels as a data set's pipeline loads them."""
    with DefaultScope.overwrite_default_scope(scope):
        loader = REGISTRIES[scope].build(dict(type="LoadImageFromFile", **settings))
    return loader(dict(img_path=str(path)))["img"][..., ::-1]


@pytest.mark.parametrize("scope", REGISTRIES)
@pytest.mark.parametrize("colours", ["color", "color_ignore_orientation"])
@pytest.mark.parametrize(
    "name", ["RGB.png", "RGB.jpg", "L.png", "LA.png", "RGBA.png", "P.png", "P.gif", "1.png", "CMYK.jpg", "CMYK.tif"]
)
def test_every_kind_of_image_is_read_alike(name, colours, scope, tmp_path):
    path = tmp_path / name
    Image.fromarray(COLOURS).convert(path.stem).save(path)
    assert (load(path, scope, imdecode_backend="pillow", color_type=colours) == read_image(path)).all()


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_of_sixteen_bits_of_grey_the_upper_eight_are_taken(name, tmp_path):
    Image.fromarray(DEEP).save(tmp_path / name)
    expected = np.repeat((DEEP // 256)[..., None], 3, axis=2)
    assert (read_image(tmp_path / name) == expected).all()
    for backend in ("pillow", "cv2"):
        assert (load(tmp_path / name, imdecode_backend=backend) == expected).all()


def test_an_image_is_turned_where_it_is_asked_for(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOURS).save(tmp_path / "turned.png", exif=exif)
    assert (load(tmp_path / "turned.png", imdecode_backend="pillow") == read_image(tmp_path / "turned.png")).all()
    stored = load(tmp_path / "turned.png", imdecode_backend="pillow", color_type="color_ignore_orientation")
    assert (stored == COLOURS).all()


@pytest.mark.parametrize("backend", ["pillow", "cv2"])
@pytest.mark.parametrize("content", [b"", b"no image at all", None], ids=["empty", "text", "cut"])
def test_a_broken_image_is_named(content, backend, tmp_path):
    path = tmp_path / "broken.png"
    if content is None:
        Image.fromarray(COLOURS).save(path)
        content = path.read_bytes()[:30]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.png is "):
        load(path, imdecode_backend=backend)


def test_settings_of_mmcvs_loader_stay(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    assert load(tmp_path / "a.png", imdecode_backend="pillow", to_float32=True).dtype == np.float32
    grey = TRANSFORMS.build(dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="grayscale"))
    assert grey(dict(img_path=str(tmp_path / "a.png")))["img"].shape == (24, 31)
    absent = dict(img_path=str(tmp_path / "absent.png"))
    with pytest.raises(FileNotFoundError):
        TRANSFORMS.build(dict(type="LoadImageFromFile", imdecode_backend="pillow"))(absent)
    for backend in ("pillow", "cv2"):
        lenient = dict(type="LoadImageFromFile", imdecode_backend=backend, ignore_empty=True)
        assert TRANSFORMS.build(lenient)(absent) is None
