"""What a user holds is readable: in a notebook, in a terminal of 80 characters, and when it is an error."""

import pickle
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results.reading import ENDS, FOLDED, ResultArray, ResultSeries, ResultTable, for_reading


@pytest.fixture(scope="module")
def fit():
    return blm.lmer("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))


def closed(page):
    """Whether every tag that is opened is closed, in order."""
    opened = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in ("br", "img"):
                opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Tags().feed(page)
    return not opened


@pytest.mark.parametrize("verb", ["fixef", "ranef", "coef", "tidy", "glance", "icc", "r2", "variance_components"])
def test_tables_of_verbs_are_tables_that_print_for_reading(fit, verb):
    table = getattr(fit, verb)()
    assert isinstance(table, pd.DataFrame) and type(table) is ResultTable
    assert type(pd.DataFrame(table)) is pd.DataFrame
    assert max(map(len, repr(table).splitlines())) <= 80
    assert not re.search(r"\d\d\.\d{4}|\.\d{6}", repr(table))
    for column in table.columns:
        assert column in repr(table)
    assert closed(table._repr_html_())
    assert type(pickle.loads(pickle.dumps(table))) is ResultTable and pickle.loads(pickle.dumps(table)).equals(table)


def test_digits_are_those_of_the_standard_error(fit):
    lines = repr(fit.fixef()).splitlines()
    assert lines[1].split() == ["Intercept", "251.41", "6.82", "17.00", "36.84", "<2e-16", "237.01", "265.80"]
    assert lines[2].split() == ["Days", "10.47", "1.55", "17.00", "6.77", "3.3e-06", "7.21", "13.73"]


def test_columns_have_the_decimals_that_their_numbers_have():
    shown = repr(ResultTable({"a": [0.25, 0.5], "b": [1.0, 2.0], "c": [1234.5678, 1.0], "d": [np.nan, -np.inf]}))
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["0", "0.25", "1", "1234.6"],
        ["1", "0.50", "2", "1.0", "-∞"],
    ]


def test_many_rows_are_folded_and_none_is_lost_in_a_notebook(fit):
    table = fit.augment()
    lines = repr(table).splitlines()
    assert len(table) > FOLDED and len(lines) == 2 * ENDS + 4 and lines[-1] == "[180 rows x 7 columns]"
    page = table._repr_html_()
    assert page.count("<details>") == 1 and "170 more rows" in page and closed(page)
    assert page.count("<tr>") == 2 + 10 + 180
    assert "the first 1,000 of 2,000 rows" in ResultTable({"x": range(2000)})._repr_html_()


@pytest.mark.parametrize(
    "odd",
    [
        pd.DataFrame(),
        pd.DataFrame({"a": []}),
        pd.DataFrame(index=range(3)),
        pd.DataFrame({"sd": [1.0, 2.0], "estimate": [1, 2], "t": pd.to_datetime(["2020", None])}),
        pd.DataFrame([[1.0, 2.0]], columns=["sd", "sd"]),
        pd.DataFrame({("a", "b"): [1.0], ("a", "c"): ["<b>"]}),
        pd.DataFrame({"x": [[1, 2], None], "y": pd.array([1, None], dtype="Int64"), "z": pd.Categorical(["a", None])}),
        pd.DataFrame({"sd": ["none"], "estimate": [0.5]}),
        pd.DataFrame({"a": [1.0]}, index=pd.MultiIndex.from_tuples([("<i>", 1)], names=[None, "k"])),
        pd.DataFrame({"c": [1 + 2j], "big": [1e300], "small": [1e-12], "flag": [True]}),
    ],
)
def test_any_table_prints(odd):
    table = for_reading(odd)
    assert repr(table) and "<b>" not in table._repr_html_() and "<i>" not in table._repr_html_()
    assert closed(table._repr_html_()) or odd.empty


