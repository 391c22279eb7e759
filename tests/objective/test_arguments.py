"""An objective that is built with the words of a recipe is refused at once, in a sentence that says what to give."""

import json
import subprocess
import sys

import pytest

# In a process of its own, since in tests the types of arguments are checked before the objective sees them.
PROGRAM = """
import json
from thumbtune.objective import BCO, DPO, KTO, LOG_RATIOS, NFT, UTILITIES

def answer(kind, **given):
    try:
        kind(**given)
    except ValueError as error:
        return str(error)
    return None

told = {}
for kind in (KTO, BCO, DPO):
    told[f"{kind.__name__} auto"] = answer(kind, beta="auto")
    told[f"{kind.__name__} none"] = answer(kind, beta=None)
    told[f"{kind.__name__} below"] = answer(kind, beta=-1)
    told[f"{kind.__name__} anchor"] = answer(kind, anchor="0.1")
told["utility"] = answer(KTO, utility="loss-averse")
told["unknown"] = answer(KTO, utility="greedy")
told["log_ratio"] = answer(KTO, log_ratio="relative")
told["weight"] = answer(KTO, liked_weight="2")
told["mix"] = answer(NFT, mix="0.5")
told["right"] = answer(KTO, utility=UTILITIES["loss-averse"], log_ratio=LOG_RATIOS["relative"], beta=100)
print(json.dumps(told))
"""


@pytest.mark.slow
def test_words_of_a_recipe_are_refused_with_what_to_give() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    for kind in ("KTO", "BCO", "DPO"):
        assert "AutoBeta" in told[f"{kind} auto"] and 'Config(beta="auto")' in told[f"{kind} auto"]
        assert told[f"{kind} none"].startswith("beta must be a number, not None")
        assert told[f"{kind} below"].startswith("beta must be positive, not -1")
        assert told[f"{kind} anchor"].startswith("anchor must be a number, not '0.1'")
    assert told["utility"] == "utility must be a function, not its name; give UTILITIES['loss-averse']."
    assert told["unknown"].endswith("UTILITIES has kahneman-tversky, loss-averse, risk-seeking.")
    assert told["log_ratio"].endswith("give LOG_RATIOS['relative'].")
    assert told["weight"].startswith("liked_weight must be a number")
    assert told["mix"].startswith("mix must be a number, not '0.5'")
    assert told["right"] is None
