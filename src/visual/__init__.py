"""Everything that draws: pictures, figures, curves, charts."""
