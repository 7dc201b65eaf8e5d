"""What a report says, whoever draws its pictures: nothing here needs matplotlib."""

from __future__ import annotations

import re

import pytest

from report_pages import EVIL, Page, chart_of, page_of, panels_of
from report_samples import ENVIRONMENT, large_run, measurement, run_of, small_run
from sessiondb_bench.report.charts import LinesPanel, RowsPanel
from sessiondb_bench.report.document import document
from sessiondb_bench.report.markdown import markdown, paragraph
from sessiondb_bench.report.palette import VARIABLES
from sessiondb_bench.report.wording import amount, duration, plain, series_name, shortened, size, survives
from sessiondb_bench.results import Run

LARGE = large_run(count=40)


def evil_run() -> Run:
    environment = type(ENVIRONMENT)(**{**vars_of(ENVIRONMENT), "cpu": EVIL, "versions": {EVIL: EVIL}})
    one = measurement(EVIL, EVIL, "peer", sync=EVIL, unit=EVIL, note=EVIL, floor=EVIL, ratio=2.0, counts={EVIL: 1.0})
    return run_of(
        [one], environment=environment, command=EVIL, suite=EVIL, version=EVIL, commit=EVIL, problem=EVIL,
        left_out=[EVIL],
    )  # fmt: skip


def vars_of(struct: object) -> dict[str, object]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}  # type: ignore[attr-defined]


def test_a_panel_holds_one_guarantee_only() -> None:
    promised = {series_name(one): survives(one.guarantee) for one in LARGE.measurements}
    charts = document([LARGE]).charts
    assert len(charts) > 15
    for chart in charts:
        for title, names in panels_of(chart):
            guarantee = title.partition(" (part")[0]
            for name in names:
                store = name.partition(" : ")[0].partition(" (1,000 records)")[0]
                assert promised.get(store, guarantee) == guarantee, (chart.name, name)


def test_what_is_compared_has_one_size_of_record_and_one_number_of_threads() -> None:
    """Four numbers of threads were measured: the picture of latencies takes one."""
    rows = [row for panel in chart_of(document([LARGE]), "latency-ycsb-a").panels for row in panel.rows]  # type: ignore[union-attr]
    assert len({row.label for row in rows}) == len(rows)


def test_values_begin_at_zero_or_their_axis_says_that_it_is_logarithmic() -> None:
    for chart in document([LARGE, large_run(2, count=40, started="2026-11-23T00:00:00Z")]).charts:
        for panel in chart.panels:
            axis = panel.axis if isinstance(panel, RowsPanel) else panel.y
            assert axis.log == ("log axis" in axis.label), chart.name
            if isinstance(panel, LinesPanel):
                assert panel.x.log == ("log axis" in panel.x.label)
                assert axis.log or panel.bottom <= 0


def test_every_measurement_is_in_a_table() -> None:
    text = Page(page_of(LARGE)).text
    for one in LARGE.measurements:
        assert duration(one.p99_us) in text
        assert f"{one.operations:,}" in text


def test_the_page_has_a_name_and_words_for_each_picture() -> None:
    made = document([LARGE])
    text = page_of(LARGE)
    assert text.count("<figure>") == text.count("<figcaption>") == len(made.charts)
    assert len({chart.name for chart in made.charts}) == len(made.charts)
    for chart in made.charts:
        assert len(chart.alt) > 60
        assert re.search(r"\d", chart.alt), "a picture without values in its words"


def test_the_page_asks_nothing_of_the_network_and_runs_nothing() -> None:
    page = Page(page_of(LARGE, evil_run()))
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(value.startswith("#") for value in page.values("href") + page.values("src"))
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.values("content")


def test_anchors_are_unique_and_every_link_has_one() -> None:
    page = Page(page_of(LARGE, evil_run(), small_run(started="2026-01-01")))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.values("href")} <= set(ids)


def test_what_stands_in_a_file_is_text_on_the_page() -> None:
    page = Page(page_of(evil_run()))
    assert "<script>alert(1)</script>" in page.text
    assert not set("\x00\x1b\u202e") & set(page_of(evil_run()))
    assert "\\u202e" in page.text


def test_what_stands_in_a_file_is_text_in_markdown() -> None:
    text = markdown(document([evil_run()]), {})
    assert "<script" not in text
    assert "[a](b)" not in text
    assert not set("\x00\x1b\u202e") & set(text)
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in {3, 4, 6, 12, 14}, line


def test_markdown_links_to_the_pictures_that_there_are() -> None:
    made = document([small_run()])
    names = {chart.name: f"r-{chart.name}.svg" for chart in made.charts}
    assert re.findall(r"\]\(<(.*?)>\)", markdown(made, names)) == list(names.values())
    assert "![" not in markdown(made, {})


def test_what_was_not_measured_is_said_with_the_command_that_would() -> None:
    text = Page(page_of(small_run())).text
    missing = text[text.index("What is missing", 200) :]
    assert "throughput over threads no store was measured with two numbers of threads" in missing
    assert "sessiondb bench run --threads 1,2,4,8 --output threads.json" in missing
    assert "python -m sessiondb_bench.system --output system.json --part pauses" in missing
    assert "no store with this promise was measured" in missing


