# Tables of nlme, lme4, mlmRev and MASS for tests/clean_posteriors.py: Rscript tests/reference/export_tables.R FOLDER
folder <- commandArgs(trailingOnly = TRUE)[1]
dir.create(folder, showWarnings = FALSE, recursive = TRUE)
put <- function(table, name) {
  write.csv(as.data.frame(table), file.path(folder, paste0(name, ".csv")), row.names = FALSE)
}
put(nlme::Pixel, "pixel")
put(nlme::Machines, "machines")
put(mlmRev::Mmmec, "mmmec")
put(mlmRev::guImmun, "guimmun")
put(lme4::grouseticks, "grouseticks")
put(MASS::nlschools, "nlschools")
