"""A container's share of the cores, as both versions of control groups show it."""

from __future__ import annotations

import pytest
import torch

from hclip_mmseg.engine import threads
from hclip_mmseg.engine.threads import core_count, fit_threads, processor_quota


def groups(folder, own: str, files: dict[str, str]):
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "own").write_text(own)
    return folder / "cgroup", folder / "own"


@pytest.mark.parametrize(
    "own, files, expected",
    [
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/pod/box\n", {"pod/cpu.max": "150000 100000", "pod/box/cpu.max": "400000 100000"}, 1.5),
        ("0::/of/the/host\n", {"cpu.max": "200000 100000"}, 2.0),  # in a container the path may be the host's
        ("4:memory:/\n1:cpu,cpuacct:/box\n",
         {"cpu,cpuacct/box/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n"}, 0.5),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("1:cpuset:/\n", {"cpu.max": "100000 100000"}, None),
        ("0::/\n", {"cpu.max": "unreadable"}, None),
        ("0::/\n", {}, None),
    ],
)  # fmt: skip
def test_the_quota_is_read(tmp_path, own, files, expected):
    assert processor_quota(*groups(tmp_path, own, files)) == expected


def test_elsewhere_than_on_linux_there_is_none(tmp_path):
    assert processor_quota(tmp_path, tmp_path / "none") is None


def test_a_quota_bounds_the_cores_and_the_threads_unless_the_user_has(monkeypatch):
    assert core_count(0.3) == 1 and core_count(None) >= 1 and core_count(1000.0) == core_count(None)
    monkeypatch.setattr(threads, "processor_quota", lambda: 1.9)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert fit_threads() == 2
        for name in threads.SET_BY_USER:
            monkeypatch.delenv(name, raising=False)
        assert fit_threads() == 1 == torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