def test_columns_that_do_not_fit_stand_below_the_label_that_tells_rows_apart():
    index = pd.MultiIndex.from_tuples([("fixed", "a"), ("fixed", "b")], names=["effect", "term"])
    wide = ResultTable({f"a_long_name_{k}": [1.0, 2.0] for k in range(6)}, index=index)
    blocks = repr(wide).split("\n\n")
    assert blocks[0].split()[:2] == ["effect", "term"] and all(b.split()[0] == "term" for b in blocks[1:])
    both = pd.MultiIndex.from_product([["u", "v"], ["a", "b"]], names=["effect", "term"])
    wide = ResultTable({f"a_long_name_{k}": range(4) for k in range(6)}, index=both)
    assert all(block.split()[:2] == ["effect", "term"] for block in repr(wide).split("\n\n"))


def records(model, reml, post):
    """One of every record that holds tables."""
    yield blm.ranova(reml)
    yield blm.compare_estimates(reml, post)
    yield blm.model_table(reml, post)
    yield blm.compare(post, post.refit(model.design.y, random_seed=2))
    yield (pool := blm.compare_pooling(model, post=post))
    yield pool.held_out()
    yield pool.loo()
    yield blm.ppc(post)
    yield blm.plan(reml, vary={"Batch": [6, 12]}, quantity="Intercept", studies=4, progressbar=False)
    yield model.prior_audit(draws=200)
    yield reml.means([])
    yield blm.check(reml)["influence"]


def test_tables_of_records_print_for_reading():
    """No column is hidden at 80 characters, whoever made the table."""
    model = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff"))
    for record in records(model, model.fit_reml(), model.fit(random_seed=1)):
        names = [name for name in dir(type(record)) if not name.startswith("_")]
        held = {name: value for name in names if isinstance(value := getattr(record, name), pd.DataFrame)}
        if callable(getattr(record, "table", None)):
            held["table()"] = record.table()
        assert held, record
        for name, table in held.items():
            assert type(table) is ResultTable, (type(record), name)
            if len(table) and len(table.columns):
                assert max(map(len, repr(table).splitlines())) <= 80, (type(record), name)
                assert all(str(column) in repr(table) for column in table.columns)


def test_text_is_flush_left_in_a_notebook_wherever_it_stands():
    page = ResultTable({"n": [1.5], "what": ["a"], "m": [7]})._repr_html_()
    assert re.findall(r"<td style='text-align:(\w+)[^>]*>(?:1.5|a|7)<", page) == ["right", "left", "right"]


def test_columns_of_a_page_fit_into_it():
    """At 1,300 pixels 1,160 are left, of which a cell takes 20 and a letter of a bold header up to 8.5."""
    wide = ResultTable({f"a_column_{k}": [0.25, 0.5] for k in range(20)})
    for block in wide._repr_html_().split("<table")[1:]:
        headers = re.findall(r"<th [^>]*>([^<]*)</th>", block)
        assert sum(20 + 8.5 * len(name) for name in headers) <= 1160, headers


def test_degrees_of_freedom_beyond_a_thousand_are_whole():
    assert repr(ResultTable({"df": [17.0, 1429.85, np.inf]})).split() == ["df", "0", "17.00", "1", "1,430", "2", "∞"]


def test_what_a_fit_is_made_of_is_one_line(fit):
    assert repr(fit.solution) == "<PointSolution: REML, criterion 1743.6283, converged>"
    assert repr(fit.values) == "<Values: beta (2,), covariance (2, 2), sigma>"
    assert repr(fit.origin) == "<Origin: 180 rows>"
    weighted = blm.lmer("Reaction ~ Days + (1 | Subject)", blm.load_dataset("sleepstudy"), weights=np.ones(180))
    assert repr(weighted.origin) == "<Origin: 180 rows, weights>"


def test_the_coordinates_of_a_sampler_print_for_reading():
    geometry = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).geometry
    assert type(geometry) is ResultTable


def test_text_in_cells_is_whole(fit):
    check = blm.check(fit)
    words = check["residual distribution"].words
    assert words in check._repr_html_() and words in check.table._repr_html_()
    assert "".join(words.split()) in "".join("".join(line[30:] for line in repr(check.table).splitlines()).split())
    assert "<tr class='no' " in check._repr_html_() and closed(check._repr_html_())


def test_covariances_of_groups_print_below_their_names(fit):
    matrices = fit.var_corr()
    assert isinstance(matrices, dict) and repr(matrices).startswith("Subject\n") and closed(matrices._repr_html_())


