"""What the codes of a table tell of a column that the autoencoder has not seen."""

SHARES = (0.05, 1.0)
