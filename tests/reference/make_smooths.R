# Smooths times a number and factor smooths by mgcv: writes reference/structures/smooths.json.
# Rscript make_smooths.R, in this folder.
suppressMessages(library(mgcv))
d <- read.csv("structures/sim_smooth.csv")
d$g <- factor(d$g); d$f <- factor(d$f)
d$z <- (seq_len(nrow(d)) - 1) %% 7 / 3 - 1
d$v <- d$y + d$z * sin(6 * d$x)
control <- gam.control(epsilon = 1e-11, newton = list(conv.tol = 1e-11))
fits <- list(
  by_number = gam(v ~ s(x, by = z, k = 8), data = d, method = "REML", control = control),
  by_number_cr = gam(v ~ s(x, by = z, k = 8, bs = "cr") + s(x, k = 6), data = d, method = "REML", control = control),
  fs = gam(y ~ s(x, g, bs = "fs", k = 5), data = d, method = "REML", control = control)
)
numbers <- function(v) paste0("[", paste(format(v, digits = 15), collapse = ", "), "]")
one <- function(b) sprintf(
  '{"sigma": %s, "edf": %s, "fitted": %s, "null": %s}', format(sqrt(b$sig2), digits = 15), format(sum(b$edf), digits = 15),
  numbers(b$fitted.values[1:25]),
  if (inherits(b$smooth[[1]], "fs.interaction")) {
    X <- b$smooth[[1]]$base$margin$X; P <- b$smooth[[1]]$P
    at <- c(0.1, 0.5, 0.9)
    Z <- PredictMat(b$smooth[[1]], data.frame(x = at, g = factor(levels(d$g)[1], levels = levels(d$g))))
    numbers(as.vector(Z[, 4:5]))
  } else "[]"
)
text <- paste0('"', names(fits), '": ', sapply(fits, one), collapse = ",\n")
writeLines(paste0('{"mgcv": "', packageVersion("mgcv"), '",\n', text, "}"), "structures/smooths.json")
