"""The scripts behind the figures of docs/measured, one for each page."""
