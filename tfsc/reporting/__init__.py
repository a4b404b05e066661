"""Tables, events, pictures, summaries: what is written of a run."""
