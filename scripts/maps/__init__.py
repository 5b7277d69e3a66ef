"""The one-page maps of docs/papers: what all have, and a file for each."""
