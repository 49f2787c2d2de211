"""Measurements of Penstock beside its peers. See `benchmarks/README.md` for how to read them."""
