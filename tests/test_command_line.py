"""The command line: what it prints, writes and refuses, and its exit codes."""

import bz2
import gzip
import io
import os
import re
import signal
import subprocess
import sys
import warnings

import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.cli import fit as fit_command
from bayeslmm.cli.main import main
from bayeslmm.errors import BayesLMMWarning, FitError

FORMULA = "Reaction ~ Days + (Days | Subject)"
CRITERION = "REML criterion: 1743.6283"  # as lme4 prints it for sleepstudy


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command line in a folder of its own; exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit:
            code = exit.code
        return code, *capsys.readouterr()

    return command


@pytest.fixture(scope="module")
def sleep():
    return blm.load_dataset("sleepstudy")


# -- what is read in chunks


def test_a_folder_or_glob_of_parquet_files_is_read_in_chunks(run, sleep, tmp_path):
    (tmp_path / "rows").mkdir()
    for k in range(3):
        sleep.iloc[60 * k : 60 * (k + 1)].to_parquet(tmp_path / "rows" / f"part-{k}.parquet")
    for arguments in (["rows"], ["rows/*.parquet"], ["rows/part-0.parquet", "--stream"]):
        code, out, err = run("fit", *arguments, FORMULA, "--reml", "--save", "fit.nc")
        assert code == 0 and "read in chunks" in out and "not kept" in out, err
        assert (CRITERION in out) == ("--stream" not in arguments)
        assert blm.load(tmp_path / "fit.nc").nobs == (60 if "--stream" in arguments else 180)


def test_what_cannot_be_read_in_chunks_is_said_before_anything_is_fitted(run, sleep, tmp_path):
    (tmp_path / "rows").mkdir()
    sleep.to_parquet(tmp_path / "rows" / "all.parquet")
    for arguments, words in (
        (["rows", "--check"], "--check needs the rows"),
        (["rows", "--report", "page.html"], "--report needs the rows"),
        (["sleepstudy", "--stream"], "sleepstudy is no Parquet file"),
        (["none/*.parquet"], "There is no Parquet file"),
        (["rows/all.parquet", "--stream", "--save", "rows/all.parquet"], "the table itself"),
    ):
        code, out, err = run("fit", arguments[0], FORMULA, *arguments[1:])
        assert code == 2 and words in " ".join(err.split()) and "Posterior" not in out


# -- what is printed


def test_reml_of_a_data_set(run):
    code, out, err = run("fit", "sleepstudy", FORMULA, "--reml")
    assert (code, err) == (0, "")
    assert out.startswith("Data: data set sleepstudy, 180 rows, 3 columns (Reaction, Days, Subject)")
    assert CRITERION in out and "Verdict: converged" in out and "Priors:" not in out
    assert max(map(len, out.splitlines())) <= 100


def test_the_posterior_is_what_is_fitted_if_nothing_is_said(run, sleep):
    code, out, _ = run("fit", "sleepstudy", FORMULA, "--seed", 1, "--draws", 400, "--chains", 2)
    model = blm.Model(FORMULA, sleep)
    assert code == 0 and str(model) in out and CRITERION not in out
    mean = model.fit(random_seed=1, draws=400, chains=2).fixef()["mean"].iloc[0]
    printed = re.search(r"^ *Intercept +([\d.]+)", out, re.MULTILINE)
    # four errors of the difference of two means of 800 draws with an sd of 7
    assert printed and float(printed[1]) == pytest.approx(mean, abs=1.4)
    assert "Draws: 2 chains x 400" in out and max(map(len, out.splitlines())) <= 100


def test_several_fits_stand_side_by_side(run):
    code, out, _ = run("fit", "sleepstudy", FORMULA, "--reml", "--posterior", "--seed", 1)
    assert code == 0 and out.index(CRITERION) < out.index("Draws:") < out.index("REML beside the posterior")
    code, out, _ = run("fit", "sleepstudy", FORMULA, "--reml", "--ml")
    assert code == 0 and "Model B: Reaction ~ Days + (Days | Subject) (ML)" in out


def test_family_link_weights_and_offset_reach_the_model(run, sleep):
    sleep.assign(w=2.0, o=100.0).to_csv("s.csv", index=False)
    code, out, _ = run("fit", "s.csv", "Reaction ~ 1 + (1 | Subject)", "--ml", "--weights", "w", "--offset", "o")
    expected = blm.Model("Reaction ~ 1 + (1 | Subject)", sleep.assign(w=2.0, o=100.0), weights="w", offset="o")
    assert code == 0 and str(expected.fit_ml().summary()) in out
    short = ("--draws", 200, "--tune", 300, "--chains", 2, "--seed", 1, "--method", "nuts", "--cores", 1)
    formula = "p(incidence, size) ~ 1 + (1 | herd)"
    code, out, _ = run("fit", "cbpp", formula, "--family", "binomial", "--link", "probit", *short)
    assert "family binomial (probit link)" in out and "Draws: 2 chains x 200 after 300 tuning steps" in out