def test_what_was_measured_is_not_called_missing() -> None:
    text = Page(page_of(LARGE)).text
    missing = text[text.rindex("What is missing") :]
    for words in ("throughput over threads", "store size", "floors", "peers", "pauses", "guarantee:"):
        assert words not in missing


def test_the_machine_the_command_and_the_commit_are_told() -> None:
    text = Page(page_of(small_run())).text
    for words in ("Xeon", "ext4 (data=ordered)", "CPython 3.11.7", "47f875c0a1b2", "pytest bench", "0.21", "8.00 GiB"):
        assert words in text
    assert "commit not known" in document([small_run(commit="")]).charts[0].subtitle


def test_a_busy_machine_and_a_changed_tree_and_an_early_end_are_told() -> None:
    environment = type(ENVIRONMENT)(**{**vars_of(ENVIRONMENT), "load_before": 3.2})
    run = small_run(environment=environment, commit="abc+", problem="the disk is full", left_out=["plyvel: not there"])
    text = Page(page_of(run)).text
    assert "The machine was busy before run 1 (load 3.20 on 2 cores)" in text
    assert "its files had been changed (run 1)" in text
    assert "Run 1 ended before its end: the disk is full" in text
    assert "Run 1 left out: plyvel: not there" in text


def test_runs_stand_in_the_order_of_their_dates_and_the_newest_of_a_command_is_shown_in_full() -> None:
    runs = [small_run(started=f"2026-11-{day:02d}T08:00:00Z", commit=f"c{day}") for day in (7, 5, 6, 4)]
    text = Page(page_of(*runs)).text.partition("load before")[2]
    assert text.index("2026-11-05 08:00") < text.index("2026-11-06 08:00") < text.index("2026-11-07 08:00")
    assert "All figures are shown of run 4;" in page_of(*runs)
    assert page_of(*runs) == page_of(*reversed(runs))


def test_ratios_are_tracked_from_run_to_run_and_a_gap_stays_a_gap() -> None:
    floor = {"floor": "dict + msgspec"}
    runs = [
        run_of(
            [measurement("put", ratio=1.0 + day / 10, **floor)] + [measurement("get", ratio=1.5, **floor)] * (day != 2),  # type: ignore[arg-type]
            started=f"2026-11-0{day}T08:00:00Z", commit=f"c{day}",
        )
        for day in (1, 2, 3)
    ]  # fmt: skip
    made = document(runs)
    (panel,) = chart_of(made, "run-by-run-put-ratio-to-the-floor").panels
    assert isinstance(panel, LinesPanel)
    assert panel.lines[0].points == ((0.0, 1.1), (1.0, 1.2), (2.0, 1.3))
    assert panel.reference == 1.0
    assert panel.ticks[0] == "2026-11-01\nc1"
    (panel,) = chart_of(made, "run-by-run-get-ratio-to-the-floor").panels
    assert panel.lines[0].points[1] == (1.0, None)  # type: ignore[union-attr]
    assert re.search(r"1.10× \(\d+ µs\) 1.20× \(\d+ µs\) 1.30× \(\d+ µs\)", Page(page_of(*runs)).text)


def test_a_few_runs_are_all_shown_in_full() -> None:
    """Two disks, measured with the same command."""
    text = page_of(small_run(started="2026-11-01"), small_run(started="2026-11-02"))
    assert "Run 1: latency, 2026-11-01" in text
    assert "Run 2: latency, 2026-11-02" in text


def test_few_operations_have_no_p99_of_their_own() -> None:
    few, many = (document([run_of([measurement(count=count)])]).charts[0].caption for count in (99, 100))
    assert "Where n is below 100, p99 is no more than the longest." in few
    assert "below 100" not in many


def test_a_floor_is_not_compared_with_itself() -> None:
    floor = measurement("put", "pwrite", "floor", ratio=1.0, floor="pwrite")
    made = document([run_of([floor, measurement("put", ratio=1.1, floor="pwrite")])])
    assert [names for _, names in panels_of(chart_of(made, "ratios-power"))] == [["json, always : pwrite"]]


def test_a_store_that_grows_with_its_threads_is_no_measurement_of_its_size() -> None:
    made = document([run_of([measurement(threads=number, records=100 * number, count=5) for number in (1, 2, 4)])])
    names = [chart.name for chart in made.charts]
    assert "throughput-of-put-over-threads" in names
    assert "latency-of-put-over-store-size" not in names


def test_another_machine_is_marked_between_the_runs() -> None:
    other = type(ENVIRONMENT)(**{**vars_of(ENVIRONMENT), "file_system": "xfs"})
    runs = [small_run(started="2026-11-01"), small_run(started="2026-11-02", environment=other)]
    chart = chart_of(document(runs), "run-by-run-put-ratio-to-the-floor")
    assert chart.panels[0].breaks == (0.5,)  # type: ignore[union-attr]
    assert "machine or file system changed" in chart.caption


