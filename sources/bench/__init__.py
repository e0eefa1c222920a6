"""Measures reading on real feeds and pages that others published with what should come out of them. Ships nothing that is learnt there."""
