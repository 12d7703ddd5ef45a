"""The benchmarks' arithmetic and their pgbench script; what they measure is asserted nowhere."""

import pytest
from sqlalchemy import text

from benchmarks.rounds import Distorted, Round, check_rows, median_of, median_ratio, table
from benchmarks.statement import pgbench_script


def of_rates(*rates: float) -> list[Round]:
    return [Round(done=int(rate * 10), seconds=10.0) for rate in rates]


def test_the_ratio_is_the_median_of_the_pairs_not_the_ratio_of_the_medians():
    assert median_ratio(of_rates(400, 100, 900), of_rates(100, 50, 300)) == 3.0


def test_figures_that_no_round_has_stay_empty():
    rounds = [Round(done=10, seconds=2.0, p50_ms=3.0), Round(done=30, seconds=2.0, p50_ms=5.0)]
    assert median_of(rounds, "p50_ms") == 4.0
    assert median_of(rounds, "p99_ms") is None
    assert median_of(rounds, "rate") == 10.0


def test_the_table_compares_everybody_with_the_base():
    lines = table({"fast": of_rates(400, 400), "slow": of_rates(100, 200)}, "fast").splitlines()
    assert lines[0].endswith("fast / it")
    assert lines[1].split()[0] == "fast"
    assert not lines[1].endswith("1.00")
    assert lines[2].split()[0] == "slow"
    assert lines[2].endswith("3.00")


@pytest.mark.parametrize("new_rows", [100, 132])
def test_answers_on_their_way_at_the_end_are_no_distortion(new_rows):
    check_rows("it", Round(done=100, seconds=1.0), new_rows, connections=32)


@pytest.mark.parametrize("new_rows", [0, 99, 133])
def test_a_round_whose_answers_are_not_its_rows_is_refused(new_rows):
    with pytest.raises(Distorted, match=f"100 answers, but {new_rows} new"):
        check_rows("it", Round(done=100, seconds=1.0), new_rows, connections=32)


def test_a_script_binds_what_the_statement_binds():
    script, options = pgbench_script(
        text("SELECT :fixed, :absent, :drawn, :drawn, CAST(:made AS uuid), now()::date, 10 % 3"),
        values={"fixed": "a b", "absent": None, "elsewhere": "x"},
        drawn={"drawn": "random(1, 9)", "made": "SQL uuidv7()"},
    )
    assert script == (
        "\\set drawn random(1, 9)\n"
        "SELECT :fixed, nullif(:absent, '-'), :drawn, :drawn, CAST(uuidv7() AS uuid),"
        " now()::date, 10 % 3;\n"
    )
    assert options == ["--define=fixed=a b", "--define=absent=-"]


def test_a_colon_in_a_literal_is_no_variable_of_pgbench():
    script, _ = pgbench_script(text(r"SELECT to_char(now(), 'HH24:MI:SS\x'), 'it''s'"), {}, {})
    assert script == "SELECT to_char(now(), E'HH24\\072MI\\072SS\\\\x'), 'it''s';\n"


def test_a_parameter_without_a_value_is_refused():
    with pytest.raises(ValueError, match="no value for other"):
        pgbench_script(text("SELECT :one, :other"), {"one": "1"}, {})


def test_a_value_that_sql_draws_stands_once_or_its_uses_would_differ():
    with pytest.raises(ValueError, match="id is used more than once"):
        pgbench_script(text("SELECT :id, :id"), {}, {"id": "SQL uuidv7()"})