def test_rows_left_out_are_told_once_on_standard_error(run):
    code, out, err = run("fit", "science", "like ~ sex + (1 | school) + (1 | Class)", "--reml")
    assert code == 0 and "2 dropped" in out
    assert err.count("2 of 1385 rows left out") == 1 and "boundary (singular) fit" in err
    assert all(line.startswith(("warning: ", "  ")) for line in err.splitlines())


def test_a_formula_without_groups_may_have_lost_its_bar_to_the_shell(run):
    code, out, err = run("fit", "sleepstudy", "Reaction~Days", "--reml")
    assert code == 0 and "put the formula in quotes" in err and "Linear model" in out


def test_bars_of_every_category_are_a_random_part(run, tmp_path):
    """The predictors of categories have them, and none is left for the mean."""
    path = tmp_path / "ways.csv"
    path.write_text("way,g\n" + "".join(f"{way},{g}\n" for g in range(5) for way in ("bus", "car", "foot", "bus")))
    code, out, _ = run("fit", str(path), "way ~ 1 + (1 | g)", "--family", "categorical", "--ml")
    assert code == 0 and "mu_car_g 5" in out and "no random part" not in out


def test_data_sets_are_listed_and_described(run):
    code, out, _ = run("datasets")
    assert code == 0 and all(name in out for name in blm.list_datasets()["name"])
    assert max(map(len, out.splitlines())) <= 100
    code, out, _ = run("datasets", "science")
    assert code == 0 and "1,385 pupils" in out and "Licence: R package DAAG" in out and "  like: " in out
    code, _, err = run("datasets", "hbs")
    assert code == 2 and "Did you mean 'hsb'?" in err


def test_version_and_help(run):
    assert run("--version") == (0, f"bayeslmm {blm.__version__}\n", "")
    for arguments in (["--help"], ["fit", "--help"], ["datasets", "--help"], ["demo", "--help"]):
        code, out, _ = run(*arguments)
        assert code == 0 and "exit codes:" in out and max(map(len, out.splitlines())) <= 100


