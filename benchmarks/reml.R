# Fits the models that reml.py names: a line of JSON for each on standard input, a line back on standard output.

suppressPackageStartupMessages({
  library(lme4)
  library(jsonlite)
})

reply <- function(answer) {
  cat(toJSON(answer, auto_unbox = TRUE, digits = NA), "\n", sep = "")
  flush(stdout())
}

now <- function() as.numeric(Sys.time())

# Some distributions keep several libraries under one name, told apart by the folder.
library_name <- function(path) {
  path <- normalizePath(path, mustWork = FALSE)
  file.path(basename(dirname(path)), basename(path))
}

read_data <- function(task) {
  classes <- setNames(rep("character", length(task$factors)), task$factors)
  data <- read.csv(task$file, colClasses = classes)
  data[task$factors] <- lapply(data[task$factors], factor)
  data
}

quiet_lmer <- function(formula, data, reml) {
  suppressMessages(suppressWarnings(lmer(formula, data, REML = reml)))
}

fit_once <- function(formula, data, reml) {
  start <- now()
  m <- quiet_lmer(formula, data, reml)
  fitted <- now()
  vcov(m)
  ranef(m, condVar = FALSE)
  done <- now()
  list(alone = fitted - start, all = done - start, criterion = -2 * as.numeric(logLik(m)))
}

fit <- function(task) {
  formula <- as.formula(task$formula)
  data <- read_data(task)
  fit_once(formula, data, task$reml)
  runs <- list(fit_once(formula, data, task$reml))
  repeats <- task$repeats
  if (is.null(repeats)) repeats <- if (runs[[1]]$all < task$slow) task$repeats_fast else task$repeats_slow
  while (length(runs) < repeats) runs[[length(runs) + 1]] <- fit_once(formula, data, task$reml)
  list(
    alone = median(sapply(runs, `[[`, "alone")),
    seconds = median(sapply(runs, `[[`, "all")),
    runs = repeats,
    criterion = runs[[repeats]]$criterion
  )
}

bootstrap <- function(task) {
  m <- quiet_lmer(as.formula(task$formula), read_data(task), TRUE)
  estimates <- function(m) {
    sds <- attr(VarCorr(m)[[1]], "stddev")
    c(sds, attr(VarCorr(m)[[1]], "correlation")[2, 1], sigma(m), fixef(m))
  }
  start <- now()
  draws <- suppressMessages(suppressWarnings(
    bootMer(m, estimates, nsim = task$draws, seed = 1, parallel = "multicore", ncpus = task$cores)
  ))
  seconds <- now() - start
  ends <- quantile(draws$t[, 2], c(0.025, 0.975), na.rm = TRUE)
  list(seconds = seconds, low = ends[[1]], high = ends[[2]])
}

# R compiles a function the second time it is called.
for (i in 1:3) fit_once(Reaction ~ Days + (Days | Subject), sleepstudy, TRUE)
reply(list(
  versions = sprintf("R %s.%s, lme4 %s", R.version$major, R.version$minor, packageVersion("lme4")),
  blas = sprintf("%s, LAPACK %s", library_name(extSoftVersion()[["BLAS"]]), library_name(La_library()))
))

input <- file("stdin", "r")
while (length(line <- readLines(input, n = 1)) > 0) {
  task <- fromJSON(line)
  handle <- if (task$kind == "bootstrap") bootstrap else fit
  reply(tryCatch(handle(task), error = function(e) list(error = conditionMessage(e))))
}
