"""Note 0: reading scores of 22 students over four grades; one line for all, one each, and what lies between."""

from __future__ import annotations

import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.errors import DatasetUnavailableError

from .printed import check, entries, label


def numbers():
    students = blm.load_dataset("minneapolis")
    n = {("data", "number of students"): students["student_id"].nunique()}

    # One regression for everybody
    line = blm.Model("reading_score ~ grade", students)
    level = blm.Model("reading_score ~ 1", students)
    everybody = line.fit_reml().fixef()["estimate"]
    lm = "minneapolis_lm"
    n[lm, "intercept"], n[lm, "grade"] = everybody["Intercept"], everybody["grade"]
    n[lm, "R squared, percent"] = 100 * line.fit_ml().pseudo_r2(level.fit_ml()).loc["Residual", "pseudo_r2"]
    # whose residuals are mostly negative
    negative = (students["reading_score"] < line.fit_reml().fitted()).groupby(students["student_id"].to_numpy()).mean()
    negative.index = negative.index.astype(int)
    statement = "students 1, 3, 4, 6, 8, 9: residuals primarily negative (least share of negative residuals)"
    n[lm, statement] = negative[[1, 3, 4, 6, 8, 9]].min()

    # A regression for each student
    two = blm.Model("reading_score ~ grade + (grade | student_id)", students)
    own = blm.no_pooling(two.design)
    own.index = own.index.astype(int)
    for student in (1, 2):
        for name, ours in (("intercept", "Intercept"), ("grade", "grade")):
            key = "minneapolis_student_lms", f"student {student} {name}"
            n[key] = own.loc[student, ours]
            n[key[0], f"{key[1]} minus global"] = own.loc[student, ours] - everybody[ours]

    # Random intercepts, then random slopes too
    one = blm.lmer("reading_score ~ grade + (1 | student_id)", students)
    for model, fit in (("minneapolis_lmer1_reml", one), ("minneapolis_lmer2_reml", two.fit_reml())):
        n[model, "intercept"], n[model, "grade"] = fit.fixef()["estimate"]
        deviations, coefficients = (_first(table) for table in (fit.ranef(wide=True), fit.coef(wide=True)))
        n[model, "student 1 random intercept"] = deviations["Intercept"]
        n[model, "student 1 random slope"] = deviations.get("grade")
        n[model, "student 1 intercept"] = coefficients["Intercept"]
        n[model, "student 1 grade"] = n[model, "student 1 grade (no random slope)"] = coefficients["grade"]
    return n


def _first(table: pd.DataFrame) -> pd.Series:
    return table[table.index.get_level_values("level").astype(int) == 1].iloc[0]


@pytest.fixture(scope="module")
def ours():
    try:
        return numbers()
    except DatasetUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("entry", entries(0), ids=label)
def test_number(entry, ours):
    check(entry, ours[entry["model"], entry["quantity"]])
