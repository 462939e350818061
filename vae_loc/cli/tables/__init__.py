"""The tables that commands print: of scans, of an evaluation, of a calibration."""
