"""Files read and written whole, processes, progress, logs; this package knows no brain."""
