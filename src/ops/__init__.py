"""Custom operators, Python and native sources side by side, and how they are compiled."""
