"""What every part uses: atomic files, errors, messages, progress, checksums, work done ahead. Nothing of detectors."""
