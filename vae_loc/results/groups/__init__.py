"""All scans of a cohort together: tables for statistics, and a paragraph on how they were made."""
