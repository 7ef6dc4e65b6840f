"""What the signatures of a file are worth: facts, trust, judgement."""