def test_what_was_only_counted_is_no_latency_and_stands_in_a_table() -> None:
    one = measurement("disk use", histogram=[], median_us=0.0, counts={"disk_bytes": 2048.0, "syncs": 7.0})
    one.median_us = one.p95_us = one.p99_us = one.max_us = one.per_second = 0.0
    made = document([run_of([one])])
    assert made.charts == []
    text = Page(page_of(run_of([one]))).text
    assert "disk bytes 2.00 KiB" in text
    assert "latency nothing was timed" in text


def test_a_measurement_taken_twice_counts_as_taken_last() -> None:
    runs = run_of([measurement("put", median_us=100.0), measurement("put", median_us=900.0)])
    (panel,) = chart_of(document([runs]), "latency-put").panels
    assert isinstance(panel, RowsPanel)
    assert [row.marks["median"] > 500 for row in panel.rows] == [True]


def test_a_file_of_very_many_stores_and_operations_does_not_become_very_many_pictures() -> None:
    one = measurement("put", count=5)
    fields = {name: getattr(one, name) for name in one.__struct_fields__}
    stores = [type(one)(**{**fields, "store": f"store {number}"}) for number in range(500)]
    operations = [type(one)(**{**fields, "operation": f"operation {number}"}) for number in range(60)]
    made = document([run_of(stores + operations)])
    assert len(made.charts) <= 41
    assert sum(len(names) for _, names in panels_of(chart_of(made, "latency-put"))) == 120
    assert chart_of(made, "latency-put").told.endswith("380 more: in the tables only.")
    assert "Not drawn, but in the tables: Latency of operation" in Page(page_of(run_of(stores + operations))).text


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(0.39, "0.39 µs"), (0.004, "0.004 µs"), (9.996, "10.0 µs"), (118.4, "118 µs"), (999.7, "1.00 ms"),
     (12_345, "12.3 ms"), (3.2e6, "3.20 s"), (7.2e9, "7,200 s")],
)  # fmt: skip
def test_times_have_three_digits_and_a_unit(microseconds: float, text: str) -> None:
    assert duration(microseconds) == text


def test_sizes_and_amounts_are_readable() -> None:
    assert [size(number) for number in (0, 321, 1023.9, 2048, 16 * 2**20)] == [
        "0 B", "321 B", "1.00 KiB", "2.00 KiB", "16.0 MiB",
    ]  # fmt: skip
    assert [amount(value) for value in (0, 1.07, 12.34, 9062, 1e18, -3.5)] == [
        "0", "1.07", "12.3", "9,062", "1.00e+18", "-3.50",
    ]  # fmt: skip
    assert plain("a\n b\x00\u202e\ud800") == "a b\\x00\\u202e\\ud800"
    assert shortened("abcdefghij", 7) == "abc…hij"


def test_colours_can_be_seen_on_light_and_on_dark_pages() -> None:
    def light_of(colour: str) -> float:
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    (_, *paper) = VARIABLES["#ffffff"]
    for colour, (_, *pair) in VARIABLES.items():
        for ink, page in zip(pair, paper, strict=True):
            high, low = sorted((light_of(ink), light_of(page)), reverse=True)
            decoration = colour in ("#ffffff", "#d8d9de")
            assert decoration or (high + 0.05) / (low + 0.05) >= 3, (ink, page)


@pytest.mark.parametrize(
    ("text", "written"),
    [("1.07× of 2.80GHz (a)", "1.07× of 2.80GHz (a)"), ("a|b_c*", r"a\|b\_c\*"), ("<b>&lt;", "&lt;b>&amp;lt;"),
     ("see https://x.y www.z", "see https&#58;//x.y www&#46;z"), ("@me, 2 @ 3", "&#64;me, 2 @ 3"),
     ("# a", "&#8203;# a"), ("- a", "&#8203;- a"), ("12. a", "&#8203;12. a"), ("1.5 a", "1.5 a"), ("==", "&#8203;==")],
)  # fmt: skip
def test_markdown_shows_words_as_they_are(text: str, written: str) -> None:
    assert paragraph(text) == written


def test_a_ratio_to_another_floor_is_another_ratio() -> None:
    """The floor of `put` was once a growing file: the line must not go on with that of a zero-filled one."""
    runs = [
        run_of([measurement(ratio=1.1, floor=floor)], started=f"2026-11-0{day}", commit="7d6cab7b1ea9+")
        for day, floor in enumerate(("growing", "zero-filled", "zero-filled"), 1)
    ]
    chart = chart_of(document(runs), "run-by-run-put-ratio-to-the-floor")
    (panel,) = chart.panels
    assert isinstance(panel, LinesPanel)
    assert [line.points for line in panel.lines] == [((0.0, None), (1.0, 1.1), (2.0, 1.1))]
    assert panel.ticks[0] == "2026-11-01\n7d6cab7b1+"
    assert chart.caption.startswith("Floor: zero-filled.")
