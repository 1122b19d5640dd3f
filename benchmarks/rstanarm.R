# Rscript rstanarm.R FORMULA TABLE REPEATS: seconds and smallest bulk ESS of stan_lmer, as JSON
suppressPackageStartupMessages({library(rstanarm); library(jsonlite); library(posterior)})
given <- commandArgs(trailingOnly = TRUE)
data <- read.csv(given[2])
found <- lapply(seq_len(as.integer(given[3])), function(seed) {
  seconds <- system.time(
    fit <- stan_lmer(as.formula(given[1]), data, chains = 4, iter = 2000, warmup = 1000, cores = 2, seed = seed, refresh = 0)
  )[["elapsed"]]
  draws <- as_draws_df(as.array(fit))
  keep <- grep("^b\\[|mean_PPD|log-posterior|^\\.", names(draws), invert = TRUE, value = TRUE)
  ess <- summarise_draws(subset_draws(draws, variable = keep), "ess_bulk")$ess_bulk
  list(seconds = seconds, ess = min(ess), verdict = "")
})
cat(toJSON(found, auto_unbox = TRUE, digits = 8), "\n")
