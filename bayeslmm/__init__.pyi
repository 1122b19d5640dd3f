"""The public names for type checkers and editors; the package itself imports each when it is first used."""

from . import errors as errors
from .checks.check import check as check
from .datasets import load_dataset as load_dataset
from .design.centring import center_within as center_within
from .design.priors import LKJ as LKJ
from .design.priors import Prior as Prior
from .design.priors import flat as flat
from .model import Model as Model
from .model import assume as assume
from .model import fit_imputed as fit_imputed
from .model import glmer as glmer
from .model import lmer as lmer
from .model_comparison.anova import anova as anova
from .model_comparison.anova import drop1 as drop1
from .model_comparison.anova import ranova as ranova
from .model_comparison.elpd import compare as compare
from .model_comparison.estimates import compare_estimates as compare_estimates
from .model_comparison.kfold import kfold as kfold
from .model_comparison.model_table import model_table as model_table
from .planning.plan import plan as plan
from .pooling.pooling import compare_pooling as compare_pooling
from .pooling.pooling import complete_pooling as complete_pooling
from .pooling.pooling import no_pooling as no_pooling
from .predictive.ppc import ppc as ppc
from .results.catalogue import list_datasets as list_datasets
from .results.functions import comparisons as comparisons
from .results.functions import icc as icc
from .results.functions import predictions as predictions
from .results.functions import slopes as slopes
from .results.reference import grid as grid
from .results.storage import load as load
from .results.storage import save as save
from .show.estimates import plot_estimates as plot_estimates
from .show.levels import plot_coef as plot_coef
from .show.levels import plot_ranef as plot_ranef
from .show.lines import plot_lines as plot_lines
from .show.lines import plot_predictions as plot_predictions
from .show.planning import plot_plan as plot_plan
from .show.pooling import plot_pooling as plot_pooling
from .show.predictive import plot_ppc as plot_ppc
from .show.profiles import plot_profile as plot_profile
from .show.report import report as report
from .show.residuals import plot_ranef_normality as plot_ranef_normality
from .show.residuals import plot_residuals as plot_residuals
from .show.sampler import plot_energy as plot_energy
from .show.sampler import plot_rank as plot_rank
from .show.sampler import plot_trace as plot_trace
from .show.smooths import plot_smooth as plot_smooth
from .show.studies import plot_forest as plot_forest
from .show.studies import plot_funnel as plot_funnel
from .show.variances import plot_icc as plot_icc
from .show.variances import plot_prior_posterior as plot_prior_posterior
from .show.variances import plot_variance as plot_variance

__version__: str
__all__: list[str]
