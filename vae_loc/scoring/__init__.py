"""Model + scan -> maps on the scan's own grid, and masks of them.

A *map* is one of the paper's five scores for each voxel: *bare* (raw) as the paper defines it, or *normalised* by place
and scan. A *sample-wise* score is one number for a slice or a scan. A *segmentation* is how a mask is made of a map.
"""
