"""A terminal of 80 characters shows every column of every kind of model: no line is longer, and none is hidden."""

import sys

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm

from .test_every_verb import OTHER_POINTS, POINTS, POSTERIORS, Case, fit_of, model_of, posterior

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")
MODELS = {(case.structure, case.family, case.link): case for case in (*POINTS, *OTHER_POINTS, *POSTERIORS)}


@pytest.fixture
def terminal(monkeypatch):
    """What something prints there; it has all words that a file has, whose lines are as long as they are."""

    def shown(printed, characters=80):
        whole = str(printed)
        with monkeypatch.context() as screen:
            screen.setattr(sys.stdout, "isatty", lambda: True, raising=False)
            screen.setenv("COLUMNS", str(characters))
            text = str(printed)
        assert max(map(len, text.splitlines())) <= characters, text
        assert not set("".join(whole).split()) - set(text.split()), (whole, text)
        return text

    return shown


@pytest.mark.parametrize("case", MODELS.values(), ids=lambda case: case.id)
def test_models_of_every_kind(terminal, case):
    model = model_of(case)
    terminal(model)
    terminal(model.priors.table())
    terminal(model.explain())


@pytest.mark.parametrize("case", [case for case in POINTS if case.engine == "reml"], ids=lambda case: case.id)
def test_summaries_of_point_fits(terminal, case):
    terminal(fit_of(case).summary())


@pytest.mark.parametrize("structure", ["correlated slope", "factor in the bar", "autoregressive", "no bars"])
def test_summaries_of_posteriors_and_both_fits_side_by_side(terminal, structure):
    post = fit_of(posterior(structure))
    terminal(post.summary())
    terminal(blm.compare_estimates(fit_of(Case(structure, "reml")), post))


def test_what_belongs_together_stays_together(terminal):
    post = fit_of(posterior("correlated slope"))
    lines = terminal(blm.compare_estimates(fit_of(Case("correlated slope", "reml")), post), 70).splitlines()
    assert [line.split()[0] for line in lines if line.lstrip().startswith(("Estimate", "Mean"))] == ["Estimate", "Mean"]
    narrow = [line.split() for line in terminal(post.summary(), 60).splitlines()]
    assert ["R-hat", "Bulk", "ESS", "Tail", "ESS"] in narrow
    assert max(map(len, str(post.summary()).splitlines())) > 60, "a file has no width"


@pytest.mark.parametrize("characters", [60, 80])
def test_names_as_questionnaires_have_them(terminal, characters):
    n = np.arange(60)
    long = "the_answer_to_question_twelve_of_the_third_questionnaire"
    data = pd.DataFrame({"y": np.sin(7.0 * n), long: np.cos(3.0 * n), "the_ward_of_the_hospital": n % 6})
    model = blm.Model(f"y ~ {long} + ({long} | the_ward_of_the_hospital)", data)
    for printed in (model.fit_reml().summary(), model.priors.table()):
        with pytest.MonkeyPatch.context() as screen:
            screen.setattr(sys.stdout, "isatty", lambda: True, raising=False)
            screen.setenv("COLUMNS", str(characters))
            text = str(printed)
        assert all(len(line) <= characters or line.split()[0] in ("Formula:", long) for line in text.splitlines()), text