def test_the_module_is_the_command_and_loads_nothing_heavy_for_help():
    code = "import sys; from bayeslmm.cli.main import build_parser; build_parser().format_help(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pymc", "arviz", "matplotlib", "nutpie"} & set(loaded)
    ran = subprocess.run([sys.executable, "-m", "bayeslmm", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"bayeslmm {blm.__version__}\n"


# -- what is written


def test_results_go_to_files(run, tmp_path):
    code, out, err = run("fit", "sleepstudy", FORMULA, "--reml", "--tidy", "t.csv", "--save", "fit.nc")
    assert code == 0 and "written: t.csv" in err and "written: fit.nc" in err
    fit = blm.load("fit.nc")
    pd.testing.assert_frame_equal(fit.tidy(), pd.read_csv("t.csv"), check_dtype=False, rtol=1e-12)
    assert str(fit.summary()) in out


def test_the_report_is_of_the_last_fit(run, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setitem(blm.__dict__, "report", lambda fit, path, **_: seen.append((fit, path)))
    code, _, err = run("fit", "sleepstudy", FORMULA, "--reml", "--ml", "--report", "out.html")
    assert code == 0 and "written: out.html" in err
    ((fit, path),) = seen
    assert not fit.solution.reml and path.name == "out.html"


@pytest.mark.parametrize("option", ["--tidy", "--save", "--report"])
@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere/out", "there is no folder nowhere"), (".", "is a folder"), ("s.csv", "is the table itself")],
)
def test_paths_are_refused_before_the_fit(run, sleep, monkeypatch, option, path, message):
    sleep.to_csv("s.csv", index=False)
    monkeypatch.setattr(blm.Model, "fit_reml", lambda self: pytest.fail("fitted"))
    code, out, err = run("fit", "s.csv", FORMULA, "--reml", option, path)
    assert code == 2 and option in err and message in err
    assert pd.read_csv("s.csv").shape == (180, 3)


def test_two_results_need_two_files(run):
    code, _, err = run("fit", "sleepstudy", FORMULA, "--reml", "--tidy", "a", "--save", "./a")
    assert code == 2 and "--save and --tidy name the same file" in err


def test_a_disk_that_is_full_is_one_message(run, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    code, _, err = run("fit", "sleepstudy", FORMULA, "--reml", "--tidy", "t.csv")
    assert code == 2 and "--tidy: t.csv cannot be written: No space left on device" in err and "Traceback" not in err


# -- tables


def written(name, data):
    """The table under this name, in the form that the name says."""
    plain = data.to_csv(index=False).encode()
    contents = {
        "plain.csv": plain,
        "plain.csv.gz": gzip.compress(plain),
        "csv.bz2": bz2.compress(plain),
        "tab.tsv": data.to_csv(index=False, sep="\t").encode(),
        "bar.txt": data.to_csv(index=False, sep="|").encode(),
        "euro.csv": data.to_csv(index=False, sep=";", decimal=",").encode(),
        "point.csv": data.to_csv(index=False, sep=";").encode(),
        "bom.csv": b"\xef\xbb\xbf" + plain,
        "utf16.csv": plain.decode().encode("utf-16"),
        "blanks.dat": data.to_csv(index=False, sep=" ").encode(),
        "write.table.txt": data.to_csv(sep=" ").replace('"" ', "").lstrip().encode(),
        "spaces.csv": plain.replace(b",", b", "),
        "unterminated.csv": plain.rstrip(b"\n"),
        "quoted.csv": data.assign(Subject=[f"a, {s}\nb" for s in data["Subject"]]).to_csv(index=False).encode(),
    }
    with open(name, "wb") as file:
        file.write(contents[name])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("plain.csv", ""),
        ("plain.csv.gz", ""),
        ("csv.bz2", ""),
        ("tab.tsv", " (separator tab)"),
        ("bar.txt", " (separator bar)"),
        ("euro.csv", " (separator semicolon, decimal comma)"),
        ("point.csv", " (separator semicolon)"),
        ("bom.csv", ""),
        ("utf16.csv", ""),
        ("blanks.dat", " (separator blanks)"),
        ("write.table.txt", " (separator blanks)"),
        ("spaces.csv", ""),
        ("unterminated.csv", ""),
        ("quoted.csv", ""),
    ],
)
def test_tables_in_text(run, sleep, name, told):
    written(name, sleep)
    code, out, err = run("fit", name, FORMULA, "--reml")
    assert (code, err) == (0, "")
    assert f"Data: {name}{told}, 180 rows, 3 columns (Reaction, Days, Subject)" in out and CRITERION in out


def test_blanks_and_semicolons_inside_fields_are_not_separators(run, sleep):
    with open("names.csv", "w") as file:
        file.write("first name,last name\n" + "Ann B,Carl D\n" * 5)
    assert "2 columns (first name, last name)" in run("fit", "names.csv", "y ~ 1")[1]
    with open("notes.csv", "w") as file:
        file.write("y,note\n" + "1,a;b\n" * 5)
    assert "2 columns (y, note)" in run("fit", "notes.csv", "q ~ 1")[1]


def test_windows_letters_are_told(run):
    with open("latin.csv", "wb") as file:
        file.write("größe,g\n1,ä\n2,ä\n3,b\n".encode("cp1252"))
    code, out, _ = run("fit", "latin.csv", "größe ~ 1", "--reml")
    assert code == 0 and "read as Windows-1252, since it is not UTF-8" in out


def test_standard_input(run, sleep, monkeypatch):
    content = io.BytesIO(gzip.compress(sleep.to_csv(index=False).encode()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
    code, out, _ = run("fit", "-", FORMULA, "--reml")
    assert code == 0 and "Data: standard input, 180 rows" in out and CRITERION in out
    monkeypatch.setattr(sys, "stdin", Terminal())
    code, _, err = run("fit", "-", FORMULA, "--reml")
    assert code == 2 and "from a pipe" in err


class Terminal:
    def isatty(self):
        return True


def test_parquet(run, sleep, monkeypatch):
    pytest.importorskip("pyarrow")
    sleep.set_index("Subject").to_parquet("s.parquet")
    code, out, _ = run("fit", "s.parquet", FORMULA, "--reml")
    assert code == 0 and CRITERION in out


def test_a_doubled_column_of_parquet_is_no_damage(run, sleep):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = [pa.array(sleep[name]) for name in ("Reaction", "Days", "Subject", "Days")]
    pq.write_table(pa.Table.from_arrays(columns, names=["Reaction", "Days", "Subject", "Days"]), "s.parquet")
    for how in ([], ["--stream"]):
        code, _, err = run("fit", "s.parquet", FORMULA, "--reml", *how)
        assert code == 2 and "'Days'" in err and "Rename" in err and "damaged" not in err


def test_parquet_without_pyarrow_says_what_to_install(run, monkeypatch):
    def missing(*_, **__):
        raise ImportError("no engine")

    monkeypatch.setattr(pd, "read_parquet", missing)
    with open("s.parquet", "wb") as file:
        file.write(b"PAR1 and more")
    code, _, err = run("fit", "s.parquet", FORMULA, "--reml")
    assert code == 2 and "pip install pyarrow" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b" \n \n", "empty"),
        (b"\xff\xfe", "empty"),
        (b"a,b\n", "no rows"),
        (b"a,b\n1,2\n3,4,5\n", "Expected 2 fields in line 3, saw 3"),
        (b"PK\x03\x04" + bytes(50), "Excel"),
        (b"\xd0\xcf\x11\xe0" + bytes(50), "Excel"),
        (b"%PDF-1.7\n%\xe2", "a PDF"),
        (bytes(range(256)), "no text"),
        (b"<!doctype html>\n<p>a,b", "web page or JSON"),
        (b'{"a": [1, 2]}', "web page or JSON"),
        (b"\x1f\x8b\x08\x00" + bytes(20), "damaged compressed file"),
        (b"PAR1" + bytes(60), "damaged Parquet"),
        (b"a,b\n\x81\x8d,2\n", "no text that can be read"),
        (b'a,b\n"1,2\n3,4\n', "no regular table"),
        (gzip.compress(b"a,b\n1,2\n" * 999, mtime=0)[:40], "damaged compressed file"),
        (b"Lorem ipsum\ndolor\n", "'Reaction'"),
    ],
)
def test_what_is_no_table_is_refused_in_words(run, content, message):
    with open("data.csv", "wb") as file:
        file.write(content)
    code, _, err = run("fit", "data.csv", FORMULA, "--reml")
    assert code == 2 and message in " ".join(err.split()) and err.startswith("python -m bayeslmm: error: ")


