"""What answers to a blind test amount to: known answers, what is left out, and what cannot be read."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from random import Random

import pytest

from vocoder.cli import main
from vocoder.evaluation.listening.answers import COLUMNS, Answer, Answers, Key, read_answers, read_key
from vocoder.evaluation.listening.results import discrimination, opinion, screen, summarise, to_markdown

CODES = {"0r": ("a", "original"), "0m": ("a", "model"), "1r": ("b", "original"), "1m": ("b", "model")}
KEY = Key("7e57", ["original", "model"], CODES)
T_2 = 4.302652730  # 97.5 % quantile of Student's t with two degrees of freedom, from printed tables


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of an evaluation, as far as its answers need it."""
    key = {"test": KEY.test, "systems": KEY.systems, "codes": CODES}
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "key.json").write_text(json.dumps(key))
    return tmp_path


def write(folder: Path, name: str, *rows: dict[str, object]) -> Path:
    """Answers; what a row does not say is right."""
    usual = {"test": KEY.test, "mode": "mos", "listener": "anna", "stimulus": "0m", "a": "", "b": "", "answer": 4}
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*COLUMNS, "seconds"])
        writer.writeheader()
        writer.writerows({**usual, **row} for row in rows)
    return path


def rated(*values: float, listener: str = "anna", system: str = "model", mode: str = "mos") -> list[Answer]:
    return [Answer(mode, listener, str(i), system, value) for i, value in enumerate(values)]


def at_least(correct: int, trials: int, chance: float) -> float:
    """Probability of so many or more, summed up term by term."""
    return sum(
        math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(correct, trials + 1)
    )  # fmt: skip


def test_fourteen_of_twenty_is_not_quite_significant() -> None:
    found = discrimination(rated(*[1] * 14, *[0] * 6, mode="abx"))
    assert (found.correct, found.trials, found.share) == (14, 20, 0.7)
    assert found.p == pytest.approx(0.0577, abs=5e-5)  # printed tables of the binomial
    assert found.p == pytest.approx(at_least(14, 20, 0.5), rel=1e-12)


def test_the_share_s_interval_ends_where_the_count_would_be_a_surprise() -> None:
    found = discrimination(rated(*[1] * 14, *[0] * 6, mode="abx"))
    assert at_least(14, 20, found.low) == pytest.approx(0.025, abs=1e-9)
    assert 1 - at_least(15, 20, found.high) == pytest.approx(0.025, abs=1e-9)
    assert discrimination(rated(1, 1, mode="abx")).high == 1


def test_who_flips_coins_is_rarely_taken_for_one_who_hears() -> None:
    p = [discrimination(rated(*[1] * correct, *[0] * (20 - correct), mode="abx")).p for correct in range(21)]
    random, tests = Random(0), 2000
    significant = sum(p[sum(random.random() < 0.5 for _ in range(20))] < 0.05 for _ in range(tests))
    assert significant / tests == pytest.approx(0.0207, abs=0.0096)  # P(15 or more of 20); three standard errors


def test_a_mean_opinion_is_that_of_the_listeners_means() -> None:
    answers = rated(4, 4, 4, 4, listener="anna") + rated(3, listener="ben") + rated(5, 5, listener="cleo")
    found = opinion(answers)
    assert (found.mean, found.listeners, found.ratings) == (4, 3, 7)
    assert found.high - found.mean == pytest.approx(T_2 * 1 / math.sqrt(3), rel=1e-8)  # means 4, 3, 5: deviation 1
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_of_one_listener_the_ratings_are_the_values() -> None:
    found = opinion(rated(3, 4, 5))
    assert (found.mean, found.listeners, found.ratings) == (4, 1, 3)
    assert found.high - 4 == pytest.approx(T_2 / math.sqrt(3), rel=1e-8)


