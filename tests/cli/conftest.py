import sys
from pathlib import Path

# The tiny assistant of the inference tests serves here too.
sys.path.insert(0, str(Path(__file__).parents[1] / "inference"))
