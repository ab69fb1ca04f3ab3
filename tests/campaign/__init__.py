"""A campaign against the package, as long as one likes: `make campaign`; what it found is in `docs/reliability.md`.

`generators.py`, `corpora.py` and `voices.py` draw cases, `judge.py` says what they may end in, `fuzz.py` runs them in
processes that may die. `kills.py` kills commands at any moment, `faults.py` lets them lack what they need, `soak.py`
streams for hours. The default tests take a small dose of each (`tests/test_campaign.py`).
"""
