"""Compression with a model: files of data as short as the model finds the data probable."""
