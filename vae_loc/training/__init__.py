"""Healthy cohort -> model file; a site's scans -> calibrated model file.

A *cohort* is a list of healthy cases. A fifth of its subjects is *held out* of the training; their scores are the
*healthy reference*: mean and spread by place, and quantiles. *Labelled* thresholds come from annotated scans.
"""