def test_tables_that_are_not_there(run, sleep):
    sleep.to_csv("slp.csv", index=False)
    for source, message in (
        ("sleepstdy", "Did you mean 'sleepstudy'?"),
        ("spl.csv", "Did you mean 'slp.csv'?"),
        (".", "is a folder"),
        ("https://example.org/a.csv", "no file 'https://example.org/a.csv'"),
        ("a\0b", "There is no file"),
    ):
        code, _, err = run("fit", source, FORMULA, "--reml")
        assert code == 2 and message in " ".join(err.split()), err


def test_a_file_comes_before_a_data_set_of_that_name(run, sleep):
    sleep.head(60).to_csv("sleepstudy", index=False)
    assert "Data: sleepstudy, 60 rows" in run("fit", "sleepstudy", FORMULA, "--reml")[1]


# -- words


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["Reaction", os.path.expanduser("~"), "Days"], ["3 words", "in the place of '~'", "in quotes"]),
        (["Reaction", "~", "Days", "+", "(1"], ["5 words", "in quotes"]),
        (["Reaction", "~", "Days", "-", "1"], ["5 words", "in quotes"]),
        (["'Reaction", "~", "Days'"], ["quotes are double ones"]),
        (["Reaction"], ["'Reaction' is no formula", "in quotes"]),
    ],
)
def test_a_formula_that_the_shell_has_eaten(run, words, messages):
    code, _, err = run("fit", "sleepstudy", *words, "--reml")
    assert code == 2 and all(message in " ".join(err.split()) for message in messages)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["fti"], "invalid choice: 'fti'"),
        (["fit"], "required: DATA, FORMULA"),
        (["fit", "sleepstudy"], "required: FORMULA"),
        (["fit", FORMULA, "sleepstudy"], "the table comes first"),
        (["fit", "sleepstudy", FORMULA, "--sed", "1"], "unknown: --sed"),
        (["fit", "sleepstudy", FORMULA, "--seed", "one"], "--seed: invalid whole number value: 'one'"),
        (["fit", "sleepstudy", FORMULA, "--chains", "0"], "--chains: 0 is less than 1"),
        (["fit", "sleepstudy", FORMULA, "--family", "normal"], "--family: invalid choice: 'normal'"),
        (["fit", "sleepstudy", FORMULA, "--link", "logit"], "links of gaussian are"),
        (
            ["fit", "sleepstudy", "Reaction ~ (1 | Subject)", "--family", "beta", "--reml"],
            "numbers strictly between 0 and 1",
        ),
        (["fit", "sleepstudy", FORMULA, "--weights", "w"], "'w' (weights=)"),
        (["fit", "sleepstudy", "Reaction ~ Dys + (1 | Subject)"], "Did you mean 'Days'?"),
        (["fit", "sleepstudy", "Reaction ~ (1 | Subject"], "never closed"),
        (["fit", "sleepstudy", "Reaction ~ np.load('a')"], "np.load is not allowed"),
        (["fit", "sleepstudy", "Reaction ~ I(__import__('os'))"], "not allowed"),
        (["datasets", "hsb", "science"], "unknown: science"),
    ],
)
def test_words_that_make_no_sense(run, arguments, message):
    code, _, err = run(*arguments)
    assert code == 2 and message in " ".join(err.split())
    assert err.startswith("python -m bayeslmm") and "Traceback" not in err