def test_equations_and_priors_have_html(fit):
    model = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy"))
    assert "<math" in model.equations()._repr_html_() and closed(model.equations()._repr_html_())
    assert "HalfStudentT" in model.priors._repr_html_() and closed(model.priors._repr_html_())
    assert repr(model.design) == "<Design: Reaction ~ Days + (Days | Subject); 180 rows, X 180 x 2, levels: Subject 18>"


def test_tables_of_priors_are_printed_whole():
    table = blm.Model("Reaction ~ Days + (Days | Subject)", blm.load_dataset("sleepstudy")).priors.table()
    lines = repr(table).splitlines()
    assert lines[0].split() == ["parameter", "prior", "reason"] and len(lines) == 7
    assert lines[5].split(maxsplit=2) == ["cor(Subject)", "LKJ(2)", "leans away from correlations of ±1"]
    assert repr(table.head(2)).splitlines() == [line.rstrip() for line in repr(table.head(2)).splitlines()]
    assert repr(table.set_index("parameter")).splitlines()[1].split()[0] == "Intercept"
    assert repr(table.iloc[:0]) == repr(pd.DataFrame(table.iloc[:0]))
    page = table._repr_html_()
    assert closed(page) and page.count("<tr>") == 7 and "leans away from correlations of ±1" in page


def test_numbers_of_rows_print_for_reading_and_are_plain_once_computed_with(fit):
    numbers = fit.residuals()
    assert isinstance(numbers, np.ndarray) and type(numbers) is ResultArray
    assert repr(numbers[:3]) == "array([-4.10, -14.63, -42.20])" and str(numbers[:3]) == "[-4.10 -14.63 -42.20]"
    assert repr(numbers).count(",") == 2 * ENDS and max(map(len, repr(numbers).splitlines())) <= 80
    page = numbers._repr_html_()
    assert closed(page) and "170 more rows" in page and ">-14.63<" in page and ">residuals</th>" in page
    assert ">residuals</th>" in numbers[5:9]._repr_html_()
    missing = numbers[:2] * 1.0
    missing[0] = np.nan
    assert repr(for_reading(missing)) == "array([nan, -14.63])"
    many = for_reading(np.ones((200, 500)))
    assert "<pre>" in many._repr_html_() and len(repr(many)) < 2000
    of_categories = for_reading(np.full((30, 3), 0.25))._repr_html_()
    assert closed(of_categories) and "<details>" in of_categories and ">0.25<" in of_categories
    plain = [numbers - 1.0, np.sort(numbers), pd.DataFrame({"r": numbers})["r"].to_numpy(), numbers.round(1)]
    assert {type(each) for each in [*plain, pickle.loads(pickle.dumps(numbers))]} == {np.ndarray}
    assert type(numbers.mean()) is np.float64 and type(numbers.max()) is np.float64
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(numbers)), numbers)
    assert type(for_reading(np.array(["a"]))) is np.ndarray and type(for_reading(np.arange(3))) is np.ndarray


def test_columns_that_stand_alone_print_for_reading(fit):
    predicted = fit.predict()
    assert isinstance(predicted, pd.Series) and type(predicted.head()) is type(predicted) is ResultSeries
    lines = repr(predicted).splitlines()
    assert lines[1].split() == ["0", "253.7"] and lines[-1] == "[180 rows x 1 columns]"
    assert "170 more rows" in predicted._repr_html_() and closed(predicted._repr_html_())
    assert type(predicted.to_frame("fitted")) is ResultTable and repr(predicted.iloc[:0]).startswith("Series([]")
    assert type(for_reading(pd.Series(["a"]))) is pd.Series and type(pd.Series(predicted)) is pd.Series
    own, common = blm.no_pooling(fit), blm.complete_pooling(fit)
    assert repr(common).split() == ["complete", "Intercept", "251.4", "Days", "10.5"]
    beside = repr(own.head(1).join((own - common).add_suffix(" apart")))
    assert beside.split()[-5:] == ["308", "244.2", "21.76", "-7.212", "11.30"]


