"""Floor 4: the imperative shell around the pure machine. Performs actions, reports what happened, decides nothing."""
