"""Maps against annotations: how well a score ranks lesion voxels, beside baselines that need no network.

A *baseline* is a score without a model. *Oracle* figures use the best threshold in hindsight. A *healthy rate* is the
measured share of healthy voxels above a threshold that promises a share.
"""
