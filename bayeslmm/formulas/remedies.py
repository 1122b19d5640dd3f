"""Words of other programs that a formula does not have: the sentence that leads to what does the job."""

from __future__ import annotations

SMOOTH = (
    "Penalised smooths of one number are s(x), one for each level of a factor s(x, by=f); splines of a fixed number of "
    "columns are bs(x, df=5) or cr(x, df=5)."
)
COVARIANCE = (
    "Correlated residuals are Model(formula, data, residual='ar1(time | g)'), or cs, car1, us (docs/residuals.md)."
)
STRUCTURE = "The covariance structure of a bar stands before it and holds it, as in ar1(0 + f | g) or diag(x | g)."
SPATIAL = "Gaussian processes are not offered; bs(x, df=5) or cr(x, df=5) bend a line."
NO_ERRORS = "Predictors with errors are not offered: model.pymc_parts() lets PyMC have them (docs/extending.md)."
CODES = "Numbers need nothing around them; convert text in the data: pandas.to_numeric(data[...])."

AROUND_FORMULA = dict.fromkeys(  # functions that hold a whole formula elsewhere
    ("bf", "brmsformula", "formula", "as.formula", "Formula"),
    "is not needed: the formula stands alone; predictors of sigma, zi, shape and the like are arguments of "
    "Model(formula, data, sigma='~ x').",
)

REMEDIES = {
    "cbind": "For counts write p(successes, trials) on the left of '~', or there cbind(successes, failures).",
    "ns": "Natural splines are cr(x, df=...).",
    **dict.fromkeys(("te", "ti", "t2", "lo", "pspline"), SMOOTH),
    **dict.fromkeys(("ar", "arma", "ma", "car", "car1", "cosy", "ou", "unstr", "sar"), COVARIANCE),
    **dict.fromkeys(("us", "diag", "cs", "ar1"), STRUCTURE),
    **dict.fromkeys(("gp", "mat", "exp_cov", "gau"), SPATIAL),
    **dict.fromkeys(("me", "mi"), NO_ERRORS),
    "mo": "Monotonic effects are not offered: C(x) gives a coefficient for each level, C(x, Poly) a trend.",
    "mvbind": "There is one response a model; long data, a row a response, have (0 + response | subject).",
    **dict.fromkeys(
        ("phylo", "animal", "spde", "relmat"), "Related levels are (1 | gr(level, cov=A)), with matrices={'A': A}."
    ),
    "mmc": "Several memberships are (1 | mm(a, b)), with an intercept only.",
    "rr": "Random effects of reduced rank are not offered; (x || g) leaves their correlations out.",
    "re": "A random intercept is (1 | g).",
    "random": "A random intercept is (1 | g).",
    "cut": "Make the column first, with edges that new data share: data['bin'] = pandas.cut(data['x'], [0, 10, 20]).",
    "Error": "Strata of aov() are random terms here: (1 | g).",
    "strata": "A stratum is a factor, C(g), or a random intercept, (1 | g).",
    "interaction": "The interaction of factors is a:b, as a grouping factor too: (1 | a:b).",
    "ordered": "The order is the data's: pandas.Categorical(data['x'], categories=[...], ordered=True).",
    "lag": "Rows do not know of other rows: make the column first, with data.groupby('g')['x'].shift().",
    "rank": "Rows do not know of other rows: make the column first, with data['x'].rank().",
    "rev": "Rows do not know of other rows: make the column first.",
    "diff": "Rows do not know of other rows: make the column first, with data.groupby('g')['x'].diff().",
    "cumsum": "Rows do not know of other rows: make the column first, with data.groupby('g')['x'].cumsum().",
    "sapply": "Make the column first, with data['x'].map(function).",
    "paste": "The combinations of two columns are a:b; other labels are made in the data.",
    "paste0": "The combinations of two columns are a:b; other labels are made in the data.",
    "nchar": "Make the column first: data['x'].str.len().",
    "logit": "Write log(x / (1 - x)).",
    "plogis": "Write 1 / (1 + exp(-x)).",
    "inv_logit": "Write 1 / (1 + exp(-x)).",
    "Surv": "Censored rows are cens(y, status) on the left, of family='weibull', 'lognormal' or 'gaussian'.",
    "monotonic": "Monotonic effects are not offered: C(x) gives a coefficient for each level, C(x, Poly) a trend.",
    **dict.fromkeys(("dummy",), "Write I(f == 'a'), 1 in the rows with that level."),
    "Q": "A column with any name stands in backticks: `my column`.",
    **dict.fromkeys(("hsgp", "gaussian_process", "kriging"), SPATIAL),
    **dict.fromkeys(("rcs", "pol", "lsp", "rms"), "Splines are cr(x, df=5) or bs(x, df=5), polynomials poly(x, 2)."),
    **dict.fromkeys(("frailty", "cluster"), "A random intercept is (1 | g)."),
    "tt": "Effects that change with time are x:t, of long data with a row an interval.",
    **dict.fromkeys(("corAR1", "corCAR1", "corSymm", "corCompSymm", "corExp", "acor"), COVARIANCE),
    **dict.fromkeys(("un", "toep", "homdiag", "hetar1", "propto", "equalto", "pdDiag", "pdSymm"), STRUCTURE),
    "resp_se": "Known standard errors stand beside the formula: Model(formula, data, se='s').",
    **dict.fromkeys(
        ("contrasts", "code"), "Contrasts: C(f, contr.sum), C(f, Treatment('b')); Model(contrasts='sum') for all."
    ),
    "droplevels": "Levels without rows are left out by themselves.",
    **dict.fromkeys(("year", "month", "weekday", "yday"), "Make the column first: data['x'].dt.month."),
}
"""What to write for a function of R or of a package of R, by its name."""

ALONE = {
    "s": "A smooth is a term of its own right of '~', as in y ~ s(x); within others splines are bs(x, df=5).",
    "gr": "Related levels stand right of a bar: (1 | gr(animal, cov=A)).",
    "mm": "Several memberships stand right of a bar: (1 | mm(a, b)).",
}
"""What to write for terms that stand where they cannot."""

DOTTED = {
    "as.character": "C(x) makes a factor of a column.",
    "as.integer": CODES,
    "as.logical": "Write a condition: x == 'yes'.",
    "as.numeric": CODES,
    "as.ordered": REMEDIES["ordered"],
    "is.na": "Rows with missing values are left out; make a column first: data['x'].isna().",
}
"""The same for functions with dots in their names, which are none of Python."""

BESIDE_RESPONSE = {
    "dec": "Decisions of diffusion models are not offered.",
    "mi": NO_ERRORS,
    "rate": "Write offset(log(...)) on the right.",
    "se": "Known standard errors stand beside the formula: Model(formula, data, se='s') (docs/meta_analysis.md).",
    "subset": "Leave the rows out of the data: data[condition].",
    "thres": "One set of cutpoints holds for all rows, as many as categories that occur; thresholds by group are not "
    "offered (brms has them). A factor right of '~' or a bar, (1 | g), moves all of them together, scale='~ g' spreads "
    "them, and models of the rows of each level have cutpoints of their own.",
    "trunc": "Truncated responses are not offered: model.pymc_parts() lets PyMC have them (docs/extending.md).",
    "vint": "Families of one's own are not offered.",
    "vreal": "Families of one's own are not offered.",
}
"""What to write for what brms puts after a bar on the left of '~'."""
