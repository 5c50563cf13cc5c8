"""What every part uses: atomic files, errors, progress, checksums, work done ahead. Knows nothing of detectors."""
