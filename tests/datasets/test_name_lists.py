"""Lists of class names in the forms in which projects keep them, and what is refused."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from hclip_mmseg.datasets.coco_stuff import COCOStuff171Dataset
from hclip_mmseg.vocabularies import load_vocabulary, read_names, read_vocabulary
from hclip_mmseg.vocabularies.doubts import doubts_about
from hclip_mmseg.vocabularies.names import names_of_text

WALL = ("wall", "traffic light", "sky")
SYNONYMS = ("wall, brick wall", "traffic light, stoplight", "sky")
TWELVE = tuple(f"thing {index}" for index in range(12))
CATEGORIES = [dict(id=index, name=name, supercategory="thing") for index, name in enumerate(WALL, 1)]

FILES = {
    "lines": ("names.txt", "# three\nwall\n\ntraffic light\nsky\n", WALL),
    "lines without an ending": ("names", "wall\ntraffic light\nsky", WALL),
    "windows' lines": ("names.txt", "\ufeffwall\r\ntraffic light\r\nsky\r\n", WALL),
    "numbered lines": ("labels.txt", "0: wall\n1: traffic light\n2: sky\n", WALL),
    "numbered in another order": ("labels.txt", "2: sky\n0: wall\n1: traffic light\n", WALL),
    "numbers and blanks": ("labels.txt", "0 wall\n1 traffic light\n2 sky\n", WALL),
    "numbers and points": ("labels.txt", "1. wall\n2. traffic light\n3. sky\n", WALL),
    "numbered with synonyms": ("prompts.txt", "1:wall,brick wall\n2:traffic light,stoplight\n3:sky\n", SYNONYMS),
    "synonyms behind commas": ("names.txt", "wall, brick wall\ntraffic light, stoplight\nsky\n", SYNONYMS),
    "synonyms behind a colon": ("names.txt", "wall: brick wall\ntraffic light: stoplight\nsky\n", SYNONYMS),
    "synonyms behind semicolons": ("cls.txt", "wall; brick wall\ntraffic light; stoplight\nsky\n", SYNONYMS),
    "synonyms behind equals signs": ("cls.txt", "wall=brick wall\ntraffic light=stoplight\nsky\n", SYNONYMS),
    "names that begin with numbers": ("names.txt", "2 door car\n4 door car\n", ("2 door car", "4 door car")),
    "a table of ADE20K's": (
        "objectInfo.txt", "Idx\tRatio\tName\n1\t0.2\twall, brick wall \n2 \t0.1\ttraffic light, stoplight\n3\t0\tsky\n",
        SYNONYMS,
    ),
    "CSV": ("classes.csv", "id,name\n0,wall\n1,traffic light\n2,sky\n", WALL),
    "CSV of quotes": ("classes.csv", 'name,id\n"wall, brick wall",0\n"traffic light, stoplight",1\nsky,2\n', SYNONYMS),
    "CSV of semicolons": ("classes.csv", "Label;Class Name\n0;wall\n1;traffic light\n2;sky\n", WALL),
    "CSV whose labels are numbers": ("classes.csv", "label,class\n0,wall\n1,traffic light\n2,sky\n", WALL),
    "CSV with synonyms": (
        "classes.csv", "id,name,synonyms\n0,wall,brick wall\n1,traffic light,stoplight\n2,sky,\n", SYNONYMS,
    ),
    "CSV of one column": ("classes.csv", 'name\n"wall, brick wall"\ntraffic light;stoplight\nsky\n', SYNONYMS),
    "CSV without a heading": ("classes.csv", "wall\ntraffic light\nsky\n", WALL),
    "CSV in text": ("classes.txt", "id,name\n0,wall\n1,traffic light\n2,sky\n", WALL),
    "tabs": ("classes.tsv", "index\tdisplayName\n0\twall\n1\ttraffic light\n2\tsky\n", WALL),
    "a JSON list": ("own.json", json.dumps(WALL, indent=2), WALL),
    "a JSON list of synonyms": (
        "own.json", '[["wall", "brick wall"], ["traffic light", "stoplight"], ["sky"]]', SYNONYMS,
    ),
    "JSON in text": ("own.txt", json.dumps(WALL), WALL),
    "JSON of numbers": ("own.json", '{"2": "sky", "0": "wall", "1": "traffic light"}', WALL),
    "JSON of twelve numbers": ("own.json", json.dumps({str(i): f"thing {i}" for i in range(12)}), TWELVE),
    "JSON of names and numbers": ("own.json", '{"wall": 0, "sky": 2, "traffic light": 1}', WALL),
    "JSON of synonyms": ("own.json", '{"wall": ["brick wall"], "traffic light": ["stoplight"], "sky": []}', SYNONYMS),
    "JSON whose synonyms repeat the name": (
        "own.json", '{"wall": ["wall", "brick wall"], "traffic light": ["traffic light", "stoplight"], "sky": ["sky"]}',
        SYNONYMS,
    ),
    "COCO": ("instances.json", json.dumps(dict(images=[], annotations=[], categories=CATEGORIES)), WALL),
    "LVIS": (
        "lvis.json", '{"categories": [{"name": "wall", "synonyms": ["wall", "brick wall"]}, {"name": "sky"}]}',
        ("wall, brick wall", "sky"),
    ),
    "Mapillary": (
        "config.json", '{"labels": [{"name": "construction--wall", "readable": "wall"}, {"readable": "sky"}]}',
        ("wall", "sky"),
    ),
    "Hugging Face's config": ("config.json", '{"model": "x", "id2label": {"0": "wall", "1": "sky"}}', ("wall", "sky")),
    "metainfo": ("meta.json", '{"metainfo": {"classes": ["wall", "sky"], "palette": [[0, 0, 0]]}}', ("wall", "sky")),
    "YAML": ("data.yaml", "path: data\ntrain: images\nnc: 3\nnames:\n  - wall\n  - traffic light\n  - sky\n", WALL),
    "YAML of numbers": ("data.yml", "names:\n  0: wall\n  1: traffic light\n  2: sky\n", WALL),
    "YAML in one line": ("data.yaml", "nc: 3\nnames: ['wall', 'traffic light', 'sky']\n", WALL),
    "YAML in text": ("names.txt", "names:\n  - wall\n  - traffic light\n  - sky\n", WALL),
    "YAML's list": ("names.txt", "- wall\n- traffic light\n- sky\n", WALL),
    "YAML's object": ("data.yaml", "wall: [partition]\ngrass:\nsky: []\n", ("wall, partition", "grass", "sky")),
    "YAML's words for truth": ("data.yaml", "names:\n  - no\n  - wall\n  - on\n", ("no", "wall", "on")),
    "Python's literal": ("names.txt", "('wall', 'traffic light', 'sky',)\n", WALL),
    "a data set of MMSegmentation": (
        "own.py", "import os\n\nclass Own:\n    METAINFO = dict(\n        classes=('wall', 'traffic light', 'sky'),\n"
        "        palette=[[0, 0, 0]])\n", WALL,
    ),
    "a config": ("own.py", "meta = {'classes': ['wall', 'sky']}\ndata = dict(metainfo=meta)\n", ("wall", "sky")),
}  # fmt: skip

REFUSED = {
    "cut-off JSON": ("own.json", '["wall",\n "traffic', r"no list of class names .*its first line is '\[\"wall\",'"),
    "a text of brackets": ("own.txt", '[\n"wall"\n', r"its first line is '\['"),
    "TensorFlow's label map": ("map.pbtxt", 'item {\n  name: "wall"\n}\n', "its first line is 'item {'"),
    "XML": ("own.xml", "<names>\n<name>wall</name>\n</names>\n", "its first line is '<names>'"),
    "a table without a column of names": (
        "own.csv", "id,mot\n0,wall\n1,sky\n", r"not clear.* id, mot; name it by .*own.csv:COLUMN.*line is 'id,mot'",
    ),
    "a table of two such columns": ("own.csv", "name,name\nwall,Wand\n", "column of the names is not clear"),
    "a table without a heading": ("own.csv", "wall,Wand\nsky,Himmel\n", "first line is 'wall,Wand'"),
    "one line": ("names.txt", "cat, grass, traffic light\n", "one line with commas: .* a line of its own"),
    "one line of semicolons": ("names.txt", "cat; grass\n", "a line of its own"),
    "settings": ("data.yaml", "train: images/train\nnc: 3\n", "first line is 'train: images/train'"),
    "YAML without a list": ("data.yaml", "names: wall sky\n", "'wall sky' is no list of class names"),
    "numbers": ("own.json", "[1, 2, 3]", "class name 0 is 1 of type int, not a string"),
    "boxes without categories": ("own.json", '{"images": [{"id": 1}]}', "are no synonyms"),
    "categories without names": ("own.json", '{"categories": [{"id": 1}]}', r"entry 0, {'id': 1}, has no name"),
    "Python without a list": ("own.py", "classes = open('x').read()\n", "it has 0 lists of texts"),
    "Python with two": ("own.py", "classes = ['wall']\nnames = ['sky']\n", "it has 2 lists of texts"),
    "broken Python": ("own.py", "classes = [\n", r"first line is 'classes = \['"),
    "an empty file": ("own.txt", "\n# nothing\n", "no class names given"),
    "a name twice": ("own.json", '["wall", "wall"]', r"own\.json: class name 'wall' is given 2 times"),
    "deep nests": ("own.json", "[" * 100_000, "is no list of class names"),
}  # fmt: skip


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("form", FILES)
def test_lists_of_names_are_read_as_projects_keep_them(tmp_path, form):
    name, text, titles = FILES[form]
    path = written(tmp_path, name, text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in (path, str(path)):
            assert read_vocabulary(source).titles == titles
    assert read_vocabulary(path).source == str(path)


@pytest.mark.parametrize("form", REFUSED)
def test_a_file_that_is_no_list_of_names_is_refused_with_its_first_line(tmp_path, form):
    name, text, said = REFUSED[form]
    with pytest.raises(ValueError, match=said) as refused:
        read_vocabulary(written(tmp_path, name, text))
    assert name in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_of_names_is_never_executed(tmp_path):
    trace = tmp_path / "trace"
    written(tmp_path, "own.py", f"open({str(trace)!r}, 'w')\nclasses = ['wall', 'sky']\n")
    assert read_names(tmp_path / "own.py") == ("wall", "sky")
    written(tmp_path, "own.yaml", f"names: !!python/object/apply:os.mkdir [{str(trace)}]\n")
    with pytest.raises(ValueError, match="no list of class names"):
        read_names(tmp_path / "own.yaml")
    assert not trace.exists()


def test_the_column_of_names_can_be_given(tmp_path):
    path = written(tmp_path, "own.csv", "id,mot,Wort\n0,mur,Wand\n1,ciel,Himmel\n")
    assert read_names(f"{path}:Wort") == ("Wand", "Himmel") and read_names(Path(f"{path}:mot")) == ("mur", "ciel")
    with pytest.raises(ValueError, match="there is no column 'word'; its first line has: id, mot, Wort"):
        read_names(f"{path}:word")
    with pytest.raises(FileNotFoundError, match=r"did you mean '.*own\.csv'"):
        read_names(f"{tmp_path / 'owm.csv'}:mot")


def test_python_values_are_read_as_files_are():
    assert read_names(["wall", "sky, air"]) == read_names(("wall", "sky, air")) == ("wall", "sky, air")
    assert read_names([["wall"], ("sky", "air")]) == ("wall", "sky, air")
    assert read_names({0: "wall", 1: "sky"}) == read_names({"wall": 0, "sky": 1}) == ("wall", "sky")
    assert read_names({"wall": ["brick wall"], "sky": None}) == ("wall, brick wall", "sky")
    assert read_names(dict(classes=("wall", "sky"), palette=[[0, 0, 0], [1, 1, 1]])) == ("wall", "sky")
    assert read_names('["wall", "traffic light"]') == ("wall", "traffic light")
    with pytest.raises(ValueError, match="begins like a list"):
        read_names('["wall", "sky"')
    with pytest.raises(ValueError, match="class name 1 is 3 of type int"):
        read_names(["wall", 3])


def test_synonyms_in_a_text_are_names_of_one_class():
    vocabulary = read_vocabulary("person = man,  woman, child; cat, dog\nsky=air")
    assert vocabulary.titles == ("person, man, woman, child", "cat", "dog", "sky, air")
    assert vocabulary.asked == ("person", "man", "woman", "child", "cat", "dog", "sky", "air")
    assert vocabulary.folds == (0, 0, 0, 0, 1, 2, 3, 3)


@pytest.mark.parametrize("text", ["cat, person = man", "person = man = woman", "= man", "person = man,"])
def test_what_is_no_class_with_synonyms_is_refused(text):
    with pytest.raises(ValueError, match="write 'person = man, woman', and ';' between the classes"):
        read_vocabulary(text)


def test_names_of_a_text_come_from_no_file(tmp_path):
    path = written(tmp_path, "secret.txt", "wall\nsky\n")
    assert read_names(str(path)) == ("wall", "sky")
    with pytest.warns(UserWarning, match="look like a file's syntax"):
        assert names_of_text(str(path)).titles == (str(path),)
    assert names_of_text("A-150").name == "ade20k_150"


def test_things_and_stuff_of_coco_s_categories_stay(tmp_path):
    categories = [dict(category, isthing=int(category["name"] != "sky")) for category in CATEGORIES]
    vocabulary = read_vocabulary(written(tmp_path, "panoptic.json", json.dumps(dict(categories=categories))))
    assert vocabulary.titles == WALL and vocabulary.things == (True, True, False)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["wall", "sky]"], r"'sky\]' look like a file's syntax"),
        (["wall", "traffic_light"], "'traffic_light' look like a file's syntax"),
        (["wall", "7"], "'7' hold no letter"),
        ([f"a_{i}" for i in range(9)], "'a_0', 'a_1', 'a_2' and 6 more"),
        ("wall, 1: sky", "'1: sky' look like"),
        ("cat . dog ., sky", "'cat . dog .' have full stops between words, where names take commas"),
        ("cat. dog., sky", "'cat. dog.' have full stops"),
    ],
)
def test_names_that_look_like_syntax_or_numbers_are_warned_of(names, said):
    with pytest.warns(UserWarning, match=said):
        assert len(read_names(names)) > 1


def test_no_benchmark_s_list_is_doubted():
    for name in ("ade20k_847", "pascal_context_459", "mapillary_65", "ov_coco_65", "coco_stuff_171"):
        assert doubts_about(load_vocabulary(name).titles) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ade20k_848", "did you mean 'ade20k_847'"),
        ("A-848", "did you mean 'A-847'"),
        ("ade20k", "did you mean 'ade20k_"),
        ("pascal voc", "did you mean 'pascal_voc_20'"),
        ("coco_stuf_171@fc-clip", "did you mean 'coco_stuff_171'"),
        ("cat, A-847", "'A-847' is a list of its own"),
        ("cat, names.txt", "'names.txt' is a list of its own"),
        ("cat, names.tx", "'names.tx' is a list of its own"),
        ("cityscape", "did you mean 'Cityscapes'"),
        ("coco objects", "did you mean 'COCO-Object'"),
    ],
)
def test_what_is_nearly_a_benchmark_is_no_class_name(text, said):
    with pytest.raises(ValueError, match=said):
        read_names(text)


def test_what_looks_like_a_file_and_is_none_is_no_class_name(tmp_path, monkeypatch):
    written(tmp_path, "classes.json", '["wall"]')
    monkeypatch.chdir(tmp_path)
    for text in ("clases.json", "./clases.json", f"{tmp_path}/clases.json"):
        with pytest.raises(FileNotFoundError, match="no file of class names at .*did you mean '.*classes.json'"):
            read_names(text)
    for text in ("clases.jso", "classes.js", "classes.j", "classesjson", "classes_json"):
        with pytest.raises(FileNotFoundError, match=r"did you mean 'classes\.json'\? \(if this is a class name, give"):
            read_names(text)
    (tmp_path / "w.safetensors").touch()
    for text in ("w.safetensor", "w.safetensros", "w.safetensors.part", "v.safetensors"):
        with pytest.raises(FileNotFoundError, match=r"did you mean 'w\.safetensors'\?"):
            read_names(text)
    for text in ("data.yaml", "own.names", "names.xlsx", "names.tx", "/absent", f"{tmp_path}/own", "~/absent",
                 "~nobody/absent"):  # fmt: skip
        with pytest.raises(FileNotFoundError, match="no file of class names at"):
            read_names(text)
    with pytest.warns(
        UserWarning, match=r"'classes' is taken for a class name; for the file's names give 'classes\.json'"
    ):
        assert read_names("classes") == ("classes",)
    with pytest.raises(ValueError, match="is a folder, not a file of class names"):
        read_names(f"{tmp_path}/")
    with pytest.raises(ValueError, match="not from the network: download https://example.org/names.txt first"):
        read_names("https://example.org/names.txt")
    for text in ("tv/monitor", "St. Bernard", "b-52", "t-shirt", "F-16", "car", "U.S. flag", "U.S", "B.Sc", "class",
                 "papillary", "city"):  # fmt: skip
        assert read_names(text) == (text,)
    assert read_names("building, cityscape") == ("building", "cityscape")
    assert read_names('["node.js"]') == ("node.js",)


@pytest.mark.parametrize("text", ["cat; dog; traffic light", "cat;dog;\ntraffic light", "cat，dog、traffic light"])
def test_semicolons_and_other_scripts_commas_part_the_classes_of_a_text(text):
    assert read_names(text) == ("cat", "dog", "traffic light")


def test_every_name_of_a_class_can_be_asked_for_by_itself(tmp_path):
    path = written(tmp_path, "cls.txt", "wall; a lamp, lit\nsky, air\nman: person\nwoman: person\n")
    vocabulary = read_vocabulary(f"{path}@each")
    assert vocabulary.members == (("wall", "a lamp, lit"), ("sky", "air"), ("man", "person"), ("woman", "person"))
    assert vocabulary.titles == read_names(path) and vocabulary.folds == (0, 0, 1, 1, 2, 2, 3, 3)
    table = written(tmp_path, "own.csv", "id,mot,Wort\n0,mur,Wand\n1,ciel,Himmel\n")
    assert read_vocabulary(f"{table}:Wort@each").members == (("Wand",), ("Himmel",))
    with pytest.raises(FileNotFoundError, match=r"did you mean '.*cls\.txt'"):
        read_vocabulary(f"{tmp_path / 'clss.txt'}@each")


def test_a_data_set_is_asked_for_by_a_class_file(tmp_path):
    classes = COCOStuff171Dataset.METAINFO["classes"]
    path = written(tmp_path, "cls_coco_stuff.txt", "\n".join(f"{name}; small {name}" for name in classes))
    dataset = COCOStuff171Dataset(vocabulary=f"{path}@each", data_root=str(tmp_path), lazy_init=True)
    assert dataset.metainfo["classes"] == classes
    assert dataset.metainfo["vocabulary"][:2] == ("person", "small person")
    assert dataset.metainfo["folds"] == tuple(index for index in range(171) for _ in range(2))
    path.write_text("wall\nsky\n")
    with pytest.raises(ValueError, match=r"COCOStuff171Dataset has 171 classes, the vocabulary '.*@each' 2"):
        COCOStuff171Dataset(vocabulary=f"{path}@each", data_root=str(tmp_path), lazy_init=True)
