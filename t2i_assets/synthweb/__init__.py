"""The embedded web site: drawn scenes on real HTML pages, served over HTTP, with the diseases of the real web."""
