"""A web page, and an HTTP interface, to a detector: the work of app.py."""
