KILLS=60 FLIPS=100 python tests/faults.py _build/faults.csv kills flips
