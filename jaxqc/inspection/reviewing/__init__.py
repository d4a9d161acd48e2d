"""People's verdicts: what they should look at, their answers, and what these say of a model."""
