"""The paper's figures and tables, questions that it leaves open, and the demo; one command each."""
