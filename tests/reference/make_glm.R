# Write glm.json: fits without and with complete pooling by stats::glm and MASS::polr, and profile likelihoods by lme4.
#
#     Rscript tests/reference/make_glm.R > tests/reference/glm.json
#
# The data are lme4's cbpp and grouseticks (columns of tests/reference/glmm_data), and MASS's housing.
suppressPackageStartupMessages({library(lme4); library(MASS); library(jsonlite)})
fitted_glm <- function(fit) {
  s <- coef(summary(fit))
  list(names = rownames(s), estimate = unname(s[, 1]), se = unname(s[, 2]), logLik = as.numeric(logLik(fit)))
}
profiled <- function(fit) {
  ci <- confint(fit, method = "profile", quiet = TRUE)
  list(names = rownames(ci), low = unname(ci[, 1]), high = unname(ci[, 2]), level = 0.95,
       logLik = as.numeric(logLik(fit)))
}
tight <- glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, maxfun = 1e5), tolPwrss = 1e-12)
data(cbpp, package = "lme4"); data(grouseticks, package = "lme4"); data(sleepstudy, package = "lme4")
cbpp$y <- cbind(cbpp$incidence, cbpp$size - cbpp$incidence)
grouseticks$cHEIGHT <- (grouseticks$HEIGHT - mean(grouseticks$HEIGHT)) / 10
binomial_fit <- glmer(y ~ period + (1 | herd), cbpp, binomial, control = tight)
quadrature_fit <- glmer(y ~ period + (1 | herd), cbpp, binomial, nAGQ = 25, control = tight)
counts_fit <- glmer(TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | LOCATION), grouseticks, poisson, control = tight)
set.seed(2)
slopes <- data.frame(g = factor(rep(1:25, each = 12)), x = round(rnorm(300), 3))
b <- cbind(rnorm(25), rnorm(25) * 0.6)
slopes$y <- rpois(300, exp(0.3 + 0.4 * slopes$x + b[slopes$g, 1] * 0.7 + b[slopes$g, 2] * slopes$x))
slopes_fit <- glmer(y ~ x + (x | g), slopes, poisson, control = tight)
out <- list(
  R = R.version.string, lme4 = as.character(packageVersion("lme4")), MASS = as.character(packageVersion("MASS")),
  cbpp_none = fitted_glm(glm(y ~ 0 + herd + period, binomial, cbpp, control = list(epsilon = 1e-14))),
  cbpp_complete = fitted_glm(glm(y ~ period, binomial, cbpp, control = list(epsilon = 1e-14))),
  profiles = list(
    cbpp = profiled(binomial_fit), cbpp_25 = profiled(quadrature_fit), grouseticks = profiled(counts_fit),
    slopes = profiled(slopes_fit)),
  grouseticks = grouseticks[, c("TICKS", "YEAR", "cHEIGHT", "BROOD", "LOCATION")],
  slopes = slopes)
cat(toJSON(out, digits = 10, auto_unbox = TRUE, dataframe = "columns"))
