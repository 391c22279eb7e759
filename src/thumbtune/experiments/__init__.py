"""The paper's figures, and the questions that it leaves open, as experiments: one command each."""
