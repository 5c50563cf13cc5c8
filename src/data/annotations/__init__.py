"""Annotations of a data set as arrays: parsed once per machine, mapped by every process, records made on demand."""
