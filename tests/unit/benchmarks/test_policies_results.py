"""Intervals, frontiers, tuning, caching and tables of the policy benchmark."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.policies import ablations, cache, run, tuning
from benchmarks.policies.figures import Figures
from benchmarks.policies.plays import CLAIRVOYANT, OURS, Play, Variant, known
from benchmarks.policies.report import SceneResults, missed, section, summary, write_scenario
from benchmarks.policies.scenarios import SCENES, scenes_of
from benchmarks.policies.scenes import Options, evaluation_seeds, tuning_seeds
from benchmarks.policies.statistics import Point, at_equal_attainment, chosen, frontier, interval
from inferencefleet.simulator import laws
from tests.builders import a_snapshot


def some(attainment: float = 0.995, dollars: float = 10.0, **more: float) -> Figures:
    names = [name for name in Figures.__dataclass_fields__ if name not in ("attainment_by_fleet", "notes")]
    values: dict[str, float] = dict.fromkeys(names, 1.0)
    return Figures(**{**values, "attainment": attainment, "dollars": dollars, **more})


def test_the_interval_of_five_seeds_is_students():
    found = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    # Standard deviation sqrt(2.5), over sqrt(5), times 2.776 with four degrees of freedom.
    assert found.mean == 3.0
    assert found.half == pytest.approx(2.776 * math.sqrt(2.5 / 5), abs=1e-9)
    assert found.text(1) == "3.0 ± 2.0"


def test_one_seed_has_a_mean_and_no_interval():
    assert interval([2.0]).text(1) == "2.0"
    assert interval([]).text() == "-"
    assert interval([1.0, math.nan, 3.0]).mean == 2.0


POINTS = [
    Point("a", "default", 0.90, 5.0), Point("b", "default", 0.99, 8.0), Point("c", "default", 0.95, 9.0),
    Point("d", "tuned", 0.999, 12.0),
]  # fmt: skip


def test_the_frontier_leaves_out_what_is_dearer_and_worse():
    assert [point.policy for point in frontier(POINTS)] == ["a", "b", "d"]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 100)), min_size=1, max_size=12))
def test_every_point_is_beaten_by_one_of_the_frontier_or_is_on_it(pairs: list[tuple[float, float]]):
    points = [Point("p", f"{number}", *pair) for number, pair in enumerate(pairs)]
    edge = frontier(points)
    for point in points:
        assert any(other.dollars <= point.dollars and other.attainment >= point.attainment for other in edge)


def test_equal_attainment_allows_a_tenth_of_a_point():
    assert at_equal_attainment(POINTS, 0.991).policy == "b"  # type: ignore[union-attr]
    assert at_equal_attainment(POINTS, 0.9915).policy == "d"  # type: ignore[union-attr]
    assert at_equal_attainment(POINTS, 1.0).policy == "d"  # type: ignore[union-attr]
    assert at_equal_attainment(POINTS[:3], 1.0) is None


def test_tuning_takes_the_cheapest_that_attains_the_declared_share_else_the_best():
    assert chosen(POINTS, 0.99).policy == "b"
    assert chosen(POINTS[:1] + POINTS[2:3], 0.99).policy == "c"
    with pytest.raises(ValueError, match="cannot be tuned"):
        chosen([], 0.99)


def test_no_law_is_judged_on_the_seeds_it_was_tuned_on():
    assert not set(evaluation_seeds(50)) & set(tuning_seeds(50))
    with pytest.raises(ValueError, match="below 500, where the seeds for tuning begin"):
        evaluation_seeds(500)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_every_scene_is_a_stage_that_repeats_with_its_seed(scene):
    options = Options(share=0.02)
    one, same, other = (scene.stage(seed, options) for seed in (1, 1, 2))
    first, second, third = (stage.fleets[0] for stage in (one, same, other))
    assert first.arrivals.arrival_s.tolist() == second.arrivals.arrival_s.tolist()
    assert first.arrivals.arrival_s.tolist() != third.arrivals.arrival_s.tolist()
    truths = [next(iter(each.kinds.values())).truth for each in (first, second, third)]
    assert truths[0] == truths[1] != truths[2], "constants of the engines are the seed's"
    for each in one.fleets:
        assert set(each.kinds) == {pool.pool.name for pool in one.pools}, "its model runs in every pool"
        assert each.initial, "nobody begins with nothing"
        assert each.arrivals.arrival_s[-1] < one.duration_s


def test_all_eleven_scenarios_are_there_and_others_are_refused():
    assert {scene.scenario for scene in SCENES} == set(range(1, 12))
    names = [scene.name for scene in SCENES]
    assert len(set(names)) == len(names)
    assert all(scene.tuned_on in (None, *names) for scene in SCENES)
    with pytest.raises(ValueError, match="there are scenarios 1 to 11"):
        scenes_of(12)


def test_the_wrong_prior_is_wrong_by_forty_per_cent_either_way():
    for name, factor in (("prior-slow", 1.4), ("prior-fast", 0.6)):
        scene = next(each for each in SCENES if each.name == name)
        truths = [
            next(iter(scene.stage(seed, Options(share=0.02)).fleets[0].kinds.values())).truth for seed in range(1, 9)
        ]
        assert sum(truth.memory for truth in truths) / 8 == pytest.approx(0.97 * factor, rel=0.1)


def test_the_key_changes_with_the_code_and_not_with_anything_else(tmp_path: Path):
    source, other = tmp_path / "law.py", tmp_path / "note.txt"
    source.write_text("threshold = 5\n")
    other.write_text("hello")
    before = cache.code_key([tmp_path])
    other.write_text("good bye")
    assert cache.code_key([tmp_path]) == before
    source.write_text("threshold = 6\n")
    assert cache.code_key([tmp_path]) != before
    assert cache.code_key([tmp_path], without=[source]) != cache.code_key([tmp_path])


def test_our_planner_and_the_peers_laws_are_played_again_each_for_its_own_changes():
    assert cache.key_of(ours=True) != cache.key_of(ours=False)
    assert any(root.name == "planning" for root in cache.OURS)
    assert not any(root.name == "planning" for root in cache.WORLD)


def test_a_play_comes_back_as_it_was_kept_and_a_torn_file_counts_as_none(tmp_path: Path):
    store = cache.Cache(tmp_path)
    play = Play("llm-d", 1, Variant.of("kaito", {"threshold": 2.0}), Options())
    code = cache.key_of(ours=False)
    store.put(code, play.scene, play.described(), some(0.97, 12.5).as_json())
    assert known(play, store) == some(0.97, 12.5)
    assert known(replace(play, variant=Variant("kaito")), store) is None, "other knobs are another play"
    assert known(replace(play, options=Options(share=0.5)), store) is None
    store.path(code, play.scene, play.described()).write_text('{"attain')
    assert known(play, store) is None


def test_the_spot_rule_stands_on_the_law_that_did_best():
    variant = tuning.over(Variant.of("aibrix-kpa", {"target": 0.15}), {"num_overprovision": 1})
    assert dict(variant.knobs) == {"num_overprovision": 1, "load": "aibrix-kpa", "load.target": 0.15}
    assert laws.start(variant.policy, **dict(variant.knobs)).name == "skyserve-spot"


def test_laws_that_name_pools_are_not_given_spot_by_the_node_autoscaler():
    assert tuning.with_spot(Variant("wva-tokens")) is None
    assert tuning.with_spot(Variant("kaito")) == Variant("kaito", with_spot=True)
    assert tuning.with_spot(Variant("kaito")).label() == "spot allowed"  # type: ignore[union-attr]


def test_every_setting_of_every_grid_starts():
    for policy in tuning.tunable():
        for variant in tuning.grid(policy):
            assert laws.start(policy, **dict(variant.knobs)).name == policy


def a_result(ours: Figures, best: Figures, rival: Figures, name: str = "azure-5") -> SceneResults:
    scene = next(each for each in SCENES if each.name == name)
    roles = {
        CLAIRVOYANT: {"default": (Variant(CLAIRVOYANT), [best, best])},
        OURS: {"default": (Variant(OURS), [ours, ours])},
        "kaito": {"default": (Variant("kaito"), [rival, rival])},
    }
    return SceneResults(scene=scene, roles=roles)


def test_what_is_missed_is_said_with_its_number():
    good = a_result(some(0.995, 10.5), some(0.991, 10.0), some(0.995, 20.0))
    assert missed(good) == []
    bad = a_result(some(0.95, 15.0), some(0.991, 10.0), some(0.995, 16.0))
    said = "; ".join(missed(bad))
    assert "attains 95.00 %, aim 99 %" in said
    assert "1.50 x the optimum, aim 1.10" in said
    assert "cheaper by less than 30 % than kaito 6 %" in said


def test_where_the_optimum_cannot_attain_it_nobody_has_to():
    assert not any("aim 99 %" in each for each in missed(a_result(some(0.9, 10.0), some(0.95, 10.0), some(0.1, 90.0))))


def test_a_law_that_is_cheaper_than_every_schedule_that_was_searched_is_the_better_optimum():
    beaten = a_result(some(0.995, 12.0), some(0.991, 10.0), some(0.992, 8.0))
    assert beaten.optimum_dollars() == [8.0, 8.0]
    assert beaten.over_optimum([some(0.995, 12.0)] * 2).mean == pytest.approx(1.5)
    not_beaten = a_result(some(0.995, 12.0), some(0.991, 10.0), some(0.98, 8.0))
    assert not_beaten.optimum_dollars() == [10.0, 10.0], "it is cheaper because it attains less"


def test_a_law_that_attains_less_is_said_to_attain_less():
    text = "\n".join(section(a_result(some(0.999, 10.0), some(0.991, 9.0), some(0.95, 5.0))))
    assert "| kaito | no setting attains as much | 95.00 | 5.00 | - |" in text
    assert summary(a_result(some(0.999, 10.0), some(0.991, 9.0), some(0.95, 5.0)))[6] == "none"


def test_a_scenario_is_written_as_text_figures_and_plot(tmp_path: Path):
    pytest.importorskip("matplotlib")
    write_scenario(2, [a_result(some(), some(), some())], {"seeds": "1, 2"}, tmp_path)
    assert "| seeds | 1, 2 |" in (tmp_path / "scenario-02.md").read_text()
    assert len((tmp_path / "scenario-02.csv").read_text().splitlines()) == 1 + 3 * 2
    assert (tmp_path / "scenario-02.png").stat().st_size > 1000


def test_an_unknown_policy_is_refused_with_the_closest(capsys: pytest.CaptureFixture[str]):
    assert run.main(["--policy", "kaitoo", "--estimate"]) == 2
    assert "did you mean 'kaito'?" in capsys.readouterr().err


def test_a_part_that_the_planner_does_not_have_is_refused():
    with pytest.raises(ValueError, match="the planner has no part 'gravity'; it offers ours-no-forecast"):
        ablations.amendment("ours-no-gravity")


def test_every_part_that_is_offered_is_there_by_default_and_left_out_by_its_name():
    for part in ablations.offered():
        snapshot = a_snapshot()
        assert part not in snapshot.settings.without
        assert ablations.amendment(ablations.policy_name(part))(snapshot).settings.without == {part}