def test_what_was_left_out_has_html():
    post = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).fit(random_seed=1)
    page = post.loo()._repr_html_()
    assert closed(page) and "elpd_loo" in page and "Pareto k" in page and f"{post.loo().elpd:.2f}" in page
    assert re.findall(r">(\d+)</td>", page) == ["30", "0", "0"]
    folds = blm.kfold(post, 2, progressbar=False)._repr_html_()
    assert closed(folds) and "elpd_kfold" in folds and "Monte Carlo" in folds and "Pareto" not in folds


def test_an_argument_or_name_that_is_not_there_says_which_is_like_it(fit):
    with pytest.raises(errors.UnknownArgumentError, match="'group'. Did you mean 'groups'") as caught:
        fit.predict(group="new")
    assert isinstance(caught.value, TypeError)
    with pytest.raises(errors.UnknownArgumentError, match="missing a required argument: 'hypotheses'"):
        fit.test()
    with pytest.raises(errors.UnknownNameError, match="Did you mean 'criterion'"):
        _ = fit.criterium
    post = blm.Model("Yield ~ 1 + (1 | Batch)", blm.load_dataset("dyestuff")).fit(random_seed=1)
    with pytest.raises(errors.UnknownArgumentError, match="say of which variable. Variables here: beta, sigma"):
        post.draws()
    with pytest.raises(errors.InputError, match="'Intercept' is an effect that varies by 'Batch'"):
        post.rank_groups("Intercept")
    with pytest.raises(errors.RefusedVerbError, match="here it is criterion"):
        _ = fit.reml_criterion
    assert not hasattr(fit, "criterium") and not hasattr(blm, "plot_line")


def test_a_fine_number_beyond_chance_says_why_it_is_fine():
    hsb = blm.load_dataset("hsb")
    words = [v.words for v in blm.check(blm.lmer("mathach ~ ses + (ses | school)", hsb)) if v.level == "ok"]
    beyond = [text for text in words if "more than by chance, but" in text]
    assert beyond and all(re.search(r"too little to matter: .* [\d.e-]+, limit [\d.]+", text) for text in beyond)


def test_errors_in_ipython_show_the_lines_of_the_user_alone():
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell.instance(colors="nocolor")
    try:
        with capture_output() as printed:
            shell.run_cell("import bayeslmm as blm\ndata = blm.load_dataset('sleepstudy')", store_history=True)
            result = shell.run_cell("def mine():\n    blm.Model('Reaction ~ Dayz', data)\nmine()", store_history=True)
        text = printed.stdout + printed.stderr
        assert isinstance(result.error_in_exec, errors.UnknownColumnError)
        assert "blm.Model('Reaction ~ Dayz', data)" in text and "Did you mean 'Days'?" in text
        assert "build_design" not in text and "model.py" not in text
        for line, error, words in (
            ("fit = blm.lmer('Reaction ~ 1 + (1 | Subject)', data); fit.sigmas", AttributeError, "mean 'sigma'?"),
            ("fit.predict(group='new')", TypeError, "Did you mean 'groups'?"),
            ("fit.confint('nonsense')", ValueError, "nonsense"),
            ("blm.plot_line", AttributeError, "Did you mean 'plot_lines'?"),
        ):
            with capture_output() as printed:
                result = shell.run_cell(line, store_history=True)
            text = printed.stdout + printed.stderr
            assert isinstance(result.error_in_exec, error) and words in text and "bayeslmm/" not in text, text
    finally:
        InteractiveShell.clear_instance()


def test_a_key_that_is_not_there_leads_to_the_columns_and_groups():
    sleep = blm.load_dataset("sleepstudy")
    fit = blm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    for table, key, words in [
        (fit.ranef(), "Subject", "table[table['group'] == 'Subject']"),
        (fit.ranef(wide=True), "Subject", "table.loc['Subject']"),
        (fit.coef(wide=True), "subject", "Groups are 'Subject'"),
        (fit.var_corr(), "subject", "there are 'Subject'"),
        (fit.fixef(), "Days", "table.loc['Days']"),
        (fit.tidy(), ["group", "nothing"], "its columns are"),
    ]:
        with pytest.raises(errors.UnknownEntryError) as caught:
            table[key]
        assert words in str(caught.value) and isinstance(caught.value, KeyError)
    assert fit.ranef().get("Subject") is None and fit.var_corr().get("subject") is None and "q" not in fit.fixef()