def test_of_one_rating_there_is_no_interval() -> None:
    found = opinion(rated(3))
    assert (found.mean, found.low, found.high) == (3, None, None)
    assert "| 3.00          |" in to_markdown(summarise(Answers(rated(3), KEY.systems, replaced=0, foreign=0)))


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    # Five listeners who differ from each other by more than each from themselves: as they do.
    random, tests, held = Random(0), 1000, 0
    for _ in range(tests):
        answers = []
        for listener in range(5):
            taste = random.gauss(3, 0.5)
            answers += rated(*(random.gauss(taste, 0.3) for _ in range(8)), listener=str(listener))
        found = opinion(answers)
        held += found.low < 3 < found.high
    assert held / tests == pytest.approx(0.95, abs=0.021)  # three standard errors


@pytest.mark.parametrize(("missed", "trials", "out"), [(1, 7, False), (3, 20, False), (2, 12, True), (1, 1, True)])
def test_who_misses_the_hidden_reference_in_more_than_15_percent_is_left_out(
    missed: int, trials: int, out: bool
) -> None:
    hidden = rated(*[89] * missed, *[90] * (trials - missed), system="original", mode="mushra")
    assert list(screen(hidden)) == (["anna"] if out else [])


def test_who_is_left_out_is_named_and_does_not_count() -> None:
    good = rated(100, system="original", mode="mushra") + rated(60, mode="mushra")
    bad = rated(50, listener="ben", system="original", mode="mushra") + rated(99, listener="ben", mode="mushra")
    found = summarise(Answers(good + bad, KEY.systems, replaced=0, foreign=0))
    assert found.mushra["model"].mean == 60
    assert found.excluded == {"ben": "rated the hidden reference below 90 in 1 of 1 trials"}


def test_all_modes_may_come_mixed(folder: Path) -> None:
    answers = write(
        folder,
        "all.csv",
        {"answer": 2},
        {"stimulus": "0r", "answer": 5},
        {"mode": "mushra", "stimulus": "0r", "answer": 100},
        {"mode": "mushra", "stimulus": "0m", "answer": 37},
        {"mode": "abx", "a": "0m", "b": "0r", "stimulus": "0r", "answer": "b"},
        {"mode": "abx", "a": "1r", "b": "1m", "stimulus": "1m", "answer": "a"},
    )
    found = summarise(read_answers(read_key(folder), [answers]))
    assert {system: one.mean for system, one in found.mos.items()} == {"original": 5, "model": 2}
    assert {system: one.mean for system, one in found.mushra.items()} == {"original": 100, "model": 37}
    assert {system: (one.correct, one.trials) for system, one in found.abx.items()} == {"model": (1, 2)}
    assert (found.listeners, found.answers, found.replaced, found.foreign) == (1, 6, 0, 0)


def test_of_answers_to_the_same_question_the_last_counts(folder: Path) -> None:
    abx = {"mode": "abx", "stimulus": "0m", "answer": "a"}
    files = [
        write(folder, "first.csv", {"answer": 1}, {**abx, "a": "0m", "b": "0r"}),
        write(folder, "again.csv", {"answer": 5}, {**abx, "a": "0r", "b": "0m"}),  # A and B the other way round
        write(folder, "ben.csv", {"answer": 3, "listener": "ben"}),
    ]
    found = summarise(read_answers(KEY, files))
    assert (found.mos["model"].mean, found.mos["model"].ratings, found.replaced) == (4, 2, 2)
    assert (found.abx["model"].correct, found.abx["model"].trials) == (0, 1)


