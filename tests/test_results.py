"""What the pages' tables rest on: the JSON that benchmarks wrote, rendered again; and that the parts of a benchmark do what they should."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from scripts.bench import plan, results, tables
from scripts.bench.command import benchmarks, parser
from scripts.bench.results import PAGES, PUBLISHED, ROOT, Results, load, rendered
from scripts.scenes import MARGIN
from scripts.sensors import SCORED, louder, sensor, sensors, trial

WITH_TABLES = [p for p in PAGES if "<!-- table:" in p.read_text(encoding="utf-8")]


def by_path(path: Path) -> str:
    """A name for a case."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", WITH_TABLES, ids=by_path)
def test_pages_have_the_tables_of_their_results(page: Path) -> None:
    assert rendered(page.read_text(encoding="utf-8")) == page.read_text(encoding="utf-8"), "run python -m scripts.bench --render"


def test_all_results_are_shown_and_small_and_name_no_machine_path() -> None:
    pages = "".join(p.read_text(encoding="utf-8") for p in WITH_TABLES)
    files = sorted(PUBLISHED.glob("*.json"))
    assert files
    assert sum(p.stat().st_size for p in files) < 600_000, "scene by scene, for intervals over scenes"
    for path in files:
        head, records = load(path)
        assert f"<!-- table: {path.stem}/" in pages
        assert head["benchmark"] in benchmarks()
        assert records
        assert not any(word in path.read_text(encoding="utf-8") for word in ("/home", "/tmp", "/work", "/root"))


def test_a_page_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "tables_of", lambda name: {"all": f"| {name} |"})
    page = "a\n<!-- table: rate/all -->\n\n| x |\n\n<!-- end -->\nb\n"
    assert rendered(page) == page.replace("| x |", "| rate |")
    with pytest.raises(SystemExit, match="no <!-- end -->"):
        rendered(page.replace("<!-- end -->", ""))
    with pytest.raises(SystemExit, match="no table 'most'; there are all"):
        rendered(page.replace("/all", "/most"))


@pytest.mark.parametrize("name", sorted(benchmarks()))
def test_each_benchmark_has_a_parser_and_tables(name: str) -> None:
    assert f"python -m scripts.bench {name}" in parser(name).format_help()
    assert callable(results.benchmark(name).tables)


def test_results_are_resumed_and_published_without_what_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = results.described("rate", argparse.Namespace(data=tmp_path, prior="pan", publish="x"))
    assert head["arguments"] == {"prior": "pan"}
    calls: list[int] = []

    def measured(value: int) -> dict[str, object]:
        calls.append(value)
        return {"psnr": value / 3, "_curve": [1.0]}

    for _ in range(2):
        found = Results(head, tmp_path / "work.json")
        assert found.once({"scene": "a"}, measured, 1)["psnr"] == 1 / 3
        found.once({"scene": "b"}, measured, 2)
    assert calls == [1, 2]
    monkeypatch.setattr(results, "PUBLISHED", tmp_path)
    found.publish("x")
    assert load(tmp_path / "x.json")[1] == [{"scene": "a", "psnr": 0.33333333}, {"scene": "b", "psnr": 0.66666667}]
    json.loads((tmp_path / "x.json").read_text())
    with pytest.raises(SystemExit, match="choose another --work"):
        Results(head | {"benchmark": "tiles"}, tmp_path / "work.json")


def test_each_record_keeps_the_commit_that_it_was_measured_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "work.json"
    results.write(path, {"benchmark": "rate"}, [{"scene": "former"}])
    path.write_text(path.read_text().replace(' "commits": [],\n', ""))  # as files were before commits were kept
    for commit, scenes in (("aaa", "ab"), ("bbb+", "abcd"), ("aaa", "abcde"), ("ccc", "abcde")):
        monkeypatch.setattr(results, "this_commit", lambda commit=commit: commit)
        found = Results({"benchmark": "rate", "date": commit}, path)
        for scene in scenes:
            found.once({"scene": scene}, dict, {"psnr": 1.0})
        found.save()
    assert load(path)[0]["commits"] == [["", 1], ["aaa", 2], ["bbb+", 2], ["aaa", 1]]
    assert len(load(path)[1]) == 6


def test_results_of_which_the_code_is_not_known_or_has_changed_are_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PUBLISHED", tmp_path)
    changes = {
        "aaa": "",
        "bbb": "imaging/metrics.py\nmodels/pan/recipe.toml\nmodels/rgb/weights.safetensors\nmodels/pan/weights.safetensors",
    }
    monkeypatch.setattr(plan, "git", lambda *given: changes.get(given[2]) if given[2] in changes else None)
    for name, commits in {"x": [["aaa", 1]], "y": [["aaa", 1], ["bbb", 1]], "z": [["aaa+", 1]], "gone": [["ddd", 1]]}.items():
        results.write(tmp_path / f"{name}.json", {"benchmark": "rate", "date": "2026-01-01", "commits": commits}, [{"scene": "a"}])
    results.write(tmp_path / "old.json", {"benchmark": "rate", "date": "2026-01-01"}, [{"scene": "a"}])
    state = {name: said for name, _, _, said in plan.states()}
    assert state == {
        "x": "", "y": "imaging, pan, rgb changed since", "z": "of uncommitted code",
        "gone": "of a commit that is not here", "old": "of no known commit",
    }  # fmt: skip