def test_the_formula_sees_no_names_of_the_program(run):
    for name in ("fit_command", "options", "table", "pd", "FORMULA"):
        code, _, err = run("fit", "sleepstudy", f"Reaction ~ I(Days + {name}) + (1 | Subject)", "--reml")
        assert code == 2 and name in err


# -- exit codes


def test_numbers_that_cannot_be_trusted_are_one(run, monkeypatch):
    short = ("--seed", 1, "--draws", 10, "--chains", 2, "--tune", 20, "--method", "nuts", "--cores", 1)
    code, out, err = run("fit", "sleepstudy", FORMULA, *short)
    assert code == 1 and "Verdict: doubtful" in out and "warning: sampling: doubtful" in err
    monkeypatch.setattr(blm, "check", lambda fit, **_: Verdicts(), raising=False)
    code, out, _ = run("fit", "sleepstudy", FORMULA, "--reml", "--check")
    assert code == 1 and "all is bad" in out


class Verdicts:
    passed = False

    def __str__(self):
        return "all is bad"


def raising(problem):
    def run(*_, **__):
        raise problem

    return run


@pytest.mark.parametrize(
    ("problem", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (FitError("the search broke down"), 1, "error: the search broke down"),
        (MemoryError(), 2, "more memory than there is"),
        (ZeroDivisionError("oh"), 3, "ZeroDivisionError: oh"),
    ],
)
def test_every_error_is_one_message_and_one_code(run, monkeypatch, problem, code, message):
    monkeypatch.setattr(fit_command, "read_table", raising(problem))
    monkeypatch.delenv("BAYESLMM_TRACEBACK", raising=False)
    found, out, err = run("fit", "sleepstudy", FORMULA)
    assert found == code and message in err and "Traceback" not in err and out == ""
    if code == 3:
        monkeypatch.setenv("BAYESLMM_TRACEBACK", "1")
        assert "Traceback" in run("fit", "sleepstudy", FORMULA)[2]


@pytest.mark.parametrize("answer", ["draws", "error"])
def test_an_interrupt_counts_where_the_sampler_answers_it_otherwise(run, monkeypatch, answer):
    """nutpie takes Ctrl-C as the wish for the draws there are, which may be none."""

    def sample(self, **_):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 1)
        except KeyboardInterrupt:
            if answer == "error":
                raise ValueError("no draws") from None
        return self.fit_reml()

    monkeypatch.setattr(blm.Model, "fit", sample)
    code, out, err = run("fit", "sleepstudy", FORMULA)
    assert code == 130 and err == "interrupted\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nobody_reads_any_more():
    command = [sys.executable, "-m", "bayeslmm", "datasets"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # long before it has imported pandas
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_warnings_are_as_before_afterwards(run):
    run("fit", "science", "like ~ sex + (1 | school) + (1 | Class)", "--reml")
    with pytest.warns(BayesLMMWarning, match="again"):
        warnings.warn("again", BayesLMMWarning, stacklevel=1)


def test_labels_with_leading_zeros_stay_apart_and_doubled_names_are_refused(tmp_path):
    from bayeslmm.cli.table import read_table
    from bayeslmm.errors import DataError

    (tmp_path / "t.csv").write_text("y,g,x\n1.5,01,0\n2,1,10\n3,1.0,0.5\n")
    read = read_table(str(tmp_path / "t.csv"))
    assert list(read.frame["g"]) == ["01", "1", "1.0"] and "g kept as text for its leading zeros" in read.description
    assert list(read.frame["x"]) == [0.0, 10.0, 0.5]
    (tmp_path / "t.csv").write_text("y,g, y\n1,2,3\n")
    with pytest.raises(DataError, match="several columns called 'y'"):
        read_table(str(tmp_path / "t.csv"))