def test_answers_to_another_test_are_counted_and_left_out(folder: Path) -> None:
    answers = write(folder, "mixed.csv", {"answer": 2}, {"test": "0ther", "stimulus": "whatever", "answer": 5})
    found = summarise(read_answers(KEY, [answers]))
    assert (found.mos["model"].mean, found.answers, found.foreign) == (2, 1, 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": 6}, r"bad.csv, line 3: an answer to mos must be a whole number from 1 to 5, but is '6'"),
        ({"answer": "good"}, "from 1 to 5, but is 'good'"),
        ({"answer": ""}, "from 1 to 5, but is ''"),
        ({"mode": "mushra", "answer": 101}, "from 0 to 100, but is '101'"),
        ({"mode": "mushra", "answer": -1}, "from 0 to 100, but is '-1'"),
        ({"mode": "cmos"}, "mode must be one of mos, mushra, abx, but is 'cmos'"),
        ({"stimulus": "ffff"}, "must be a code of the key, but 'ffff' is not"),
        ({"mode": "abx", "stimulus": "0m", "a": "0m", "b": "0r", "answer": "x"}, "must be a or b, but is 'x'"),
        ({"mode": "abx", "stimulus": "1m", "a": "0m", "b": "0r", "answer": "a"}, "X must be A or B, but is neither"),
        ({"mode": "abx", "stimulus": "0m", "a": "0m", "b": "1r", "answer": "a"}, "a recording and a copy of it"),
        ({"mode": "abx", "stimulus": "0m", "a": "0m", "b": "0m", "answer": "a"}, "a recording and a copy of it"),
        ({"mode": "abx", "stimulus": "0m", "a": "0m", "b": "", "answer": "a"}, "code of the key, but '' is not"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(folder: Path, row: dict[str, object], message: str) -> None:
    answers = write(folder, "bad.csv", {}, row)
    with pytest.raises(ValueError, match=message):
        read_answers(KEY, [answers])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must have the columns test, .* but lacks test, mode"),
        (b"test,mode,listener,stimulus,a,b\n", "but lacks answer"),
        (b"test;mode;listener;stimulus;a;b;answer\n", "must have the columns"),
        (b"\xff\xfe\x00nothing", "must be a CSV file in UTF-8, but is not"),
        (",".join(COLUMNS).encode() + b'\n7e57,mos,"anna,0m,,,4', "must be a CSV file in UTF-8, but is not"),
        (",".join(COLUMNS).encode() + b"\n7e57,mos,anna,0m\n", "line 2: a row has as many cells .* this has fewer"),
        (
            ",".join(COLUMNS).encode() + b"\n7e57,mos,anna,0m,,,4,5\n",
            "line 2: a row has as many cells .* this has more",
        ),
        (",".join(COLUMNS).encode() + b"\n", "must be answers to test 7e57, but of 0 none is"),
        (",".join(COLUMNS).encode() + b"\n0ther,mos,anna,0m,,,4\n", "must be answers to test 7e57, but of 1 none is"),
    ],
)
def test_a_file_of_something_else_is_refused(folder: Path, content: bytes, message: str) -> None:
    path = folder / "odd.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_answers(KEY, [path])


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no .*nobody.csv"):
        read_answers(KEY, [folder / "nobody.csv"])
    with pytest.raises(FileNotFoundError, match=r"there is none at .*key.json"):
        read_key(folder / "elsewhere")


def test_a_spreadsheet_s_byte_order_mark_does_not_matter(folder: Path) -> None:
    answers = write(folder, "marked.csv", {})
    answers.write_text(answers.read_text(), encoding="utf-8-sig")
    assert len(read_answers(KEY, [answers]).kept) == 1


def test_the_command_prints_a_table_for_each_mode_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    anna = write(folder, "anna.csv", {"answer": 2}, {"stimulus": "1m", "answer": 4}, {"test": "0ther"})
    abx = write(folder, "abx.csv", {"mode": "abx", "a": "0m", "b": "0r", "stimulus": "0r", "answer": "b"})
    assert main(["listening-results", str(folder), str(anna), str(anna), str(abx)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| model | 3.00 [-9.71, 15.71] | 1         | 2       |" in lines  # t with one degree: 12.706 · √2 / √2
    assert "| model | 1 of 1       | 1.00 [0.03, 1.00] | 0.5          | 1         |" in lines
    assert lines[-3:] == [
        "Listeners: 1. Answers: 3.",
        "Given again later, and the last taken: 2.",
        "Answers to another test, left out: 2.",
    ]
    assert not any("MUSHRA" in line for line in lines)


def test_the_command_prints_json_and_nothing_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = write(folder, "anna.csv", {"answer": 2})
    assert main(["listening-results", str(folder), str(answers), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["mos"] == {"model": {"mean": 2, "low": None, "high": None, "listeners": 1, "ratings": 1}}


def test_the_command_names_what_is_wrong_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["listening-results", str(folder / "elsewhere"), "a.csv"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("vocoder: error: Answers need the key")
    assert message.count("\n") == 1