def test_the_plan_runs_all_published_files_with_options_that_there_are(tmp_path: Path) -> None:
    assert {p.stem for p in PUBLISHED.glob("*.json")} == set(plan.PLAN)
    for name in plan.PLAN:
        parsed = [parser(given[0]).parse_args(given[1:]) for given in plan.command_lines(name, tmp_path, tmp_path)]
        assert [p.publish for p in parsed] == [None] * (len(parsed) - 1) + [name]
        assert all(p.work == tmp_path / name for p in parsed)


def test_the_plan_ends_when_its_time_is_over_and_names_what_failed(tmp_path: Path) -> None:
    calls: list[str] = []

    def start(given: list[str], seconds: float | None) -> int:
        calls.append(given[0])
        return 1 if given[0] == "rate" else 0

    assert plan.run_all(tmp_path, tmp_path, ["rate", "checks"], None, start) == ["rate"]
    assert sorted(calls) == ["checks", "rate"]
    assert plan.run_all(tmp_path, tmp_path, ["rate", "checks"], 0.0, start) == ["rate", "checks"]
    assert plan.run_all(tmp_path, tmp_path, ["superres"], None, start) == ["superres"], "its trained networks are not there"
    assert len(calls) == 2


def test_means_are_weighted_and_gaps_stay_empty() -> None:
    records = [{"m": "a", "block_4": 1.0, "count_4": 1}, {"m": "a", "block_4": 0.0, "count_4": 3}, {"m": "b", "psnr": 40.0}]
    assert tables.mean(records, "block_4") == 0.25
    text = tables.grouped(records, {"m": "method"}, tables.pick("psnr", "block_4"))
    assert text.splitlines()[0] == "| method | PSNR (dB) | 95 %, 4 x 4 |"
    assert text.splitlines()[2:] == ["| a |  | 0.250 |", "| b | 40.00 |  |"]


def test_a_paired_interval_is_that_of_student() -> None:
    a, b = (
        [{"scene": f"tile {k}", "psnr": v} for k, v in enumerate(values)] for values in ((41.0, 33.0, 37.5, 30.0), (40.0, 31.0, 36.0, 9.0))
    )
    pairs = tables.paired(a[:3], b, "psnr")
    assert pairs == [1.0, 2.0, 1.5]  # as the fourth scene has no pair
    # Mean 1.5, deviation 0.5, and the 97.5 % quantile of t with two degrees of freedom, 0.95 * sqrt(2 / (1 - 0.95**2)).
    half = 0.95 * (2 / (1 - 0.95**2)) ** 0.5 * 0.5 / 3**0.5
    assert tables.interval(pairs) == pytest.approx((1.5, half), rel=1e-9)
    assert tables.with_interval(pairs, "+.2f") == "+1.50 ± 1.24"
    assert tables.with_interval([0.5], "+.2f") == tables.with_interval([0.25, 0.75], "+.2f") == "+0.50"
    assert tables.with_interval([], "+.2f") == ""


def test_a_tile_and_the_same_tile_darkened_are_one_scene_of_an_interval() -> None:
    names, gains = ("tile 20", "dark 20", "tile 21", "frame 0"), (1.0, 3.0, 5.0, 6.0)
    a = [{"scene": name, "psnr": 30 + gain} for name, gain in zip(names, gains, strict=True)]
    assert tables.paired(a, [{"scene": name, "psnr": 30.0} for name in names], "psnr") == [2.0, 5.0, 6.0]
    assert tables.by_ground(a, "psnr") == [32.0, 35.0, 36.0]


def test_intervals_hold_in_95_of_100_experiments() -> None:
    drawn = np.random.default_rng(0).normal(0.3, 1.0, (4000, 12))
    held = np.mean([abs(m - 0.3) <= half for m, half in map(tables.interval, drawn)])
    assert held == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 4000) ** 0.5)


def test_a_measurement_has_the_noise_and_the_blur_of_its_sensor() -> None:
    flat = np.full((1, 256, 256), 0.5, np.float32)
    for profile in (*sensors().values(), louder(sensor(0.2, 50.0), 1.3)):
        noise = profile.bands[0].noise
        assert noise is not None
        t = trial(flat, profile, 1)
        assert t.y.shape == (1, 1, 256 - 2 * MARGIN, 256 - 2 * MARGIN)
        assert float(t.y.std()) * 4095 == pytest.approx(float(noise.variance(0.5 * 4095)) ** 0.5, rel=0.02)
    assert float(noise.variance(0.5 * 4095)) ** 0.5 == pytest.approx(1.3 * 0.5 * 4095 / 50, rel=1e-6)


def test_pixels_and_blocks_that_are_scored_lie_on_each_other() -> None:
    scene = np.random.default_rng(0).random((1, 80, 96), dtype=np.float32)
    t = trial(scene, sensor(0.3, 100.0), 0)
    np.testing.assert_array_equal(t.wanted(), scene[:, MARGIN + SCORED : -MARGIN - SCORED, MARGIN + SCORED : -MARGIN - SCORED])
    wide = np.pad(scene, ((0, 0), (8, 8), (8, 8)))[None]
    np.testing.assert_array_equal(t.scored(wide, MARGIN + 8), t.wanted())
    blocks = scene[:, 16:64, 16:80].reshape(1, 12, 4, 16, 4).mean((2, 4))
    np.testing.assert_allclose(t.wanted(MARGIN, 4), blocks, rtol=1e-6)
    assert t.quality(t.truth, MARGIN) == float("inf")
